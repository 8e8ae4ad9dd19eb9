// What is known of a VM on disk: its record (vm.json) and what the guest said (guest.events). A
// VM's life is in these two files and /proc, so any later control plane finds it as this one left
// it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "vmm/guest/listeners.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

struct VmRecord {
  std::string vm_id;
  std::string image;
  std::string boot_id;  // of the host: a pid of before a reboot means nothing
  Endpoint endpoint;
  ProcessId process;             // pid 0: QEMU was not started
  std::uint16_t guest_port = 0;  // where the app is looked for inside
  std::chrono::milliseconds stop_grace = k_default_stop_grace;  // what its owner gives it to stop
  std::vector<std::string> notices = {};                        // about its image, for its owner
};

[[nodiscard]] Result<void> write_record(const std::filesystem::path& vm_dir,
                                        const VmRecord& record);
// Nothing when there is none or it is not readable: then there is nothing to trust.
[[nodiscard]] std::optional<VmRecord> read_record(const std::filesystem::path& vm_dir);

// The guest's words, parsed: lines "hello 1", "started <pid>", "listens <address:port>…",
// "disk full|free", "stopping", "failed user|boot <text>", "exit <code> <signal> <0|1> [<text>]".
// The guest is not trusted: unknown or cut lines are passed over.
struct GuestEvents {
  bool hello = false;
  bool started = false;
  std::optional<Error> failed;
  std::optional<VmExit> exit;
  std::vector<guest::Listener> listeners;  // the newest
  bool disk_full = false;
};
[[nodiscard]] GuestEvents parse_guest_events(std::string_view text);
// Of the file only the beginning counts.
inline constexpr std::size_t k_events_bytes_max = 64ULL << 10U;
// The end of a file that a guest or QEMU may have made long; empty when there is none.
[[nodiscard]] std::string read_end(const std::filesystem::path& path);
[[nodiscard]] GuestEvents read_guest_events(const std::filesystem::path& vm_dir);

}  // namespace atlasflow::vmm
