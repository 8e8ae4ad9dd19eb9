// On the machine's own hierarchies. Skipped where none can be written.
#include "base/cgroup.hpp"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <fstream>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

namespace atlasflow {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::Not;

constexpr CgroupParent k_parent{"atlasflow-test", 50};

class CgroupTest : public testing::Test {
 protected:
  void make(const CgroupLimits& limits) {
    group_.create(limits);
    if (group_.procs().empty()) GTEST_SKIP() << "no cgroup hierarchy here can be written";
  }
  void TearDown() override {
    EXPECT_TRUE(group_.remove());
    for (const pid_t pid : children_) ::waitpid(pid, nullptr, 0);
  }

  // A child that is in the group and does what the function says.
  template <typename Work>
  pid_t spawn_inside(Work work) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      for (const FileDescriptor& procs : group_.procs()) {
        if (::write(procs.get(), "0", 1) != 1) ::_exit(99);
      }
      ::_exit(work());
    }
    children_.push_back(pid);
    return pid;
  }
  pid_t sleeper_inside() {
    const pid_t pid = spawn_inside([] {
      for (;;) ::pause();
      return 0;
    });
    while (!group_.members().contains(pid))
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return pid;
  }
  // The folders that have this file.
  std::vector<std::filesystem::path> with(const std::string& file) const {
    std::vector<std::filesystem::path> found;
    for (const auto& folder : group_.folders()) {
      if (std::filesystem::exists(folder / file)) found.push_back(folder / file);
    }
    return found;
  }
  static std::string first_line(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    return line;
  }

  const std::string name_ = "cgroup-test-" + std::to_string(::getpid());
  Cgroup group_{own_cgroups(), k_parent, name_};
  std::vector<pid_t> children_;
};

TEST_F(CgroupTest, tells_who_is_inside_and_is_found_by_its_folders_and_its_name) {
  make({});
  const pid_t child = sleeper_inside();
  EXPECT_THAT(group_.members(), ElementsAre(child));
  EXPECT_THAT(Cgroup(group_.folders()).members(), ElementsAre(child));
  EXPECT_THAT(Cgroup::names(own_cgroups(), k_parent), Contains(name_));
  EXPECT_TRUE(Cgroup(group_.folders()).remove()) << "by a process that did not make it";
  EXPECT_THAT(group_.members(), IsEmpty());
  EXPECT_FALSE(group_.exists());
  EXPECT_THAT(Cgroup::names(own_cgroups(), k_parent), Not(Contains(name_)));
}

TEST_F(CgroupTest, without_a_parent_stands_beside_its_maker_whose_weight_stays) {
  make({});
  Cgroup alone(own_cgroups(), k_no_parent, name_ + "-alone");
  const auto weights = [] {
    std::string all;
    for (const auto& hierarchy : own_cgroups()) {
      for (const char* file : {"cpu.shares", "cpu.weight"}) {
        all += first_line(hierarchy.own / file) + "\n";
      }
    }
    return all;
  };
  const auto before = weights();
  alone.create({.cpu_weight = 50});
  for (const auto& folder : alone.folders()) {
    const auto own = own_cgroups();
    EXPECT_TRUE(std::any_of(own.begin(), own.end(), [&](const CgroupHierarchy& hierarchy) {
      return std::filesystem::equivalent(hierarchy.own, folder.parent_path());
    })) << folder;
  }
  EXPECT_THAT(Cgroup::names(own_cgroups(), k_no_parent), Contains(name_ + "-alone"));
  EXPECT_TRUE(alone.remove());
  EXPECT_EQ(weights(), before);
}

TEST_F(CgroupTest, ends_what_is_frozen_or_stopped) {
  make({});
  const pid_t child = sleeper_inside();
  ::kill(child, SIGSTOP);
  for (const auto& file : with("freezer.state")) std::ofstream(file) << "FROZEN";
  for (const auto& file : with("cgroup.freeze")) std::ofstream(file) << "1";
  EXPECT_TRUE(group_.remove());
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  children_.clear();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

TEST_F(CgroupTest, bounds_a_fork_bomb_and_ends_every_process_of_it) {
  make({.processes = 20});
  if (with("pids.max").empty()) GTEST_SKIP() << "no pids controller here";
  spawn_inside([] {
    for (;;) (void)::fork();
    return 0;
  });
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (group_.members().size() < 20 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(group_.members().size(), 20U);
  while (group_.process_refusals() == 0 && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_GE(group_.process_refusals(), 1U);
  EXPECT_TRUE(group_.remove());
}

TEST_F(CgroupTest, ends_a_process_that_takes_too_much_memory) {
  make({.memory_mib = 32});
  if (!group_.memory_limited()) GTEST_SKIP() << "no memory controller here";
  const pid_t child = spawn_inside([] {
    std::string hog(64U << 20U, 'x');
    return hog[hog.size() / 2] == 'x' ? 0 : 1;
  });
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  children_.clear();
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
  EXPECT_GE(group_.oom_kills(), 1U);
}

TEST_F(CgroupTest, has_its_share_of_processors_and_so_has_its_parent) {
  make({.cpu_percent = 150, .cpu_weight = 200});
  for (const auto& file : with("cpu.cfs_quota_us")) EXPECT_EQ(first_line(file), "150000");
  for (const auto& file : with("cpu.max")) EXPECT_EQ(first_line(file), "150000 100000");
  for (const auto& file : with("cpu.shares")) {
    EXPECT_EQ(first_line(file), "2048");
    EXPECT_EQ(first_line(file.parent_path().parent_path() / "cpu.shares"), "512")
        << "a weight below a parent says nothing beside the rest of the machine";
  }
  for (const auto& file : with("cpu.weight")) {
    EXPECT_EQ(first_line(file), "200");
    EXPECT_EQ(first_line(file.parent_path().parent_path() / "cpu.weight"), "50");
  }
}

}  // namespace
}  // namespace atlasflow
