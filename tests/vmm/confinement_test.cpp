// What holds a VM's QEMU in: its cgroup, its root, and what becomes of them when a server dies.
#include "vmm/hypervisor/confinement.hpp"

#include <fstream>
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cgroup.hpp"
#include "tests/vmm/micro_vm.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/process.hpp"
#include "vmm/hypervisor/record.hpp"
#include "vmm/hypervisor/running_machines.hpp"

namespace atlasflow::vmm {
namespace {

using namespace std::chrono_literals;
using test::k_serve;
using test::MicroVm;
using test::web_image;
using testing::Contains;
using testing::Not;

class Confined : public MicroVm {};

TEST_F(Confined, is_confined_to_its_cgroup_and_a_root_without_the_hosts_files) {
  ASSERT_EQ(hypervisor_->missing_confinement(), "");
  const auto image = push(web_image(k_serve), "confined");
  ASSERT_TRUE(hypervisor_->start(spec("confined-1", image), {}));
  const auto process = read_record(dir_of("confined-1"))->process;
  const Cgroup cgroup = recorded_cgroup(shared_->folder.path() / "state", "confined-1");
  EXPECT_THAT(cgroup.members(), testing::ElementsAre(process.pid));
  const auto root = std::filesystem::path("/proc/" + std::to_string(process.pid) + "/root");
  for (const char* path :
       {"etc/passwd", "home", "root", "tmp", "var", "usr/bin/env", "sys", "run"}) {
    EXPECT_FALSE(std::filesystem::exists(root / path)) << path;
  }
  EXPECT_TRUE(std::filesystem::exists(root / "usr/share/qemu"));
  for (const char* kind : {"mnt", "pid", "ipc", "uts"}) {
    const std::string name = std::string("/ns/") + kind;
    EXPECT_NE(std::filesystem::read_symlink("/proc/" + std::to_string(process.pid) + name),
              std::filesystem::read_symlink("/proc/self" + name));
  }
  ASSERT_TRUE(hypervisor_->stop(VmId{"confined-1"}, 0ms, {}));
  EXPECT_FALSE(cgroup.exists());
}

TEST_F(Confined, a_frozen_vm_is_stopped_like_any_other) {
  const auto image = push(web_image(k_serve), "frozen");
  const auto state = shared_->folder.path() / "state";
  const std::vector<std::function<void()>> ways = {
      [&] {
        const auto exit = hypervisor_->stop(VmId{"frozen-1"}, 200ms, {});
        EXPECT_TRUE(exit) << to_string(exit.error());
      },
      [&] {
        const auto ended = end_machines(state);  // what `halt` does
        EXPECT_TRUE(ended) << to_string(ended.error());
      }};
  for (const auto& stop : ways) {
    VmSpec vm = spec("frozen-1", image);
    vm.stop_grace = 200ms;
    ASSERT_TRUE(hypervisor_->start(vm, {}));
    const auto process = read_record(dir_of("frozen-1"))->process;
    for (const auto& folder : recorded_cgroup(state, "frozen-1").folders()) {
      if (std::filesystem::exists(folder / "freezer.state")) {
        std::ofstream(folder / "freezer.state") << "FROZEN";
      } else if (std::filesystem::exists(folder / "cgroup.freeze")) {
        std::ofstream(folder / "cgroup.freeze") << "1";
      }
    }
    const auto begin = std::chrono::steady_clock::now();
    stop();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 30s);
    EXPECT_FALSE(is_alive(process));
  }
}

TEST_F(Confined, a_cgroup_that_a_killed_server_left_is_listed_and_goes) {
  const auto host_id = read_host_id(shared_->folder.path() / "state");
  ASSERT_TRUE(host_id);
  Cgroup left(own_cgroups(), k_vm_cgroups, machine_name_prefix(*host_id) + "left-1");
  left.create({});
  EXPECT_THAT(hypervisor_->list(), Contains(VmId{"left-1"}));
  ASSERT_TRUE(hypervisor_->stop(VmId{"left-1"}, 0ms, {}));
  EXPECT_FALSE(left.exists());
  EXPECT_THAT(hypervisor_->list(), Not(Contains(VmId{"left-1"})));
}

pid_t pid_of_nobody() {
  const pid_t pid = ::fork();
  if (pid == 0) ::_exit(0);
  int ignored = 0;
  EXPECT_EQ(::waitpid(pid, &ignored, 0), pid);
  return pid;
}

TEST_F(Confined, a_trial_that_a_killed_server_left_goes_and_that_of_a_living_one_stays) {
  const auto trial_of = [](pid_t pid) {
    return Cgroup(own_cgroups(), k_vm_cgroups, k_trial_prefix + std::to_string(pid));
  };
  Cgroup left = trial_of(pid_of_nobody());
  Cgroup others = trial_of(::getppid());
  left.create({});
  others.create({});
  ASSERT_TRUE(left.exists());
  const Confinement confinement(shared_->folder.path(), false);
  EXPECT_EQ(confinement.missing(), "");
  EXPECT_FALSE(left.exists());
  EXPECT_FALSE(trial_of(::getpid()).exists());
  EXPECT_TRUE(others.exists());
  EXPECT_TRUE(others.remove());
}

}  // namespace
}  // namespace atlasflow::vmm
