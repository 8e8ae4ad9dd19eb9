// The cgroup of one build or one microVM, on cgroup v1 (every hierarchy) and v2 alike, below the
// cgroup of the process that makes it. It holds the limits and is the list of who is ours and must
// die. Where it cannot be made there are no limits, and callers have another way to end what they
// started. One thread per object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow {

struct CgroupLimits {
  std::int64_t memory_mib = 0;   // 0: none
  std::int64_t processes = 0;    // threads count too; 0: none
  std::int64_t cpu_percent = 0;  // of one processor; 0: none
  int cpu_weight = 100;          // beside the other groups of its parent; 1 to 10'000
};

// The folder that all groups of a kind share. When processors are busy it has this weight beside
// the server's own processes and everything else on the machine; 100 is the usual one.
struct CgroupParent {
  const char* name;
  int cpu_weight;
};
// None: each group stands beside the server's own processes, with a weight of its own. Groups in
// one parent wait for each other: what the busy ones take of its share, the idle one lacks when it
// wakes up.
inline constexpr CgroupParent k_no_parent{"", 0};

// One mounted hierarchy and the folder in it where this process is.
struct CgroupHierarchy {
  bool unified = false;     // v2
  std::string controllers;  // v1: "memory", "cpu,cpuacct", "name=systemd"
  std::filesystem::path own;
};

// From /proc/self/mountinfo and /proc/self/cgroup.
[[nodiscard]] std::vector<CgroupHierarchy> own_cgroups();

class Cgroup {
 public:
  // Folders <parent>/<name> in each hierarchy that can be written.
  Cgroup(std::vector<CgroupHierarchy> hierarchies, const CgroupParent& parent,
         const std::string& name);
  // One that was made by another process, by what folders() gave then.
  explicit Cgroup(const std::vector<std::filesystem::path>& folders);

  // Makes the folders and sets what limits can be set.
  void create(const CgroupLimits& limits);
  [[nodiscard]] bool exists() const;
  [[nodiscard]] bool memory_limited() const { return memory_limited_; }
  // Open cgroup.procs files of the folders that create() made: who writes "0" to each is in it.
  [[nodiscard]] const std::vector<FileDescriptor>& procs() const { return procs_; }
  [[nodiscard]] std::vector<std::filesystem::path> folders() const;
  [[nodiscard]] std::set<pid_t> members() const;
  // How often the kernel ended a process in it for want of memory.
  [[nodiscard]] std::uint64_t oom_kills() const;
  // How often it was not given another process, having as many as it may.
  [[nodiscard]] std::uint64_t process_refusals() const;
  // SIGKILLs all that is inside until nothing is, then removes the folders. false: something is
  // stuck, for 5 s.
  bool remove();

  // Names of the groups that are there.
  [[nodiscard]] static std::vector<std::string> names(
      const std::vector<CgroupHierarchy>& hierarchies, const CgroupParent& parent);

 private:
  struct Place {
    CgroupHierarchy hierarchy;
    std::filesystem::path folder;
  };
  void limit(const Place& place, const CgroupLimits& limits);
  [[nodiscard]] std::uint64_t count_of(std::string_view key,
                                       std::initializer_list<const char*> files) const;

  CgroupParent parent_ = k_no_parent;
  std::vector<Place> places_;
  std::vector<FileDescriptor> procs_;
  bool memory_limited_ = false;
};

}  // namespace atlasflow
