#include "vmm/guest/host_link.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>

#include <dirent.h>
#include <fcntl.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/guest/config_format.hpp"

namespace atlasflow::vmm::guest {
namespace {

int events_fd = -1;
int kernel_log_fd = -1;

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

void sleep_ms(long ms) {
  const timespec pause_time{ms / 1000, (ms % 1000) * 1'000'000};
  nanosleep(&pause_time, nullptr);
}

// The device in /dev whose attribute in sysfs has this value; empty when there is none. Devices may
// come up in any order, so they are found by name and never by number.
std::string find_device(const char* class_dir, const char* attribute, std::string_view value) {
  std::string found;
  DIR* const dir = opendir(class_dir);
  if (dir == nullptr) return found;
  while (const dirent* const entry = readdir(dir)) {
    if (entry->d_name[0] == '.') continue;
    const std::string path = std::string(class_dir) + "/" + entry->d_name + "/" + attribute;
    if (trimmed(read_file(path.c_str(), 256)) == value) {
      found = std::string("/dev/") + entry->d_name;
      break;
    }
  }
  closedir(dir);
  return found;
}

std::string wait_for_device(const char* class_dir, const char* attribute,
                            const std::string& value) {
  // Ports are announced over a queue after the driver is loaded; 20 s is far beyond the slowest
  // boot.
  for (int tries = 0; tries < 10'000; ++tries) {
    std::string found = find_device(class_dir, attribute, value);
    if (!found.empty() && access(found.c_str(), F_OK) == 0) return found;
    sleep_ms(2);
  }
  fail("boot", "the device '" + value + "' did not appear");
}

}  // namespace

void open_kernel_log() { kernel_log_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC); }

void open_events() { events_fd = open_port(k_port_events, O_WRONLY); }

void write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // The host does not take it; there is nobody else to tell.
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
}

// One line to the host. Line breaks in text would forge other lines.
void say(std::string line) {
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  line.push_back('\n');
  if (events_fd >= 0) {
    write_all(events_fd, line);
  } else if (kernel_log_fd >= 0) {
    write_all(kernel_log_fd, "<3>atlasflow-init: " + line);
  }
}

[[noreturn]] void power_off() {
  reboot(RB_AUTOBOOT);  // QEMU runs with -no-reboot: a reset is the fastest way to its end.
  for (;;) pause();
}

// blame: "user" when the image is at fault, "boot" when Atlasflow or the machine is.
[[noreturn]] void fail(const char* blame, const std::string& sentence) {
  say(std::string("failed ") + blame + " " + sentence);
  power_off();
}

[[noreturn]] void fail_boot(const std::string& what) {
  fail("boot", what + ": " + strerror(errno));
}

std::string read_file(const char* path, std::size_t limit) {
  std::string text;
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return text;
  std::array<char, 4096> buffer;
  while (text.size() < limit) {
    const ssize_t n = read(fd, buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(n));
  }
  close(fd);
  return text;
}

void write_file(const char* path, std::string_view text) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  write_all(fd, text);
  close(fd);
}

long now_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

void load_modules() {
  // One name per line, in the order of their dependencies; the host wrote it into the initramfs.
  const std::string order = read_file("/modules/order", 64 * 1024);
  std::string_view rest = order;
  while (!rest.empty()) {
    const std::size_t end = rest.find('\n');
    const std::string path = "/modules/" + std::string(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) fail_boot("cannot open " + path);
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST) {
      fail_boot("cannot load " + path);
    }
    close(fd);
  }
}

int open_port(const char* name, int flags) {
  const std::string path = wait_for_device("/sys/class/virtio-ports", "name", name);
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) fail_boot(std::string("cannot open the port ") + name);
  return fd;
}

std::string disk(const std::string& serial) {
  return wait_for_device("/sys/block", "serial", serial);
}

}  // namespace atlasflow::vmm::guest
