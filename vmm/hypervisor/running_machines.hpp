// The microVMs of a state folder that run, and their common end. What runs is on record, in the
// VM's folder and once more beside all of them, so that one whose folder is lost is found as well;
// nobody looks through the machine's processes. Free functions; any thread. Needs neither kernel
// nor image.
//
// <state>/vm/VM_ID/vm.json    the VM's record (record.hpp)
// <state>/running/VM_ID       its process and its cgroup's folders; written before it executes
//                             QEMU, removed once both are gone
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.hpp"
#include "base/error.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

[[nodiscard]] bool is_vm_id(const std::string& id);

// Names the processes of one state folder, so that two of them on one host leave each other alone.
[[nodiscard]] std::filesystem::path host_id_path(const std::filesystem::path& state_dir);
[[nodiscard]] std::optional<std::string> read_host_id(const std::filesystem::path& state_dir);

// QEMU's -name of a VM is this and the vm_id.
[[nodiscard]] std::string machine_name_prefix(const std::string& host_id);

struct RunningMachine {
  std::string vm_id;
  ProcessId process;
};
[[nodiscard]] std::vector<RunningMachine> running_machines(const std::filesystem::path& state_dir);

// Puts the process of a VM on record beside all folders, and takes it off.
[[nodiscard]] Result<void> note_running(const std::filesystem::path& state_dir,
                                        const std::string& vm_id, const ProcessId& process,
                                        const std::vector<std::filesystem::path>& cgroup);
// As it is on record, which may be one of an earlier server with another place among the cgroups.
[[nodiscard]] Cgroup recorded_cgroup(const std::filesystem::path& state_dir,
                                     const std::string& vm_id);
void forget_running(const std::filesystem::path& state_dir, const std::string& vm_id);

// Asks every VM of the folder to stop, all at once, and kills what has not after the grace that its
// owner gives it. Returns the names of those that ran. Their folders go too, so that the next
// control plane finds them absent and starts them again; the logs stay. timed_out: one does not
// die.
[[nodiscard]] Result<std::vector<std::string>> end_machines(const std::filesystem::path& state_dir);

}  // namespace atlasflow::vmm
