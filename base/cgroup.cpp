#include "base/cgroup.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow {
namespace {

namespace fs = std::filesystem;

constexpr int k_kill_rounds_max = 500;  // of 10 ms
constexpr std::int64_t k_bytes_per_mib = 1 << 20;
constexpr const char* k_leaf = "server";
constexpr int k_leaf_weight = 1000;  // of the server and its edge, beside each group
constexpr std::int64_t k_cpu_period_us = 100'000;

bool write_file(const fs::path& path, const std::string& value) {
  const FileDescriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  return fd.valid() &&
         ::write(fd.get(), value.data(), value.size()) == static_cast<ssize_t>(value.size());
}

// Empty when it cannot be read: a group that went meanwhile answers ENODEV, and has nothing to
// tell.
std::string text_of(const fs::path& path) {
  constexpr std::uint64_t k_bytes_max = 4U << 20U;  // of cgroup.procs and mountinfo on a busy host
  return read_file(path, k_bytes_max).value_or("");
}

bool has_controller(std::string_view list, std::string_view name) {
  while (!list.empty()) {
    const auto end = std::min(list.find(','), list.size());
    if (list.substr(0, end) == name) return true;
    list.remove_prefix(std::min(end + 1, list.size()));
  }
  return false;
}

// "id:controllers:path" lines; the key of v2 is empty.
std::map<std::string, std::string> paths_of_self() {
  std::map<std::string, std::string> paths;
  std::istringstream file(text_of("/proc/self/cgroup"));
  for (std::string line; std::getline(file, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    paths[line.substr(first + 1, second - first - 1)] = line.substr(second + 1);
  }
  return paths;
}

// Where systemd has delegated a group to its service, all of it is that service's.
bool is_delegated(const fs::path& group) {
  std::array<char, 8> value{};
  return ::getxattr(group.c_str(), "user.delegate", value.data(), value.size()) > 0 ||
         ::getxattr(group.c_str(), "trusted.delegate", value.data(), value.size()) > 0;
}

// A v2 group that has processes cannot give controllers to its children. Where it is all ours, its
// processes move to a leaf beside the groups below it.
bool make_room(const fs::path& own) {
  if (!is_delegated(own)) return false;
  std::error_code error;
  fs::create_directory(own / k_leaf, error);
  std::istringstream pids(text_of(own / "cgroup.procs"));
  for (std::string pid; pids >> pid;) write_file(own / k_leaf / "cgroup.procs", pid);
  return true;
}

void enable_controllers(const fs::path& own, const fs::path& parent) {
  for (const char* controller : {"+memory", "+pids", "+cpu"}) {
    if (!write_file(own / "cgroup.subtree_control", controller) && make_room(own)) {
      write_file(own / "cgroup.subtree_control", controller);
    }
    write_file(parent / "cgroup.subtree_control", controller);
  }
  std::error_code none;
  if (fs::is_directory(own / k_leaf, none)) {
    write_file(own / k_leaf / "cpu.weight", std::to_string(k_leaf_weight));
  }
}

void set_weight(const CgroupHierarchy& hierarchy, const fs::path& folder, int weight) {
  if (hierarchy.unified) write_file(folder / "cpu.weight", std::to_string(weight));
  // 1024 shares are what a weight of 100 is; the kernel takes no fewer than 2.
  if (has_controller(hierarchy.controllers, "cpu")) {
    write_file(folder / "cpu.shares", std::to_string(std::max(weight * 1024 / 100, 2)));
  }
}

// A v1 cpuset has no processors until it is given some.
void copy_cpuset(const fs::path& from, const fs::path& to) {
  for (const char* name : {"cpuset.cpus", "cpuset.mems"}) {
    if (text_of(to / name).size() <= 1) write_file(to / name, text_of(from / name));
  }
}

std::vector<fs::path> folders_below(const fs::path& folder) {
  std::vector<fs::path> folders;
  std::error_code error;
  for (fs::recursive_directory_iterator i(folder, error), end; !error && i != end;
       i.increment(error)) {
    std::error_code ignored;
    if (i->is_directory(ignored)) folders.push_back(i->path());
  }
  std::reverse(folders.begin(), folders.end());  // The deepest first.
  folders.push_back(folder);
  return folders;
}

// A folder that groups of a kind share, as their code names it.
bool is_shared(const fs::path& folder) {
  const auto name = folder.filename().string();
  return name.starts_with("atlasflow-") && name.find('.') == std::string::npos;
}

// How many processes were found (and sent SIGKILL).
std::size_t kill_inside(const fs::path& folder) {
  std::size_t found = 0;
  write_file(folder / "cgroup.kill", "1");  // v2 since Linux 5.14: the whole subtree at once.
  for (const fs::path& each : folders_below(folder)) {
    write_file(each / "freezer.state", "THAWED");  // v1 delivers no signal to who is frozen
    std::istringstream pids(text_of(each / "cgroup.procs"));
    for (pid_t pid = 0; pids >> pid;) {
      ++found;
      if (pid > 1) ::kill(pid, SIGKILL);
    }
  }
  return found;
}

}  // namespace

std::vector<CgroupHierarchy> own_cgroups() {
  const auto paths = paths_of_self();
  std::vector<CgroupHierarchy> hierarchies;
  std::istringstream file(text_of("/proc/self/mountinfo"));
  for (std::string line; std::getline(file, line);) {
    // "36 35 98:0 /root /mount/point options… - type source super_options"
    const auto dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream head(line.substr(0, dash));
    std::istringstream tail(line.substr(dash + 3));
    std::string skip, root, mount_point, type, source, super_options;
    head >> skip >> skip >> skip >> root >> mount_point;
    tail >> type >> source >> super_options;
    if (type != "cgroup" && type != "cgroup2") continue;
    for (const auto& [controllers, path] : paths) {
      const bool same =
          type == "cgroup2"
              ? controllers.empty()
              : !controllers.empty() &&
                    has_controller(super_options, controllers.substr(0, controllers.find(',')));
      if (!same) continue;
      // In a container the mount shows only the part below `root`.
      std::string below = path;
      if (root != "/" && (below == root || below.starts_with(root + "/")))
        below = below.substr(root.size());
      fs::path own = (fs::path(mount_point) / fs::path(below).relative_path()).lexically_normal();
      // It moved there to make room, so what is beside the leaf is ours as before.
      if (type == "cgroup2" && own.filename() == k_leaf && is_delegated(own.parent_path())) {
        own = own.parent_path();
      }
      std::error_code error;
      if (fs::is_directory(own, error))
        hierarchies.push_back({type == "cgroup2", controllers, own});
    }
  }
  return hierarchies;
}

Cgroup::Cgroup(std::vector<CgroupHierarchy> hierarchies, const CgroupParent& parent,
               const std::string& name)
    : parent_(parent) {
  for (CgroupHierarchy& hierarchy : hierarchies) {
    fs::path folder = (hierarchy.own / parent.name / name).lexically_normal();
    places_.push_back({std::move(hierarchy), std::move(folder)});
  }
}

Cgroup::Cgroup(const std::vector<fs::path>& folders) {
  for (const fs::path& folder : folders) places_.push_back({{}, folder});
}

void Cgroup::create(const CgroupLimits& limits) {
  for (const Place& place : places_) {
    const CgroupHierarchy& hierarchy = place.hierarchy;
    const fs::path parent = place.folder.parent_path();
    std::error_code error;
    // Another group that ends may remove the shared parent between the two steps.
    for (int attempt = 0; attempt < 3; ++attempt) {
      fs::create_directory(parent, error);
      if (hierarchy.controllers == "cpuset") copy_cpuset(hierarchy.own, parent);
      fs::create_directory(place.folder, error);
      if (!error) break;
    }
    if (error) continue;
    if (hierarchy.unified) enable_controllers(hierarchy.own, parent);
    if (hierarchy.controllers == "cpuset") copy_cpuset(parent, place.folder);
    if (!std::string_view(parent_.name).empty()) set_weight(hierarchy, parent, parent_.cpu_weight);
    limit(place, limits);
    FileDescriptor procs(::open((place.folder / "cgroup.procs").c_str(), O_WRONLY | O_CLOEXEC));
    if (procs.valid()) procs_.push_back(std::move(procs));
  }
}

void Cgroup::limit(const Place& place, const CgroupLimits& limits) {
  const bool v2 = place.hierarchy.unified;
  const auto has = [&](std::string_view controller) {
    return v2 || has_controller(place.hierarchy.controllers, controller);
  };
  if (limits.memory_mib > 0 && has("memory")) {
    const std::string bytes = std::to_string(limits.memory_mib * k_bytes_per_mib);
    if (write_file(place.folder / (v2 ? "memory.max" : "memory.limit_in_bytes"), bytes)) {
      memory_limited_ = true;
    }
  }
  if (limits.processes > 0 && has("pids")) {
    write_file(place.folder / "pids.max", std::to_string(limits.processes));
  }
  if (limits.cpu_percent > 0 && has("cpu")) {
    const std::string period = std::to_string(k_cpu_period_us);
    const std::string quota = std::to_string(k_cpu_period_us * limits.cpu_percent / 100);
    if (v2) {
      write_file(place.folder / "cpu.max", quota + " " + period);
    } else {
      write_file(place.folder / "cpu.cfs_period_us", period);
      write_file(place.folder / "cpu.cfs_quota_us", quota);
    }
  }
  set_weight(place.hierarchy, place.folder, limits.cpu_weight);
}

std::vector<fs::path> Cgroup::folders() const {
  std::vector<fs::path> folders;
  for (const Place& place : places_) folders.push_back(place.folder);
  return folders;
}

std::set<pid_t> Cgroup::members() const {
  std::set<pid_t> members;
  for (const Place& place : places_) {
    std::error_code error;
    if (!fs::is_directory(place.folder, error)) continue;
    for (const fs::path& each : folders_below(place.folder)) {
      std::istringstream pids(text_of(each / "cgroup.procs"));
      for (pid_t pid = 0; pids >> pid;) members.insert(pid);
    }
  }
  return members;
}

bool Cgroup::exists() const {
  return std::any_of(places_.begin(), places_.end(), [](const Place& place) {
    std::error_code error;
    return fs::is_directory(place.folder, error);
  });
}

std::uint64_t Cgroup::oom_kills() const {
  return count_of("oom_kill", {"memory.events", "memory.oom_control"});
}

std::uint64_t Cgroup::process_refusals() const { return count_of("max", {"pids.events"}); }

// The first that is not 0 of the lines "<key> <count>" of such files.
std::uint64_t Cgroup::count_of(std::string_view key,
                               std::initializer_list<const char*> files) const {
  for (const Place& place : places_) {
    for (const char* name : files) {
      std::istringstream text(text_of(place.folder / name));
      for (std::string word; text >> word;) {
        std::uint64_t count = 0;
        if (text >> count && word == key && count > 0) return count;
      }
    }
  }
  return 0;
}

bool Cgroup::remove() {
  procs_.clear();
  for (int round = 0; round < k_kill_rounds_max; ++round) {
    std::size_t left = 0;
    for (const Place& place : places_) {
      std::error_code error;
      if (!fs::is_directory(place.folder, error)) continue;
      left += kill_inside(place.folder);
      for (const fs::path& folder : folders_below(place.folder)) fs::remove(folder, error);
      if (fs::is_directory(place.folder, error)) ++left;
      // Only when no other group is in it; that of the server is none of ours.
      if (is_shared(place.folder.parent_path())) fs::remove(place.folder.parent_path(), error);
    }
    if (left == 0) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

std::vector<std::string> Cgroup::names(const std::vector<CgroupHierarchy>& hierarchies,
                                       const CgroupParent& parent) {
  std::set<std::string> names;
  for (const CgroupHierarchy& hierarchy : hierarchies) {
    const fs::path folder = hierarchy.own / parent.name;
    for (auto& name : names_if_any(folder)) {
      std::error_code ignored;
      if (fs::is_directory(folder / name, ignored)) names.insert(std::move(name));
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace atlasflow
