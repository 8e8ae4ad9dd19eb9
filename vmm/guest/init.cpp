// PID 1 of every microVM: mounts the image's layers under a writable overlay, sets up the network,
// runs the image's command as its user, carries its output to the host and its end too. Static, one
// thread, no exceptions. Its contract with the host: config_format.hpp and README.md of this
// folder.
#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <net/if.h>
#include <net/route.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "vmm/guest/app.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/guest/guest_config.hpp"
#include "vmm/guest/host_link.hpp"
#include "vmm/guest/root_files.hpp"
#include "vmm/guest/supervisor.hpp"

namespace atlasflow::vmm::guest {

Config read_config() {
  const std::string path = disk(k_serial_config);
  std::string head = read_file(path.c_str(), k_config_header_bytes);
  std::string drive = read_file(path.c_str(), std::min(config_bytes_used(head), k_config_bytes));
  const auto records = decode_config(drive);
  if (!records) fail("boot", "the config drive is not readable");
  Config config;
  for (const ConfigRecord& record : *records) {
    const std::string value(record.value);
    if (record.key == "hostname")
      config.hostname = value;
    else if (record.key == "address")
      config.address = value;
    else if (record.key == "netmask")
      config.netmask = value;
    else if (record.key == "gateway")
      config.gateway = value;
    else if (record.key == "nameserver")
      config.nameservers.push_back(value);
    else if (record.key == "layers")
      config.layers = atoi(value.c_str());
    else if (record.key == "user")
      config.user = value;
    else if (record.key == "workdir")
      config.workdir = value;
    else if (record.key == "stop_signal")
      config.stop_signal = atoi(value.c_str());
    else if (record.key == "env")
      config.env.push_back(value);
    else if (record.key == "arg")
      config.args.push_back(value);
    else
      fail("boot", "the config drive has an unknown key");
  }
  explicit_bzero(head.data(), head.size());
  explicit_bzero(drive.data(), drive.size());
  // The kernel keeps no copy of the secrets either: the drive is read once.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ioctl(fd, BLKFLSBUF, 0);
    close(fd);
  }
  if (config.layers <= 0 || config.args.empty()) fail("boot", "the config drive is incomplete");
  return config;
}

namespace {

// ---- root file system ----

void mount_root(const Config& config) {
  std::string lower;
  for (int i = 0; i < config.layers; ++i) {
    const std::string device = disk(k_serial_layer + std::to_string(i));
    const std::string target = "/l" + std::to_string(i);
    mkdir(target.c_str(), 0755);
    if (mount(device.c_str(), target.c_str(), "erofs", MS_RDONLY | MS_NODEV, "") != 0) {
      fail_boot("cannot mount layer " + std::to_string(i) + " of the image");
    }
    lower = lower.empty() ? target : target + ":" + lower;  // overlayfs wants the top one first
  }
  mkdir("/rw", 0755);
  const std::string scratch = disk(k_serial_scratch);
  if (mount(scratch.c_str(), "/rw", "ext4", MS_NODEV | MS_NOATIME, "nobarrier") != 0) {
    fail_boot("cannot mount the scratch disk");
  }
  mkdir("/rw/upper", 0755);
  mkdir("/rw/work", 0755);
  mkdir("/new", 0755);
  const std::string options = "lowerdir=" + lower + ",upperdir=/rw/upper,workdir=/rw/work";
  if (mount("overlay", "/new", "overlay", MS_NODEV, options.c_str()) != 0) {
    fail_boot("cannot stack the layers of the image");
  }
}

void enter_root() {
  for (const char* dir : {"/new/proc", "/new/sys", "/new/dev"}) mkdir(dir, 0755);
  if (mount("/dev", "/new/dev", nullptr, MS_MOVE, nullptr) != 0 ||
      mount("/proc", "/new/proc", nullptr, MS_MOVE, nullptr) != 0 ||
      mount("/sys", "/new/sys", nullptr, MS_MOVE, nullptr) != 0) {
    fail_boot("cannot move /dev, /proc and /sys into the image (are they directories there?)");
  }
  if (chdir("/new") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 ||
      chdir("/") != 0) {
    fail_boot("cannot enter the image's root");
  }
}

// ---- what a program expects of the machine, as container runtimes give it ----

// tmpfs gives half of the memory, which is little in a small VM; browsers and databases count on
// what Docker gives, 64 MiB.
std::string shared_memory_options() {
  constexpr unsigned long long k_least_bytes = 64ULL << 20;
  struct sysinfo memory {};
  unsigned long long bytes = k_least_bytes;
  if (sysinfo(&memory) == 0) {
    bytes = std::max(bytes, memory.totalram * 1ULL * memory.mem_unit / 2);
  }
  return "mode=1777,size=" + std::to_string(bytes);
}

void fill_dev() {
  mkdir("/dev/pts", 0755);
  mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666,gid=5");
  mkdir("/dev/shm", 01777);
  mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, shared_memory_options().c_str());
  mkdir("/dev/mqueue", 01777);
  mount("mqueue", "/dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  const auto link = [](const char* target, const char* path) {
    if (symlink(target, path) != 0 && errno != EEXIST)
      fail_boot(std::string("cannot make ") + path);
  };
  link("/proc/self/fd", "/dev/fd");
  link("/proc/self/fd/0", "/dev/stdin");
  link("/proc/self/fd/1", "/dev/stdout");
  link("/proc/self/fd/2", "/dev/stderr");
}

void fill_root() {
  for (const char* dir : {"/etc", "/run"}) {
    if (!make_folder_at(dir, 0755)) fail_boot(std::string("cannot make ") + dir);
  }
  if (!make_folder_at("/tmp", 01777)) fail_boot("cannot make /tmp");
  chmod("/tmp", 01777);  // whatever COPY made of it
}

void allow_all_ports() {
  // Nothing else runs in the guest that a low port could be taken from.
  write_file("/proc/sys/net/ipv4/ip_unprivileged_port_start", "0");
  write_file("/proc/sys/net/ipv4/ping_group_range", "0 2147483647");
}

// ---- network ----

void raise_interface(int fd, const char* name) {
  ifreq request{};
  strncpy(request.ifr_name, name, IFNAMSIZ - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (ioctl(fd, SIOCSIFFLAGS, &request) != 0) fail_boot(std::string("cannot raise ") + name);
}

sockaddr socket_address(const std::string& text) {
  sockaddr_in in{};
  in.sin_family = AF_INET;
  if (!text.empty() && inet_pton(AF_INET, text.c_str(), &in.sin_addr) != 1) {
    fail("boot", "the config drive holds a bad address");
  }
  sockaddr out{};
  memcpy(&out, &in, sizeof in);
  return out;
}

void set_up_network(const Config& config) {
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) fail_boot("no IPv4 in the guest kernel");
  raise_interface(fd, "lo");
  ifreq request{};
  strncpy(request.ifr_name, "eth0", IFNAMSIZ - 1);
  request.ifr_addr = socket_address(config.address);
  if (ioctl(fd, SIOCSIFADDR, &request) != 0) fail_boot("cannot set the address of eth0");
  request.ifr_netmask = socket_address(config.netmask);
  if (ioctl(fd, SIOCSIFNETMASK, &request) != 0) fail_boot("cannot set the netmask of eth0");
  raise_interface(fd, "eth0");
  if (!config.gateway.empty()) {
    rtentry route{};
    route.rt_dst = socket_address("");
    route.rt_genmask = socket_address("");
    route.rt_gateway = socket_address(config.gateway);
    route.rt_flags = RTF_UP | RTF_GATEWAY;
    if (ioctl(fd, SIOCADDRT, &route) != 0) fail_boot("cannot set the default route");
  }
  close(fd);
}

// They are the machine's and not the image's: a link of systemd-resolved's leads nowhere here.
void write_names(const Config& config) {
  (void)!sethostname(config.hostname.c_str(), config.hostname.size());
  std::string resolv;
  for (const std::string& server : config.nameservers) resolv += "nameserver " + server + "\n";
  const std::string hosts =
      "127.0.0.1 localhost\n"
      "::1 localhost ip6-localhost ip6-loopback\n" +
      config.address + " " + config.hostname + "\n";
  if (!replace_file("/etc/hostname", config.hostname + "\n") ||
      !replace_file("/etc/hosts", hosts) || !replace_file("/etc/resolv.conf", resolv)) {
    fail("user",
         "the image's /etc has a folder with files in place of hostname, hosts or resolv.conf; "
         "remove it in the Dockerfile");
  }
}

}  // namespace
}  // namespace atlasflow::vmm::guest

using namespace atlasflow::vmm::guest;

int main() {
  mkdir("/dev", 0755);
  mkdir("/proc", 0555);
  mkdir("/sys", 0555);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  open_kernel_log();
  load_modules();
  open_events();
  say("hello 1");
  if (read_file("/proc/cmdline", 4096).find(k_probe_word) != std::string::npos) power_off();

  Config config = read_config();
  const int control = open_port(k_port_control, O_RDWR | O_NONBLOCK);
  const int log = open_port(k_port_log, O_WRONLY);
  mount_root(config);
  set_up_network(config);
  enter_root();
  fill_dev();
  fill_root();
  allow_all_ports();
  write_names(config);

  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  const int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  fcntl(control, F_SETOWN, getpid());
  fcntl(control, F_SETFL, fcntl(control, F_GETFL) | O_ASYNC);

  Supervised supervised;
  supervised.app = launch(config, supervised.output);
  say("started " + std::to_string(supervised.app));
  supervised.log = log;
  supervised.control = control;
  supervised.signals = signals;
  supervised.stop_signal = config.stop_signal;
  supervised.args = config.args;
  supervised.workdir = config.workdir;
  if (const char* const path = value_of(config.env, "PATH")) supervised.path = path;
  for (std::string& entry : config.env) explicit_bzero(entry.data(), entry.size());
  supervise(supervised);
}
