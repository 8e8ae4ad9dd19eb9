// The host's end of a VM's control port: a unix socket that QEMU listens on. Any thread.
#pragma once

#include <chrono>
#include <filesystem>

#include "base/error.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

// A listening socket at dir/name, for QEMU to inherit. The folder's path may be longer than a
// socket address holds.
[[nodiscard]] Result<FileDescriptor> listen_at(const std::filesystem::path& dir, const char* name);

// Asks the guest's init to stop the app: SIGTERM, and SIGKILL after grace. The connection is
// returned and must stay open until the guest had time to read: QEMU may drop the bytes of a closed
// one.
[[nodiscard]] Result<FileDescriptor> ask_to_stop(const std::filesystem::path& dir, const char* name,
                                                 std::chrono::milliseconds grace);

}  // namespace atlasflow::vmm
