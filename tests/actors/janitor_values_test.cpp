// Which sealed values the janitor removes and, more so, which it never does: in every order that
// the seeds choose.
#include <gmock/gmock.h>

#include "tests/actors/janitor_life.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {
namespace {

using testing::IsEmpty;
using testing::SizeIs;
using testing::UnorderedElementsAre;

class Values : public testing::TestWithParam<std::uint64_t> {
 protected:
  Values() { begin(); }

  void begin(std::size_t rollbacks = 5) {
    life.reset();
    life = std::make_unique<sim::Life>(store, world, GetParam(), rollbacks);
  }
  // Sets KEY to a new value, whose ref it returns once that is recorded.
  std::string set_key() {
    const auto ref = world.seal("env");
    life->command_project("web", SetEnv{{{"KEY", EnvEntry{"digest", ref}}}});
    EXPECT_TRUE(life->run_until([&] {
      const auto project = life->catalog().project_named("web");
      return project->state.env.contains("KEY") && project->state.env.at("KEY").sealed_ref == ref;
    }));
    return ref;
  }
  std::string set_build_secret() {
    const auto ref = world.seal("build");
    life->command_project("web", SetBuildSecrets{{{"NPM", EnvEntry{"digest", ref}}}});
    EXPECT_TRUE(life->run_until([&] {
      const auto secrets = life->catalog().project_named("web")->state.build_secrets;
      return secrets.contains("NPM") && secrets.at("NPM").sealed_ref == ref;
    }));
    return ref;
  }
  void unset_key() {
    life->command_project("web", UnsetEnv{{"KEY"}});
    EXPECT_TRUE(
        life->run_until([&] { return life->catalog().project_named("web")->state.env.empty(); }));
  }
  std::string served_key() {
    const auto& refs = world.vms.at(world.upstream_of("web.example.test")).env_refs;
    return refs.contains("KEY") ? refs.at("KEY") : "";
  }

  std::shared_ptr<storage::MemoryStore> store = storage::make_memory_store();
  sim::World world;
  std::unique_ptr<sim::Life> life;
};

INSTANTIATE_TEST_SUITE_P(Seeds, Values, testing::Range<std::uint64_t>(1, 9));

TEST_P(Values, that_were_replaced_or_unset_go_when_nothing_was_deployed_with_them) {
  life->create_project("web");
  const auto first = set_key();
  const auto second = set_key();
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(second));
  EXPECT_THAT(world.unsealed, UnorderedElementsAre(first));
  unset_key();
  EXPECT_TRUE(life->run_until([&] { return world.sealed.empty(); }, std::chrono::seconds(30)));
}

TEST_P(Values, stay_for_what_serves_with_them_and_for_what_can_be_rolled_back_to) {
  begin(1);
  life->create_project("web");
  const auto first = set_key();
  deploy_each_of(*life, "1");
  const auto second = set_key();
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(first, second));  // the app runs with the first
  deploy_each_of(*life, "2");
  unset_key();
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(first, second));
  life->reuse("web", ReuseKind::rollback, "command-1");
  ASSERT_TRUE(life->run_until([&] { return settled(*life, 3); }));
  EXPECT_EQ(served_key(), first);
  deploy_each_of(*life, "3");  // without KEY; the rollback before it has the first
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(first));
  deploy_each_of(*life, "4");
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, IsEmpty());
  // What lost its values cannot be asked for.
  life->reuse("web", ReuseKind::rollback, "command-2",
              deployment_ids(life->catalog(), "web").front());
  ASSERT_TRUE(life->run_until([&] { return life->errors.size() == 1; }));
  EXPECT_THAT(life->errors.at(0).message, testing::HasSubstr("can't be rolled back to"));
}

// What runs was built with the first, and needs it no more: a token that was taken back is gone.
TEST_P(Values, of_build_secrets_go_with_the_next_one_when_what_they_built_has_its_image) {
  life->create_project("web");
  const auto first = set_build_secret();
  deploy_each_of(*life, "1");
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(first));
  const auto second = set_build_secret();
  EXPECT_TRUE(
      life->run_until([&] { return world.unsealed.contains(first); }, std::chrono::seconds(30)));
  EXPECT_THAT(world.sealed, UnorderedElementsAre(second));
  deploy_each_of(*life, "2");
  life->command_project("web", UnsetBuildSecrets{{"NPM"}});
  EXPECT_TRUE(life->run_until([&] { return world.sealed.empty(); }, std::chrono::seconds(30)));
}

// Its image is there again, since the same commit was deployed anew.
TEST_P(Values, that_went_are_not_needed_again_when_the_image_of_their_deployment_comes_back) {
  begin(1);
  life->create_project("web");
  set_key();
  deploy_each_of(*life, "1");
  unset_key();
  deploy_each_of(*life, "23");
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, IsEmpty());
  const auto first = deployment_ids(life->catalog(), "web").front();
  life->reuse("web", ReuseKind::redeploy, "command-1", first);
  ASSERT_TRUE(life->run_until([&] { return settled(*life, 4); }));
  const auto images = life->catalog().deployment(first)->state.image;
  ASSERT_EQ(world.vms.at(world.upstream_of("web.example.test")).image, images);
  life->reuse("web", ReuseKind::rollback, "command-2", first);
  ASSERT_TRUE(life->run_until([&] { return life->errors.size() == 1; }));
  EXPECT_THAT(life->errors.at(0).message, testing::HasSubstr("can't be rolled back to"));
}

TEST_P(Values, of_a_deleted_project_go_when_its_app_has_stopped) {
  life->create_project("web");
  set_key();
  deploy_each_of(*life, "1");
  life->command_project("web", SetNotifySecret{world.seal("notify")});
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, SizeIs(2));
  life->delete_project("web");
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, IsEmpty());
}

// The event is in the log and the value still there; a power cut may bring back what was removed.
TEST_P(Values,
       that_a_process_died_before_removing_go_with_the_next_and_so_does_one_that_comes_back) {
  life->create_project("web");
  const auto ref = set_key();
  unset_key();
  begin();
  EXPECT_THAT(world.sealed, UnorderedElementsAre(ref));
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, IsEmpty());
  world.sealed.insert(ref);
  begin();
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, IsEmpty());
}

// Between the two a process may die, or wait for room on the disk for as long as it takes.
TEST_P(Values,
       that_are_sealed_and_not_recorded_stay_until_the_process_that_may_record_them_is_gone) {
  life->create_project("web");
  const auto ref = world.seal("env");
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(ref));
  life->command_project("web", SetEnv{{{"KEY", EnvEntry{"digest", ref}}}});
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(ref));
  const auto never_recorded = world.seal("env");
  begin();
  let_an_hour_pass(*life);
  EXPECT_THAT(world.sealed, UnorderedElementsAre(ref));
  EXPECT_THAT(world.unsealed, UnorderedElementsAre(never_recorded));
}

// The janitor looks after every few messages while variables change and deployments overlap.
TEST(SealedValues, of_whatever_starts_are_there_whenever_the_janitor_looks) {
  int removed = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed, seed % 3);
    life.create_project("web");
    for (int i = 0; i < 90; ++i) {
      const auto turn = (seed * 31 + static_cast<std::uint64_t>(i) * 7) % 10;
      if (i % 15 == 0) life.send_push("guid-" + std::to_string(i), static_cast<char>('1' + i / 15));
      if (turn == 1) {
        life.command_project("web", SetEnv{{{"KEY", EnvEntry{"digest", world.seal("env")}}}});
      }
      if (turn == 2) life.command_project("web", UnsetEnv{{"KEY"}});
      if (turn == 5) {
        life.command_project("web",
                             SetBuildSecrets{{{"NPM", EnvEntry{"digest", world.seal("build")}}}});
      }
      if (turn == 3) life.reuse("web", ReuseKind::rollback, "back-" + std::to_string(i));
      if (turn == 4) life.reuse("web", ReuseKind::restart, "again-" + std::to_string(i));
      life.collect_now();
      life.run_steps(1 + static_cast<int>(seed % 9));
    }
    const auto count = deployment_ids(life.catalog(), "web").size();
    life.run_until([&] { return settled(life, count); });
    const auto ids = deployment_ids(life.catalog(), "web");
    for (const auto& id : ids) {
      const auto state = life.catalog().deployment(id)->state;
      ASSERT_NE(state.status, DeploymentStatus::failed)
          << "seed " << seed << ": " << state.failure->reason;
    }
    removed += static_cast<int>(world.unsealed.size());
  }
  EXPECT_GT(removed, 20);  // else nothing was put to the test
}

}  // namespace
}  // namespace atlasflow::actors
