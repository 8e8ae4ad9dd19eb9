#include "vmm/hypervisor/running_machines.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "vmm/hypervisor/control.hpp"
#include "vmm/hypervisor/launch.hpp"
#include "vmm/hypervisor/record.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr milliseconds k_poll{5};
constexpr milliseconds k_power_off_limit{3'000};
constexpr milliseconds k_kill_limit{10'000};
constexpr std::uint64_t k_running_bytes_max = 64U << 10U;

fs::path running_in(const fs::path& state_dir) { return state_dir / "running"; }

// Nothing when it is not readable: then there is nothing to trust.
std::optional<ProcessId> read_running(const fs::path& path) {
  const auto text = read_file(path, k_running_bytes_max);
  const auto document = nlohmann::json::parse(text.value_or(""), nullptr, false);
  if (!document.is_object()) return std::nullopt;
  try {
    return ProcessId{document.at("pid"), document.at("start_ticks"), document.at("boot_id")};
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

bool is_vm_id(const std::string& id) {
  return !id.empty() && id.size() <= 48 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

fs::path host_id_path(const fs::path& state_dir) { return state_dir / "host_id"; }

std::optional<std::string> read_host_id(const fs::path& state_dir) {
  auto text = read_file(host_id_path(state_dir), 64);
  if (!text || !is_vm_id(*text)) return std::nullopt;
  return *text;
}

std::string machine_name_prefix(const std::string& host_id) { return "atlasflow-" + host_id + "-"; }

Result<void> note_running(const fs::path& state_dir, const std::string& vm_id,
                          const ProcessId& process, const std::vector<fs::path>& cgroup) {
  if (auto made = make_folder(running_in(state_dir)); !made) return made;
  nlohmann::json document = {{"pid", process.pid},
                             {"start_ticks", process.start_ticks},
                             {"boot_id", process.boot_id},
                             {"cgroup", nlohmann::json::array()}};
  for (const fs::path& folder : cgroup) document["cgroup"].push_back(folder.string());
  // Not synced: after a power cut there is no process that it could tell of.
  return replace_file(running_in(state_dir) / vm_id, document.dump() + "\n", 0600, Sync::skipped);
}

Cgroup recorded_cgroup(const fs::path& state_dir, const std::string& vm_id) {
  std::vector<fs::path> folders;
  const auto text = read_file(running_in(state_dir) / vm_id, k_running_bytes_max);
  const auto document = nlohmann::json::parse(text.value_or(""), nullptr, false);
  if (document.is_object() && document.contains("cgroup") && document["cgroup"].is_array()) {
    for (const auto& folder : document["cgroup"]) {
      if (folder.is_string()) folders.emplace_back(folder.get<std::string>());
    }
  }
  return Cgroup(folders);
}

void forget_running(const fs::path& state_dir, const std::string& vm_id) {
  std::error_code ignored;  // a process that is gone is not believed either
  fs::remove(running_in(state_dir) / vm_id, ignored);
}

std::vector<RunningMachine> running_machines(const fs::path& state_dir) {
  std::vector<RunningMachine> machines;
  const auto add = [&machines](const std::string& vm_id, const ProcessId& process) {
    const bool known = std::any_of(machines.begin(), machines.end(),
                                   [&](const auto& machine) { return machine.process == process; });
    if (is_vm_id(vm_id) && !known && is_alive(process)) machines.push_back({vm_id, process});
  };
  for (const auto& vm_id : names_if_any(running_in(state_dir))) {
    if (const auto process = read_running(running_in(state_dir) / vm_id)) add(vm_id, *process);
  }
  for (const auto& vm_id : names_if_any(state_dir / "vm")) {
    if (const auto record = read_record(state_dir / "vm" / vm_id)) add(vm_id, record->process);
  }
  return machines;
}

Result<std::vector<std::string>> end_machines(const fs::path& state_dir) {
  std::vector<std::string> ended;
  const auto machines = running_machines(state_dir);
  std::vector<FileDescriptor> conversations;  // open until the guests have read what was asked
  milliseconds longest{0};
  for (const auto& machine : machines) {
    const auto record = read_record(state_dir / "vm" / machine.vm_id);
    const auto grace = record ? record->stop_grace : k_default_stop_grace;
    longest = std::max(longest, grace);
    auto asked = ask_to_stop(state_dir / "vm" / machine.vm_id, k_control_socket, grace);
    if (asked) conversations.push_back(std::move(*asked));
  }
  const auto deadline = steady_clock::now() + (conversations.empty() ? milliseconds::zero()
                                                                     : longest + k_power_off_limit);
  const auto some_run = [&] {
    return std::any_of(machines.begin(), machines.end(),
                       [](const auto& machine) { return is_alive(machine.process); });
  };
  while (some_run() && steady_clock::now() < deadline) std::this_thread::sleep_for(k_poll);
  std::string stubborn;
  for (const auto& machine : machines) {
    // Its cgroup first: no signal ends who is frozen there.
    const bool emptied = recorded_cgroup(state_dir, machine.vm_id).remove();
    if (!kill_process(machine.process, k_kill_limit) || !emptied) {
      stubborn += " " + machine.vm_id;
      continue;
    }
    std::error_code ignored;  // what is left of it is cleared by its next start
    fs::remove_all(state_dir / "vm" / machine.vm_id, ignored);
    forget_running(state_dir, machine.vm_id);
    ended.push_back(machine.vm_id);
  }
  if (!stubborn.empty()) {
    return fail(ErrorCode::timed_out,
                "these microVMs do not die; look at their processes:" + stubborn);
  }
  return ended;
}

}  // namespace atlasflow::vmm
