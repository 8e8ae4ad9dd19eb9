// How a VM ended whose guest did not say it: what QEMU, the guest's kernel and the host left as
// signs. Pure functions; the caller reads the files.
#pragma once

#include <string>
#include <string_view>

#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::vmm {

struct LastSigns {
  std::string_view qemu_log;    // its end
  std::string_view kernel_log;  // its end
  bool out_of_memory = false;   // the host ended a process of its cgroup for want of memory
};

// QEMU tells why it shuts down (tells_its_end in machine.hpp), so an end that the guest brought
// about is told from one that came from outside. What a guest does to itself is a crash like any
// other, and only what was done to it is `lost`.
[[nodiscard]] VmExit explain_end(const LastSigns& signs);

// The last line that holds anything but QEMU's events; bounded and printable.
[[nodiscard]] std::string last_message(std::string_view log);

}  // namespace atlasflow::vmm
