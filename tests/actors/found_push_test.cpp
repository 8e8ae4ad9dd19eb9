// Pushes that were found by comparison, and those of a repository that was renamed, through the
// real actors.
#include <gmock/gmock.h>

#include "tests/actors/settled.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// What the comparison of a branch's head tells, and the delivery that was late after all.
Push told(char before, char after, const std::string& delivery) {
  return {.repository_urls = {"file:///srv/web.git"},
          .default_branch = "main",
          .ref = "refs/heads/main",
          .before = std::string(40, before),
          .after = std::string(40, after),
          .pushed_at_s = 50,
          .delivery_id = delivery};
}
Push found(char before, char after) {
  auto push = told(before, after, std::string("inferred-100-") + after);
  push.pushed_at_s = 0;
  push.inferred_at_s = 100;
  push.signed_for = {"web"};
  return push;
}
std::vector<std::string> verdicts_of(const sim::Life& life) {
  std::vector<std::string> verdicts;
  for (const auto& reply : life.push_replies) {
    const auto& receipt = reply.receipts.at(0);
    verdicts.push_back(receipt.verdict == PushReceipt::Verdict::deployed ? "deployed"
                                                                         : receipt.reason);
  }
  return verdicts;
}
void give(sim::Life& life, Push push) {
  const auto wanted = life.push_replies.size() + 1;
  life.send_push(std::move(push));
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == wanted; }));
}

TEST(FoundPush, a_push_that_was_found_is_deployed_once_however_late_its_delivery_is) {
  for (const bool survives : {true, false}) {
    sim::World world;
    const auto store = storage::make_memory_store();
    auto life = std::make_unique<sim::Life>(store, world, 7);
    life->create_project("web");
    give(*life, told('0', 'a', "guid-1"));
    give(*life, found('a', 'c'));
    if (!survives) life = std::make_unique<sim::Life>(store, world, 8);
    give(*life, found('a', 'c'));
    give(*life, told('b', 'c', "guid-3"));
    give(*life, told('a', 'b', "guid-2"));
    ASSERT_TRUE(life->run_until([&] { return all_settled(*life); }));
    ASSERT_EQ(deployments_of(*life).size(), 2U);
    const auto live = deployments_of(*life).back();
    EXPECT_EQ(status_of(*life, live), DeploymentStatus::live);
    EXPECT_EQ(life->catalog().deployment(live)->state.push.after(), std::string(40, 'c'));
    auto verdicts = verdicts_of(*life);
    verdicts.erase(verdicts.begin(), verdicts.begin() + (survives ? 2 : 0));
    EXPECT_THAT(verdicts, ElementsAre(HasSubstr("is known"), HasSubstr("was found on the branch"),
                                      HasSubstr("late")));
  }
}

// Each look would be one more.
TEST(FoundPush, a_found_push_that_is_no_news_is_no_event) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 7);
  life.create_project("web");
  give(life, told('0', 'a', "guid-1"));
  ASSERT_TRUE(life.run_until([&] { return all_settled(life); }));
  const auto before = life.log().last_position();
  give(life, found('0', 'a'));
  give(life, found('x', 'b'));
  auto elsewhere = found('a', 'b');
  elsewhere.ref = "refs/heads/topic";
  give(life, elsewhere);
  EXPECT_EQ(life.log().last_position(), before);
  EXPECT_EQ(deployments_of(life).size(), 1U);
}

TEST(RenamedRepository, its_pushes_are_for_its_project_and_those_of_its_successor_are_not) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 7);
  life.create_project("web");
  life.command_project("web", FollowRepository{7, "/srv/web.git"});
  const auto push_of = [&](std::int64_t id, const std::string& url, const std::string& delivery) {
    auto push = told('0', 'a', delivery);
    push.repository_id = id;
    push.repository_urls = {url};
    life.send_push(std::move(push));
  };
  ASSERT_TRUE(life.run_until(
      [&] { return life.catalog().project_named("web")->state.repository_id == 7; }));
  push_of(8, "/srv/web.git", "guid-1");  // took the name
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == 1; }));
  EXPECT_TRUE(life.push_replies[0].receipts.empty());
  push_of(7, "/srv/shop.git", "guid-2");
  ASSERT_TRUE(life.run_until([&] { return life.push_replies.size() == 2; }));
  EXPECT_EQ(life.push_replies[1].receipts.size(), 1U);
  life.command_project("web", FollowRepository{7, "/srv/shop.git"});
  ASSERT_TRUE(life.run_until([&] {
    return life.catalog().project_named("web")->state.repository_url == "/srv/shop.git";
  }));
  auto by_name = told('a', 'b', "guid-3");  // of a sender that tells no id
  by_name.repository_urls = {"/srv/shop.git"};
  give(life, by_name);
  EXPECT_EQ(life.push_replies[2].receipts.size(), 1U);
}

}  // namespace
}  // namespace atlasflow::actors
