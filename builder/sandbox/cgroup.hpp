// The cgroup of one build, on cgroup v1 (every hierarchy) and v2 alike, below the server's own
// cgroup. It holds the limits and is the list of who must die. Where it cannot be made, builds run
// without limits and the PID namespace alone ends them. Internal to builder/; one thread per
// object.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace atlasflow::builder {

struct CgroupLimits {
  std::int64_t memory_mib = 0;  // 0: none
  std::int64_t processes = 4096;
};

// One mounted hierarchy and the folder in it where this process is.
struct CgroupHierarchy {
  bool unified = false;     // v2
  std::string controllers;  // v1: "memory", "cpu,cpuacct", "name=systemd"
  std::filesystem::path own;
};

// From /proc/self/mountinfo and /proc/self/cgroup.
[[nodiscard]] std::vector<CgroupHierarchy> own_cgroups();

class BuildCgroup {
 public:
  // Folders atlasflow-build/<name> in each hierarchy that can be written.
  BuildCgroup(const std::vector<CgroupHierarchy>& hierarchies, std::string name);

  // Makes the folders and sets what limits can be set.
  void create(const CgroupLimits& limits);
  [[nodiscard]] bool exists() const;
  [[nodiscard]] bool memory_limited() const { return memory_limited_; }
  [[nodiscard]] const std::vector<FileDescriptor>& procs() const { return procs_; }
  // How often the kernel ended a process of this build for want of memory.
  [[nodiscard]] std::uint64_t oom_kills() const;
  // SIGKILLs all that is inside until nothing is, then removes the folders. false: something is
  // stuck.
  bool remove();

  // Names of the builds that have a cgroup.
  static std::vector<std::string> names(const std::vector<CgroupHierarchy>& hierarchies);

 private:
  struct Place {
    const CgroupHierarchy* hierarchy;
    std::filesystem::path folder;
  };
  void limit(const Place& place, const CgroupLimits& limits);

  std::vector<CgroupHierarchy> hierarchies_;
  std::vector<Place> places_;
  std::vector<FileDescriptor> procs_;
  bool memory_limited_ = false;
};

}  // namespace atlasflow::builder
