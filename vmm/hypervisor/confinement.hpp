// What holds a VM's QEMU in beside its user and its seccomp filter: a cgroup with limits, and a
// root and namespaces of its own. Where the machine does not allow one of them a VM runs without
// it, and missing() says so. Any thread.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/cgroup.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/hypervisor/private_root.hpp"

namespace atlasflow::vmm {

// A VM weighs as much as one process of the machine that is busy, with however many processors it
// spins: its neighbours, the edge and the control plane have their share whatever it does.
inline constexpr CgroupParent k_vm_cgroups = k_no_parent;
// Names one that a server makes and removes, to see whether it may; then its process id.
inline constexpr const char* k_trial_prefix = "atlasflow-trial-";

class Confinement {
 public:
  // Tries a root of its own with QEMU in it. work: a folder for that.
  Confinement(const std::filesystem::path& work, bool with_kvm);

  [[nodiscard]] const PrivateRoot* root() const { return root_ ? &*root_ : nullptr; }
  // The cgroup of the VM of this -name, not created yet.
  [[nodiscard]] Cgroup cgroup_of(const std::string& machine_name) const;
  // The names of all cgroups here, among which are the -names of VMs.
  [[nodiscard]] std::vector<std::string> names() const;
  // " without cgroup", " without namespaces"; empty when nothing is missing.
  [[nodiscard]] std::string missing() const;

 private:
  // Those that a server left which was killed during its trial: no list of VMs names them.
  void remove_dead_trials() const;

  std::vector<CgroupHierarchy> hierarchies_;
  std::optional<PrivateRoot> root_;
  bool has_cgroup_ = false;
};

// Room for the guest's memory and QEMU's own, its processors and some for QEMU's other threads.
[[nodiscard]] CgroupLimits limits_of(const VmSpec& spec);

}  // namespace atlasflow::vmm
