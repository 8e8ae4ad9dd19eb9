// Pushes that end early, come twice, are too large, or mean harm.
#include <future>

#include <gmock/gmock.h>

#include "receive/pending_push.hpp"
#include "tests/api/git_push_fixture.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using actors::PushReceipt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::k_token;
using ::testing::Not;
using testing::request_text;
using ::testing::SizeIs;

namespace fs = std::filesystem;

using GitPushTrouble = testing::GitPushTest;

TEST_F(GitPushTrouble, two_pushes_at_once_are_taken_one_after_the_other) {
  commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  expect_git({"branch", "other"});
  const auto two = commit("two");
  expect_git({"checkout", "-q", "other"});
  const auto three = commit("three");
  const auto to = url();
  auto other = std::async(std::launch::async, [&] { return push({"other:main"}, to); });
  const auto ran = push({"main"}, to);
  const auto rival = other.get();
  EXPECT_NE(ran.code == 0, rival.code == 0) << ran.output << rival.output;
  EXPECT_EQ(head(), ran.code == 0 ? two : three);
  ASSERT_THAT(recorded(), SizeIs(2));
  EXPECT_EQ(recorded()[1].after, head());
}

TEST_F(GitPushTrouble, what_could_not_be_recorded_is_so_later_and_once) {
  control_.receipts = fail(ErrorCode::disk_full, "the log is full");
  const auto sha = commit("one");
  const auto ran = push({"main"}, url());
  EXPECT_THAT(ran.output, HasSubstr("the push is here, and could not be recorded yet: the log is "
                                    "full; Atlasflow tries again by itself"));
  EXPECT_EQ(head(), sha);
  EXPECT_TRUE(fs::exists(repositories_->pending_file("shop")));
  // Until it is, no other push is taken.
  const auto next = commit("two");
  const auto refused = push({"main"}, url());
  EXPECT_NE(refused.code, 0);
  EXPECT_THAT(refused.output, HasSubstr("the log is full"));
  EXPECT_EQ(head(), sha);
  control_.set_receipts(std::vector<PushReceipt>{});
  EXPECT_TRUE(eventually([&] { return !fs::exists(repositories_->pending_file("shop")); }));
  const auto pushes = recorded();
  for (const auto& each : pushes) {
    EXPECT_EQ(each.after, sha);
    EXPECT_EQ(each.delivery_id, pushes[0].delivery_id);
  }
  EXPECT_EQ(push({"main"}, url()).code, 0);
  EXPECT_EQ(recorded().back().after, next);
  EXPECT_NE(recorded().back().delivery_id, pushes[0].delivery_id);
}

TEST_F(GitPushTrouble, a_start_records_what_the_process_before_was_ended_over) {
  const auto one = commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  stop();
  control_.forget_calls();
  // Git has moved the branch, and the process ended before it was in the log.
  const auto two = commit("two");
  ASSERT_TRUE(
      receive::write_pending(repositories_->pending_file("shop"),
                             {"id-1", "ada", 1'700'000'000, {{"refs/heads/main", one}}, {}}));
  ASSERT_EQ(git_in(bare(), {"fetch", "-q", work().string(), "+main:main"}).code, 0);
  start();
  EXPECT_TRUE(eventually([&] { return !recorded().empty(); }));
  ASSERT_THAT(recorded(), SizeIs(1));
  EXPECT_EQ(recorded()[0].before, one);
  EXPECT_EQ(recorded()[0].after, two);
  EXPECT_EQ(recorded()[0].delivery_id, "id-1/refs/heads/main");
  EXPECT_EQ(recorded()[0].pushed_at_s, 1'700'000'000);
  EXPECT_TRUE(eventually([&] { return !fs::exists(repositories_->pending_file("shop")); }));
}

TEST_F(GitPushTrouble, too_many_refs_since_a_push_began_leave_its_branch_to_record) {
  const auto one = commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  stop();
  deploy_previews();
  control_.forget_calls();
  const auto two = commit("two");
  ASSERT_TRUE(receive::write_pending(
      repositories_->pending_file("shop"),
      {"id-1", "ada", 1, {{"refs/heads/main", one}, {"refs/heads/side", one}}, {}}));
  ASSERT_EQ(git_in(bare(), {"fetch", "-q", work().string(), "+main:main"}).code, 0);
  add_60000_tags(one);
  start();
  EXPECT_TRUE(eventually([&] { return !fs::exists(repositories_->pending_file("shop")); }));
  ASSERT_THAT(recorded(), SizeIs(1));
  EXPECT_EQ(recorded()[0].ref, "refs/heads/main");
  EXPECT_EQ(recorded()[0].after, two);
}

TEST_F(GitPushTrouble, a_project_that_was_deleted_during_the_upload_gets_nothing) {
  const auto sha = commit("one");
  ASSERT_EQ(push({"main", "main:refs/heads/old"}, url()).code, 0);
  control_.forget_calls();
  auto client = connect_webhook();
  {
    const auto turn = repositories_->take("shop", 1s);
    ASSERT_TRUE(turn.has_value());
    ASSERT_TRUE(client.send(request_text("POST", "/git/shop/git-receive-pack",
                                         {"Content-Type: application/x-git-receive-pack-request",
                                          "Authorization: Basic " + base64("ada:" + k_token)},
                                         deletion_of("refs/heads/old", sha))));
    ASSERT_TRUE(eventually([&] { return spools() == 1; }));  // it has logged in
    ASSERT_EQ(ask("DELETE", "/v1/projects/shop").status, 200);
  }
  EXPECT_THAT(client.receive().value_or(testing::Answer{}).body,
              HasSubstr("the project was deleted"));
  EXPECT_TRUE(eventually([&] { return !fs::exists(bare().parent_path()); }));
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_F(GitPushTrouble, a_deleted_projects_repository_goes_with_it) {
  commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  ASSERT_TRUE(fs::exists(bare()));
  EXPECT_EQ(ask("DELETE", "/v1/projects/shop").status, 200);
  EXPECT_TRUE(eventually([&] { return !fs::exists(bare().parent_path()); }));
  EXPECT_THAT(push({"main"}, url()).output, HasSubstr("Authentication failed"));
}

TEST_F(GitPushTrouble, a_push_beyond_its_limit_is_refused_whole) {
  receive::GitBounds bounds;
  bounds.pack_bytes_max = 10'000;
  receive_with(bounds);
  std::string text;
  for (unsigned i = 0; i < 20'000; ++i) text += std::to_string(i * 2654435761U);
  commit(text);
  const auto ran = push({"main"}, url());
  EXPECT_NE(ran.code, 0);
  EXPECT_THAT(ran.output, HasSubstr("pack exceeds maximum allowed size"));
  EXPECT_EQ(head(), "");
  EXPECT_THAT(recorded(), IsEmpty());
  EXPECT_FALSE(fs::exists(repositories_->pending_file("shop")));
}

TEST_F(GitPushTrouble, a_full_disk_refuses_it_with_a_sentence) {
  receive_with({}, 1ULL << 60);
  commit("one");
  const auto ran = push({"main"}, url());
  EXPECT_NE(ran.code, 0);
  EXPECT_THAT(ran.output, HasSubstr("remote: the server's disk has"));
  EXPECT_THAT(ran.output, HasSubstr("free some room there and push again"));
}

TEST_F(GitPushTrouble, a_repository_with_tricks_in_it_is_refused) {
  std::ofstream(work() / "config") << "[core]\n";
  const auto blob = expect_git({"hash-object", "-w", "config"});
  // A tree as no git would write it: one of its files is ".git".
  std::string raw;
  for (std::size_t i = 0; i < blob.size(); i += 2) {
    raw += static_cast<char>(std::stoi(blob.substr(i, 2), nullptr, 16));
  }
  std::ofstream(work() / "tree", std::ios::binary) << "100644 .git" << '\0' << raw;
  const auto tree = expect_git({"hash-object", "-w", "-t", "tree", "--literally", "tree"});
  const auto trick = expect_git({"commit-tree", tree, "-m", "tricky"});
  const auto ran = push({trick + ":refs/heads/main"}, url());
  EXPECT_NE(ran.code, 0);
  EXPECT_THAT(ran.output, HasSubstr("hasDotgit"));
  EXPECT_EQ(head(), "");
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_F(GitPushTrouble, no_hook_of_the_repository_runs) {
  commit("one");
  ASSERT_EQ(push({"main"}, url()).code, 0);
  for (const char* name : {"post-receive", "update", "pre-receive", "reference-transaction"}) {
    const auto hook = bare() / "hooks" / name;
    std::ofstream(hook) << "#!/bin/sh\necho hooked >&2\nexit 1\n";
    fs::permissions(hook, fs::perms(0755));
  }
  const auto sha = commit("two");
  const auto ran = push({"main"}, url());
  EXPECT_EQ(ran.code, 0) << ran.output;
  EXPECT_THAT(ran.output, Not(HasSubstr("hooked")));
  EXPECT_EQ(head(), sha);
}

TEST_F(GitPushTrouble, a_pusher_who_leaves_does_not_stop_what_was_pushed) {
  const auto sha = commit("one");
  ASSERT_EQ(push({"main", "main:refs/heads/old"}, url()).code, 0);
  control_.forget_calls();
  {
    // Git can't begin before the pusher has left.
    const auto turn = repositories_->take("shop", 1s);
    ASSERT_TRUE(turn.has_value());
    auto client = connect_webhook();
    client.reset_on_close();
    ASSERT_TRUE(client.send(request_text("POST", "/git/shop/git-receive-pack",
                                         {"Content-Type: application/x-git-receive-pack-request",
                                          "Authorization: Basic " + base64("ada:" + k_token)},
                                         deletion_of("refs/heads/old", sha))));
    // The head tells that all of it has come.
    EXPECT_TRUE(client.receive(true).has_value());
    EXPECT_EQ(head("refs/heads/old"), sha);
  }
  EXPECT_TRUE(eventually([&] { return head("refs/heads/old").empty(); }));
  EXPECT_TRUE(eventually([&] { return !fs::exists(repositories_->pending_file("shop")); }));
}

}  // namespace
}  // namespace atlasflow::api
