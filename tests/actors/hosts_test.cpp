// Hosts without room, and VMs that do not end.
#include <gmock/gmock.h>

#include "sim/run/life.hpp"
#include "tests/storage/deployment_ids.hpp"

namespace atlasflow::actors {
namespace {

using testing::HasSubstr;

class Hosts : public testing::Test {
 protected:
  void begin(std::int64_t memory_mib) {
    world.hosts.at(HostId{"local"}).memory_mib = memory_mib;
    life = std::make_unique<sim::Life>(storage::make_memory_store(), world, 3);
  }
  // Of a project of that name, which is made when it is not there; returns the deployment.
  DeploymentId push(const std::string& name, char sha_digit,
                    const std::function<void(pb::Settings&)>& change = {}) {
    life->create_project(name, change);
    Push push;
    push.ref = "refs/heads/main";
    push.after = std::string(40, sha_digit);
    push.delivery_id = name + sha_digit;
    push.default_branch = "main";
    push.repository_urls = {"file:///srv/" + name + ".git"};
    life->send_push(std::move(push));
    std::vector<DeploymentId> deployments;
    EXPECT_TRUE(life->run_until([&] {
      deployments = deployment_ids(life->catalog(), name);
      return !deployments.empty();
    }));
    return deployments.empty() ? DeploymentId{} : deployments.back();
  }
  DeploymentStatus status_of(const DeploymentId& id) {
    const auto view = life->catalog().deployment(id);
    return view ? view->state.status : DeploymentStatus::absent;
  }
  bool run_until(const DeploymentId& id, DeploymentStatus status) {
    return life->run_until([&] { return status_of(id) == status; });
  }
  int count(const DeploymentId& id, pb::Event::KindCase kind) {
    int found = 0;
    EXPECT_TRUE(life->log().read_stream(deployment_stream(id), StreamVersion{1},
                                        [&](const storage::Record& record) {
                                          found += record.event.kind_case() == kind ? 1 : 0;
                                          return true;
                                        }));
    return found;
  }
  std::string reason_of(const DeploymentId& id) {
    const auto failure = life->catalog().deployment(id)->state.failure;
    return failure ? failure->reason : "";
  }

  sim::World world;
  std::unique_ptr<sim::Life> life;
};

TEST_F(Hosts, that_are_full_are_asked_again_and_then_are_the_reason) {
  begin(600);
  ASSERT_TRUE(run_until(push("web", 'a'), DeploymentStatus::live));
  const auto other = push("other", 'b');
  ASSERT_TRUE(run_until(other, DeploymentStatus::failed));
  EXPECT_EQ(count(other, pb::Event::kCapacityExhausted), 8);
  EXPECT_THAT(reason_of(other), HasSubstr("no VM host has 512 MiB of memory free"));
}

TEST_F(Hosts, that_are_too_small_at_all_are_the_reason_at_once) {
  begin(500);
  const auto id = push("web", 'a');
  ASSERT_TRUE(run_until(id, DeploymentStatus::failed));
  EXPECT_EQ(count(id, pb::Event::kCapacityExhausted), 1);
  EXPECT_THAT(reason_of(id), HasSubstr("the largest has 500 MiB: lower memory_mib"));
}

TEST_F(Hosts, that_are_full_run_no_release_command_until_they_are_not) {
  begin(1000);
  const auto web = push("web", 'a');
  ASSERT_TRUE(run_until(web, DeploymentStatus::live));
  const auto other =
      push("other", 'b', [](pb::Settings& settings) { settings.set_release_command("migrate"); });
  ASSERT_TRUE(life->run_until([&] { return count(other, pb::Event::kReleaseFailed) >= 3; }));
  EXPECT_EQ(world.vms.size(), 1U) << "its VM would have taken memory that is promised";
  life->delete_project("web");
  EXPECT_TRUE(run_until(other, DeploymentStatus::live));
}

TEST_F(Hosts, give_a_vms_memory_away_only_when_it_has_gone) {
  begin(1000);
  const auto web = push("web", 'a');
  ASSERT_TRUE(run_until(web, DeploymentStatus::live));
  int refused = 0;
  world.stop_error = [&](const VmId&) -> std::optional<Error> {
    if (++refused > 6) return std::nullopt;
    return Error{ErrorCode::timed_out, "it does not die", ""};
  };
  life->delete_project("web");
  ASSERT_TRUE(life->run_until([&] { return refused > 0; }));
  const auto other = push("other", 'b');
  int most = 0;
  ASSERT_TRUE(life->run_until([&] {
    most = std::max(most, world.running_vms());
    return status_of(other) == DeploymentStatus::live;
  }));
  EXPECT_EQ(most, 1);
  EXPECT_EQ(status_of(web), DeploymentStatus::retired);
}

TEST_F(Hosts, on_which_a_vm_does_not_end_let_its_deployment_go_and_end_it_later) {
  begin(4096);
  const auto web = push("web", 'a');
  ASSERT_TRUE(run_until(web, DeploymentStatus::live));
  world.stop_error = [](const VmId&) {
    return std::optional(Error{ErrorCode::timed_out, "it does not die", ""});
  };
  life->delete_project("web");
  ASSERT_TRUE(run_until(web, DeploymentStatus::retired)) << "a stop without an end";
  EXPECT_EQ(world.running_vms(), 1);
  const auto notices = life->catalog().deployment(web)->state.notices;
  EXPECT_THAT(notices, testing::Contains(HasSubstr("did not end in time and may still run")));
  world.stop_error = nullptr;
  EXPECT_TRUE(life->run_until([&] { return world.running_vms() == 0; }));
}

}  // namespace
}  // namespace atlasflow::actors
