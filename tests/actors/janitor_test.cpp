// What the janitor removes and, more so, what it never does: in every order that the seeds choose.
#include <gmock/gmock.h>

#include "storage/readmodel/retention.hpp"
#include "tests/actors/janitor_life.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {
namespace {

using testing::Contains;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;
using testing::UnorderedElementsAre;

std::string image_id(char digit) { return "sha256:" + std::string(40, digit); }
ImageRef reference(char digit) { return ImageRef{"registry/web@" + image_id(digit)}; }

std::vector<ImageRef> keys(const std::map<ImageRef, std::string>& map) {
  std::vector<ImageRef> keys;
  keys.reserve(map.size());
  for (const auto& [key, value] : map) keys.push_back(key);
  return keys;
}

// The first deployment has retired for the second one.
bool switched(sim::Life& life) {
  const auto project = life.catalog().project_named("web");
  const auto ids = deployment_ids(life.catalog(), "web");
  return project && settled(life, 2) && project->live == ids.back() &&
         is_terminal(life.catalog().deployment(ids.front())->state.status);
}

TEST(Janitor, keeps_the_live_image_and_five_to_roll_back_to_and_removes_those_before) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  deploy_each_of(life, "12345678");
  let_an_hour_pass(life);
  EXPECT_THAT(keys(world.registry),
              UnorderedElementsAre(reference('3'), reference('4'), reference('5'), reference('6'),
                                   reference('7'), reference('8')));
  EXPECT_THAT(world.images, SizeIs(6));
  EXPECT_THAT(world.disks, SizeIs(6));  // a rollback needs no unpacking
  EXPECT_THAT(world.collected, Contains("disks of " + reference('1').str()));
  EXPECT_EQ(world.running_vms(), 1);
}

TEST(Janitor, leaves_all_that_can_be_rolled_back_to_and_what_it_took_is_refused) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  deploy_each_of(life, "12345678");
  let_an_hour_pass(life);
  const auto ids = deployment_ids(life.catalog(), "web");
  life.reuse("web", ReuseKind::rollback, "command-1", ids.at(1));
  ASSERT_TRUE(life.run_until([&] { return life.errors.size() == 1; }));
  EXPECT_THAT(life.errors.at(0).message, testing::HasSubstr("can't be rolled back to"));
  life.reuse("web", ReuseKind::promote, "command-2", ids.at(1));
  ASSERT_TRUE(life.run_until([&] { return life.errors.size() == 2; }));
  EXPECT_THAT(life.errors.at(1).message, testing::HasSubstr("its image is not kept"));
  life.reuse("web", ReuseKind::rollback, "command-3", ids.at(2));
  ASSERT_TRUE(life.run_until([&] { return settled(life, 9); }));
  EXPECT_EQ(world.vms.at(world.upstream_of("web.example.test")).image, reference('3'));
}

// Without an image to go back to it would only fail, once the janitor has looked.
TEST(Janitor, that_keeps_no_earlier_image_lets_nothing_roll_back_by_itself) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3, 0);
  life.create_project("web");
  deploy_each_of(life, "12");
  for (auto& [id, vm] : world.vms) vm.running = false;
  let_an_hour_pass(life);
  EXPECT_THAT(keys(world.registry), UnorderedElementsAre(reference('2')));
  EXPECT_EQ(deployment_ids(life.catalog(), "web").size(), 2U);
}

TEST(Janitor, looks_at_every_host) {
  sim::World here;
  sim::World there;
  here.images["sha256:left behind"] = {};
  here.disks.emplace("left here");
  there.disks.emplace("left there");
  sim::WorldEngines local(here);
  sim::WorldSecrets values(here);
  sim::WorldEngines remote(there);
  const auto log = storage::open_memory_event_log(storage::make_memory_store(), "test");
  const storage::Catalog catalog;
  caf::actor_system_config settings;
  settings.set("scheduler.policy", caf::atom("testing"));
  caf::actor_system system(settings);
  auto& scheduler = dynamic_cast<caf::scheduler::test_coordinator&>(system.scheduler());
  JanitorConfig config{&local,
                       {{HostId{"a"}, local.engines().hosts.at(HostId{"local"})},
                        {HostId{"b"}, remote.engines().hosts.at(HostId{"local"})}},
                       log.get(),
                       &catalog,
                       5,
                       {},
                       &values,
                       {}};
  config.spawn.detach_blocking = false;
  {
    const auto looking = system.spawn(janitor, config);
    caf::anon_send(looking, CollectNow{});
    scheduler.run();
    caf::anon_send_exit(looking, caf::exit_reason::user_shutdown);
  }
  while (scheduler.try_run_once() || scheduler.trigger_timeout()) {
  }
  EXPECT_THAT(here.images, IsEmpty());
  EXPECT_THAT(here.disks, IsEmpty());
  EXPECT_THAT(there.disks, IsEmpty());
}

TEST(Janitor, removes_what_a_failed_deployment_made) {
  sim::World world;
  world.probe = [](const VmId&) { return ProbeObservation{503, ""}; };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  deploy_each_of(life, "1");
  EXPECT_THAT(world.images, SizeIs(1));
  let_an_hour_pass(life);
  EXPECT_THAT(world.images, IsEmpty());
  EXPECT_THAT(world.registry, IsEmpty());
  EXPECT_THAT(world.disks, IsEmpty());
}

// What a build may take is left while it may, though nothing else reaches it any more.
TEST(Janitor, leaves_the_image_that_a_build_under_way_is_offered) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3, 0);
  life.create_project("web");
  deploy_each_of(life, "12");
  sim::WorldEngines collector(world);
  bool looked = false;
  // As late as can be: just before the build looks for it.
  world.build_error = [&](const SourceJob& job) -> std::optional<Error> {
    const auto view = life.catalog().deployment(job.deployment);
    looked = view.has_value();
    const auto removed = collector.collect_images(
        [&]() -> Result<Keep> {
          const auto kept = storage::retention_of(life.catalog(), 0).value();
          return Keep{kept.image_references, kept.image_ids, kept.unfinished, kept.projects};
        },
        {});
    EXPECT_TRUE(removed);
    return std::nullopt;
  };
  life.send_push("guid-again", '1');
  ASSERT_TRUE(life.run_until([&] { return settled(life, 3); }));
  EXPECT_TRUE(looked);
  const auto newest = deployment_ids(life.catalog(), "web").back();
  const auto first = deployment_ids(life.catalog(), "web").front();
  EXPECT_EQ(life.catalog().deployment(newest)->state.reused_from, first.str());
}

TEST(Janitor, removes_all_of_a_deleted_project) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  deploy_each_of(life, "12");
  life.delete_project("web");
  let_an_hour_pass(life);
  EXPECT_THAT(world.images, IsEmpty());
  EXPECT_THAT(world.registry, IsEmpty());
  EXPECT_THAT(world.disks, IsEmpty());
}

TEST(Janitor, comes_soon_after_a_deployment_ended_and_not_only_every_ten_minutes) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  let_an_hour_pass(life);
  world.build_error = [](const SourceJob& job) -> std::optional<Error> {
    return Error{ErrorCode::user_error, "no " + job.sha, ""};
  };
  world.images["sha256:left behind"] = {};
  deploy_each_of(life, "1");
  EXPECT_TRUE(life.run_until([&] { return world.images.empty(); }, std::chrono::seconds(30)));
}

TEST(Janitor, comes_at_once_when_a_step_fails_through_the_machine) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  world.images["sha256:left behind"] = {};
  // As the engine says it with a full disk: until the janitor has made room.
  world.clone_error = [&](const SourceJob&) -> std::optional<Error> {
    if (world.images.empty()) return std::nullopt;
    return Error{ErrorCode::unavailable, "the disk has 3 MiB free; builds need 1024 MiB", ""};
  };
  life.send_push("guid-1", '1');
  ASSERT_TRUE(life.run_until([&] { return settled(life, 1); }, std::chrono::seconds(50)));
  EXPECT_THAT(world.collected, Contains("sha256:left behind"));
  EXPECT_EQ(world.running_vms(), 1);
}

TEST(Janitor, tries_again_what_failed) {
  sim::World world;
  world.images["sha256:left behind"] = {};
  int calls = 0;
  world.collect_error = [&]() -> std::optional<Error> {
    if (++calls < 3) return Error{ErrorCode::internal, "buildah does not answer", ""};
    return std::nullopt;
  };
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  let_an_hour_pass(life);
  EXPECT_GE(calls, 3);
  EXPECT_THAT(world.images, IsEmpty());
  EXPECT_THAT(life.fatal, IsEmpty());
}

// Pain 12, "disk fills".
TEST(Janitor, cannot_help_a_full_disk_and_what_serves_goes_on_while_builds_fail_with_the_reason) {
  sim::World world;
  sim::Life life(storage::make_memory_store(), world, 3);
  life.create_project("web");
  deploy_each_of(life, "1");
  const auto vm = world.upstream_of("web.example.test");
  int tries = 0;
  world.clone_error = [&](const SourceJob&) {
    ++tries;
    return Error{ErrorCode::unavailable, "the disk has 3 MiB free; builds need 1024 MiB", ""};
  };
  life.send_push("guid-2", '2');
  ASSERT_TRUE(life.run_until([&] { return settled(life, 2); }, std::chrono::hours(2)));
  const auto newest = deployment_ids(life.catalog(), "web").back();
  const auto state = life.catalog().deployment(newest)->state;
  EXPECT_EQ(state.status, DeploymentStatus::failed);
  ASSERT_TRUE(state.failure);
  EXPECT_THAT(state.failure->reason, testing::HasSubstr("3 MiB free"));
  EXPECT_GT(tries, 1);
  EXPECT_EQ(world.upstream_of("web.example.test"), vm);
  EXPECT_EQ(world.vms.at(vm).starts, 1);
}

// Pain 12, "cleanup too eager". The janitor looks after every few messages of two overlapping
// deployments: what is built or pushed but not yet recorded, what a VM is being started from, and
// what the deployment before still runs must all stay. The world refuses to push or to start what
// is not there, so that taking too much fails the deployment.
TEST(Janitor, that_looks_at_any_moment_takes_nothing_that_a_deployment_needs) {
  int looks_that_removed = 0;
  for (std::uint64_t seed = 1; seed <= 150; ++seed) {
    sim::World world;
    world.images["sha256:left behind"] = {};
    sim::Life life(storage::make_memory_store(), world, seed);
    life.create_project("web");
    deploy_each_of(life, "1");
    life.send_push("guid-2", '2');
    for (int i = 0; i < 400 && !switched(life); ++i) {
      life.collect_now();
      life.run_steps(1 + static_cast<int>(seed % 5));
      for (const auto& [id, vm] : world.vms) ASSERT_TRUE(world.disks.contains(vm.image));
    }
    ASSERT_TRUE(life.run_until([&] { return switched(life); })) << "seed " << seed;
    ASSERT_EQ(world.running_vms(), 1) << "seed " << seed;
    ASSERT_FALSE(world.upstream_of("web.example.test").empty()) << "seed " << seed;
    const auto views =
        life.catalog().deployments_of(life.catalog().project_named("web")->state.id, 10);
    for (const auto& view : *views) {
      ASSERT_NE(view.state.status, DeploymentStatus::failed)
          << "seed " << seed << ": " << view.state.failure->reason;
    }
    looks_that_removed += world.collected.empty() ? 0 : 1;
    ASSERT_THAT(world.collected, Not(Contains(reference('2').str()))) << "seed " << seed;
    ASSERT_THAT(world.collected, Not(Contains(image_id('2')))) << "seed " << seed;
  }
  EXPECT_GT(looks_that_removed, 100);  // else nothing was put to the test
}

// A project's actor hears of what its deployments recorded a little later than the janitor may. A
// rollback that is asked for just as its image goes out of reach is refused or works, never granted
// and then without its image.
TEST(Janitor, takes_no_image_from_a_rollback_that_was_granted_at_the_same_moment) {
  int granted = 0;
  int refused = 0;
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    sim::World world;
    sim::Life life(storage::make_memory_store(), world, seed, 1);
    life.create_project("web");
    deploy_each_of(life, "12");
    const auto first = deployment_ids(life.catalog(), "web").front();
    life.send_push("guid-3", '3');
    const auto third_is = [&](DeploymentStatus status) {
      const auto ids = deployment_ids(life.catalog(), "web");
      return ids.size() == 3 && life.catalog().deployment(ids.back())->state.status == status;
    };
    // Its Routed takes the first image out of reach.
    ASSERT_TRUE(life.run_until([&] { return third_is(DeploymentStatus::routing); }));
    life.run_steps(static_cast<int>(seed % 16));
    life.reuse("web", ReuseKind::rollback, "command-1", first);
    const auto answered = [&] { return life.push_replies.size() == 4 || life.errors.size() == 1; };
    for (int i = 0; i < 100; ++i) {
      life.collect_now();
      life.run_steps(1);
    }
    ASSERT_TRUE(life.run_until(answered)) << "seed " << seed;
    ASSERT_TRUE(life.run_until([&] {
      return life.catalog().position() == life.log().last_position() &&
             settled(life, life.errors.empty() ? 4 : 3);
    })) << "seed "
        << seed;
    ++(life.errors.empty() ? granted : refused);
    for (const auto& error : life.errors) {
      ASSERT_THAT(error.message, testing::HasSubstr("can't be rolled back to")) << "seed " << seed;
    }
    const auto ids = deployment_ids(life.catalog(), "web");
    for (const auto& id : ids) {
      const auto state = life.catalog().deployment(id)->state;
      ASSERT_NE(state.status, DeploymentStatus::failed)
          << "seed " << seed << ": " << state.failure->reason;
    }
  }
  EXPECT_GT(granted, 20);
  EXPECT_GT(refused, 20);
}

TEST(Janitor, of_a_process_that_was_killed_anywhere_leaves_a_deployment_that_goes_on) {
  for (int steps = 1; steps < 200; steps += 2) {
    sim::World world;
    const auto store = storage::make_memory_store();
    {
      sim::Life life(store, world, static_cast<std::uint64_t>(steps));
      life.create_project("web");
      life.send_push("guid-1", '1');
      for (int i = 0; i < steps; i += 5) {
        life.collect_now();
        life.run_steps(5);
      }
    }
    sim::Life life(store, world, static_cast<std::uint64_t>(steps) + 1'000);
    life.collect_now();
    life.send_push("guid-1", '1');
    ASSERT_TRUE(life.run_until([&] { return settled(life, 1); })) << "killed after " << steps;
    ASSERT_EQ(world.running_vms(), 1) << "killed after " << steps;
    let_an_hour_pass(life);
    EXPECT_THAT(keys(world.registry), UnorderedElementsAre(reference('1')));
    EXPECT_THAT(world.disks, UnorderedElementsAre(reference('1')));
  }
}

}  // namespace
}  // namespace atlasflow::actors
