#include "vmm/hypervisor/running_machines.hpp"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "vmm/files.hpp"
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

}  // namespace

bool is_vm_id(const std::string& id) {
  return !id.empty() && id.size() <= 48 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

fs::path host_id_path(const fs::path& state_dir) { return state_dir / "host_id"; }

std::optional<std::string> read_host_id(const fs::path& state_dir) {
  auto text = read_whole_file(host_id_path(state_dir), 64);
  if (!text || !is_vm_id(*text)) return std::nullopt;
  return *text;
}

std::string machine_name_prefix(const std::string& host_id) { return "atlasflow-" + host_id + "-"; }

std::vector<RunningMachine> running_machines(const std::string& name_prefix) {
  std::vector<RunningMachine> machines;
  std::error_code error;
  for (auto it = fs::directory_iterator("/proc", error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string number = it->path().filename().string();
    pid_t pid = 0;
    const char* const end = number.data() + number.size();
    if (std::from_chars(number.data(), end, pid).ptr != end) continue;
    const std::string command = command_line_of(pid);
    const std::string mark = " -name " + name_prefix;
    const std::size_t at = command.find(mark);
    if (at == std::string::npos) continue;
    const std::size_t from = at + mark.size();
    std::string vm_id = command.substr(from, command.find(' ', from) - from);
    const auto process = identify_process(pid);
    if (process && is_vm_id(vm_id)) machines.push_back({std::move(vm_id), *process});
  }
  return machines;
}

Result<std::vector<std::string>> end_machines(const fs::path& state_dir) {
  std::vector<std::string> ended;
  const auto host_id = read_host_id(state_dir);
  if (!host_id) return ended;  // no VM was ever started here
  const auto machines = running_machines(machine_name_prefix(*host_id));
  std::vector<Fd> conversations;  // open until the guests have read what was asked
  milliseconds longest{0};
  for (const auto& machine : machines) {
    const auto record = read_record(state_dir / "vm" / machine.vm_id);
    const auto grace = record ? record->stop_grace : k_default_stop_grace;
    longest = std::max(longest, grace);
    auto asked = ask_to_stop(state_dir / "vm" / machine.vm_id, k_control_socket, grace);
    if (asked) conversations.push_back(std::move(*asked));
  }
  const auto deadline = steady_clock::now() +
                        (conversations.empty() ? milliseconds::zero() : longest + k_power_off_limit);
  const auto some_run = [&] {
    return std::any_of(machines.begin(), machines.end(),
                       [](const auto& machine) { return is_alive(machine.process); });
  };
  while (some_run() && steady_clock::now() < deadline) std::this_thread::sleep_for(k_poll);
  std::string stubborn;
  for (const auto& machine : machines) {
    if (!kill_process(machine.process, k_kill_limit)) {
      stubborn += " " + machine.vm_id;
      continue;
    }
    std::error_code ignored;  // what is left of it is cleared by its next start
    fs::remove_all(state_dir / "vm" / machine.vm_id, ignored);
    ended.push_back(machine.vm_id);
  }
  if (!stubborn.empty()) {
    return fail(ErrorCode::timed_out,
                "these microVMs do not die; look at their processes:" + stubborn);
  }
  return ended;
}

}  // namespace atlasflow::vmm
