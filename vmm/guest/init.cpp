// PID 1 of every microVM: mounts the image's layers under a writable overlay, sets up the network,
// runs the image's command as its user, carries its output to the host and its end too. Static, one
// thread, no exceptions. Its contract with the host: config_format.hpp and README.md of this
// folder.
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
#include <unistd.h>

#include "vmm/guest/app.hpp"
#include "vmm/guest/config_format.hpp"
#include "vmm/guest/guest_config.hpp"
#include "vmm/guest/host_link.hpp"

namespace atlasflow::vmm::guest {

Config read_config() {
  const std::string path = disk(k_serial_config);
  std::string drive = read_file(path.c_str(), k_config_bytes);
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
    else if (record.key == "env")
      config.env.push_back(value);
    else if (record.key == "arg")
      config.args.push_back(value);
    else
      fail("boot", "the config drive has an unknown key");
  }
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
  for (const char* dir : {"/new/proc", "/new/sys", "/new/dev", "/new/etc", "/new/run"}) {
    mkdir(dir, 0755);
  }
  if (mkdir("/new/tmp", 01777) == 0) chmod("/new/tmp", 01777);
  if (mount("/dev", "/new/dev", nullptr, MS_MOVE, nullptr) != 0 ||
      mount("/proc", "/new/proc", nullptr, MS_MOVE, nullptr) != 0 ||
      mount("/sys", "/new/sys", nullptr, MS_MOVE, nullptr) != 0) {
    fail_boot("cannot move /dev, /proc and /sys into the image (are they directories there?)");
  }
  if (chdir("/new") != 0 || mount(".", "/", nullptr, MS_MOVE, nullptr) != 0 || chroot(".") != 0 ||
      chdir("/") != 0) {
    fail_boot("cannot enter the image's root");
  }
  mkdir("/dev/pts", 0755);
  mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
  mkdir("/dev/shm", 01777);
  mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777");
  const auto link = [](const char* target, const char* path) {
    if (symlink(target, path) != 0 && errno != EEXIST)
      fail_boot(std::string("cannot make ") + path);
  };
  link("/proc/self/fd", "/dev/fd");
  link("/proc/self/fd/0", "/dev/stdin");
  link("/proc/self/fd/1", "/dev/stdout");
  link("/proc/self/fd/2", "/dev/stderr");
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

void write_names(const Config& config) {
  (void)!sethostname(config.hostname.c_str(), config.hostname.size());
  write_file("/etc/hostname", config.hostname + "\n");
  write_file("/etc/hosts", "127.0.0.1 localhost\n" + config.address + " " + config.hostname + "\n");
  std::string resolv;
  for (const std::string& server : config.nameservers) resolv += "nameserver " + server + "\n";
  write_file("/etc/resolv.conf", resolv);
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
  write_names(config);

  sigset_t all;
  sigfillset(&all);
  sigprocmask(SIG_BLOCK, &all, nullptr);
  const int signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
  fcntl(control, F_SETOWN, getpid());
  fcntl(control, F_SETFL, fcntl(control, F_GETFL) | O_ASYNC);

  int output = -1;
  const pid_t app = launch(config, output);
  say("started " + std::to_string(app));
  for (std::string& entry : config.env) explicit_bzero(entry.data(), entry.size());
  supervise(app, output, log, control, signals);
}
