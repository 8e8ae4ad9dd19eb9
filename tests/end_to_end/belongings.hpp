// What one state folder has on the machine, by looking at the machine and not at what anybody
// remembers: processes, mounts, cgroups, and what lies in the folder for a while only. For tests
// that claim that nothing is left. Any thread.
#pragma once

#include <cstddef>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

namespace atlasflow::end_to_end {

// One line each, sorted, twice when it is there twice:
//   "server", "edge", "registry", "microVM <id>", "process <command line>" of any other process
//   that names the folder or has a part of it mounted; "network of a build that is gone";
//   "mount <place>", "cgroup <name>" of a build of these deployments or of a microVM that is gone,
//   "VM folder <id>", "checkout <name>", "scratch <build>", "container <id>" of a build.
[[nodiscard]] std::vector<std::string> belongings_of(const std::filesystem::path& state_dir,
                                                     const std::set<std::string>& deployments);

// How many images the state folder holds, in each of the places where an image lies.
struct Images {
  std::size_t pushed = 0;    // in the registry, of one project
  std::size_t unpacked = 0;  // pulled for microVMs
  std::size_t disks = 0;     // of layers
};
[[nodiscard]] Images images_in(const std::filesystem::path& state_dir, const std::string& project);

}  // namespace atlasflow::end_to_end
