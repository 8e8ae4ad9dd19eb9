#include "tests/end_to_end/belongings.hpp"

#include <algorithm>
#include <charconv>
#include <optional>
#include <sstream>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include "tests/end_to_end/process.hpp"

namespace atlasflow::end_to_end {
namespace {

namespace fs = std::filesystem;

using Lines = std::vector<std::string>;

// Names of what is in the folder; nothing when it is not there.
Lines names_in(const fs::path& folder) {
  Lines names;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

std::optional<pid_t> pid_in(std::string_view text) {
  pid_t pid = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), pid);
  if (parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) return std::nullopt;
  return pid;
}

Lines arguments_of(pid_t pid) {
  Lines arguments;
  std::istringstream in(read_file("/proc/" + std::to_string(pid) + "/cmdline"));
  for (std::string argument; std::getline(in, argument, '\0');) arguments.push_back(argument);
  return arguments;
}

std::string joined(const Lines& words) {
  std::string text;
  for (const auto& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string text_before(const std::string& text, char end) {
  return text.substr(0, text.find(end));
}

struct Place {
  std::string folder;   // of the state
  std::string vm_name;  // how this folder's microVMs begin
};

// Empty: it has nothing to do with the place.
std::string belonging(pid_t pid, const Place& place) {
  const auto arguments = arguments_of(pid);
  if (arguments.empty()) return {};  // a thread of the kernel, or dead
  const auto text = joined(arguments);
  const auto program = fs::path(arguments[0]).filename().string();
  if (program == "slirp4netns" && arguments.size() > 2) {
    const auto build = arguments[arguments.size() - 2];
    return fs::exists("/proc/" + build) ? "" : "network of a build that is gone";
  }
  if (!place.vm_name.empty() && text.find(place.vm_name) != std::string::npos) {
    const auto name = text.substr(text.find(place.vm_name) + place.vm_name.size());
    return "microVM " + name.substr(0, name.find_first_of(" ,"));
  }
  const auto mounts = read_file("/proc/" + std::to_string(pid) + "/mountinfo");
  if (text.find(place.folder) == std::string::npos &&
      mounts.find(place.folder) == std::string::npos) {
    return {};
  }
  if (program == "atlasflow" && arguments.size() > 1) {
    if (arguments[1] == "server" || arguments[1] == "edge") return arguments[1];
  }
  return program == "docker-registry" ? "registry" : "process " + text;
}

void add_processes(const Place& place, Lines& found) {
  for (const auto& name : names_in("/proc")) {
    const auto pid = pid_in(name);
    if (!pid || *pid == ::getpid()) continue;
    if (auto line = belonging(*pid, place); !line.empty()) found.push_back(std::move(line));
  }
}

void add_mounts(const Place& place, Lines& found) {
  std::istringstream mounts(read_file("/proc/self/mountinfo"));
  for (std::string line; std::getline(mounts, line);) {
    if (line.find(place.folder) != std::string::npos) found.push_back("mount " + line);
  }
}

// A name is there once in each hierarchy. A microVM's process is a line of its own, so its cgroup
// counts only when nobody is in it.
void add_cgroups(const Place& place, const std::set<std::string>& deployments, Lines& found) {
  std::error_code error;
  std::set<std::string> builds;
  std::set<std::string> empty_vms;
  constexpr auto k_options = fs::directory_options::skip_permission_denied;
  for (auto it = fs::recursive_directory_iterator("/sys/fs/cgroup", k_options, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const auto kind = it->path().parent_path().filename();
    const auto name = it->path().filename().string();
    if (kind == "atlasflow-build") builds.insert(name);
    if (!place.vm_name.empty() && name.starts_with(place.vm_name) && it->is_directory(error) &&
        read_file(it->path() / "cgroup.procs").empty()) {
      empty_vms.insert(name);
    }
  }
  for (const auto& name : builds) {
    const bool ours =
        std::any_of(deployments.begin(), deployments.end(),
                    [&name](const std::string& id) { return name.find(id) != std::string::npos; });
    if (ours) found.push_back("cgroup " + name);
  }
  for (const auto& name : empty_vms) found.push_back("cgroup " + name);
}

void add_files(const fs::path& state_dir, Lines& found) {
  for (const auto& name : names_in(state_dir / "vm/vm")) found.push_back("VM folder " + name);
  for (const auto& name : names_in(state_dir / "work")) found.push_back("checkout " + name);
  const auto containers = state_dir / "containers";
  for (const auto& name : names_in(containers / "scratch")) found.push_back("scratch " + name);
  std::error_code error;
  const auto projects = containers / "userns/projects";
  for (const auto& project : names_in(projects)) {
    const auto file = projects / project / "storage/overlay-containers/containers.json";
    const auto list = nlohmann::json::parse(read_file(file), nullptr, false);
    if (!list.is_array()) continue;
    for (const auto& container : list) {
      found.push_back("container " + container.value("id", std::string("without an id")));
    }
  }
}

}  // namespace

std::vector<std::string> belongings_of(const fs::path& state_dir,
                                       const std::set<std::string>& deployments) {
  const auto host_id = text_before(read_file(state_dir / "vm/host_id"), '\n');
  const Place place{state_dir.string(), host_id.empty() ? "" : "atlasflow-" + host_id + "-"};
  Lines found;
  add_processes(place, found);
  add_mounts(place, found);
  add_cgroups(place, deployments, found);
  add_files(state_dir, found);
  std::sort(found.begin(), found.end());
  return found;
}

Images images_in(const fs::path& state_dir, const std::string& project) {
  Images images;
  images.pushed = names_in(state_dir / "registry/blobs/docker/registry/v2/repositories" / project /
                           "_manifests/tags")
                      .size();
  const auto unpacked = names_in(state_dir / "vm/images");
  images.unpacked = static_cast<std::size_t>(std::count_if(
      unpacked.begin(), unpacked.end(), [](const std::string& name) { return name != "blobs"; }));
  const auto disks = names_in(state_dir / "vm/layers");
  images.disks = static_cast<std::size_t>(
      std::count_if(disks.begin(), disks.end(),
                    [](const std::string& name) { return name.ends_with(".erofs"); }));
  return images;
}

}  // namespace atlasflow::end_to_end
