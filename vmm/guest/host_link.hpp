// What the guest init knows of the world below it: its words to the host, small files, and devices
// by name. One thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace atlasflow::vmm::guest {

// Opens the kernel's log for words that come before the host's port is there.
void open_kernel_log();
// Opens the port for events; from then on the host hears what is said.
void open_events();

// One line to the host.
void say(std::string line);

// A reset is the end of the VM: QEMU runs with -no-reboot.
[[noreturn]] void power_off();

// Says "failed <blame> <sentence>" and powers off. blame: "user" when the image is at fault, "boot"
// when Atlasflow or the machine is.
[[noreturn]] void fail(const char* blame, const std::string& sentence);
// The same for "boot", with what errno says.
[[noreturn]] void fail_boot(const std::string& what);

void write_all(int fd, std::string_view bytes);
[[nodiscard]] std::string read_file(const char* path,
                                    std::size_t limit);  // empty when it is not there
void write_file(const char* path, std::string_view text);
[[nodiscard]] long now_ms();  // since boot

void load_modules();

// These wait for the device to come up, and fail the boot when it does not.
[[nodiscard]] int open_port(const char* name, int flags);
[[nodiscard]] std::string disk(const std::string& serial);  // its path in /dev

}  // namespace atlasflow::vmm::guest
