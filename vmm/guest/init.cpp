// PID 1 of every microVM: mounts the image's layers under a writable overlay, sets up the network,
// runs the image's command as its user, carries its output to the host and its end too. Static, one
// thread, no exceptions. Its contract with the host: config_format.hpp and README.md of this
// folder.
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <string>
#include <string_view>
#include <vector>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fs.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "vmm/guest/config_format.hpp"
#include "vmm/guest/user.hpp"

namespace {

using namespace atlasflow::vmm::guest;

int events_fd = -1;  // the line protocol to the host; -1 until its port is open
int kernel_log_fd = -1;

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

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.pop_back();
  return text;
}

void sleep_ms(long ms) {
  const timespec pause_time{ms / 1000, (ms % 1000) * 1'000'000};
  nanosleep(&pause_time, nullptr);
}

long now_ms() {
  timespec now{};
  clock_gettime(CLOCK_BOOTTIME, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

// ---- devices ----------------------------------------------------------------------------------

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

int open_port(const char* name, int flags) {
  const std::string path = wait_for_device("/sys/class/virtio-ports", "name", name);
  const int fd = open(path.c_str(), flags | O_CLOEXEC);
  if (fd < 0) fail_boot(std::string("cannot open the port ") + name);
  return fd;
}

std::string disk(const std::string& serial) {
  return wait_for_device("/sys/block", "serial", serial);
}

// ---- what to run ------------------------------------------------------------------------------

struct Config {
  std::string hostname = "app";
  std::string address, netmask, gateway;
  std::vector<std::string> nameservers;
  int layers = 0;
  std::string user;
  std::string workdir = "/";
  std::vector<std::string> env;
  std::vector<std::string> args;
};

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

// ---- root file system -------------------------------------------------------------------------

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

// ---- network ----------------------------------------------------------------------------------

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

// ---- the app ----------------------------------------------------------------------------------

void make_workdir(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos && at <= path.size();) {
    const std::size_t slash = path.find('/', at);
    const std::string part = path.substr(0, slash);
    if (mkdir(part.c_str(), 0755) != 0 && errno != EEXIST) {
      fail("user", "the image's WORKDIR '" + path + "' cannot be made: " + strerror(errno));
    }
    at = slash == std::string::npos ? slash : slash + 1;
  }
}

bool names(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& entry : env) {
    if (entry.size() > name.size() && entry.compare(0, name.size(), name) == 0 &&
        entry[name.size()] == '=') {
      return true;
    }
  }
  return false;
}

// What the child could not do before it became the app, sent over a pipe that exec closes.
struct LaunchFailure {
  int step = 0;
  int error = 0;
};

[[noreturn]] void become_app(const Config& config, const Identity& identity, int output,
                             int failure_fd) {
  const auto give_up = [failure_fd](int step) {
    const LaunchFailure failure{step, errno};
    (void)!write(failure_fd, &failure, sizeof failure);
    _exit(127);
  };
  setsid();
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (dup2(null_fd, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) give_up(0);
  if (chdir(config.workdir.c_str()) != 0) give_up(1);
  if (setgroups(identity.groups.size(), identity.groups.data()) != 0 ||
      setresgid(identity.gid, identity.gid, identity.gid) != 0 ||
      setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    give_up(2);
  }
  std::vector<char*> args;
  for (const std::string& arg : config.args) args.push_back(const_cast<char*>(arg.c_str()));
  args.push_back(nullptr);
  std::vector<char*> env;
  for (const std::string& entry : config.env) env.push_back(const_cast<char*>(entry.c_str()));
  env.push_back(nullptr);
  environ = env.data();  // PATH of the app's environment finds the command.
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(args[0], args.data(), env.data());
  give_up(3);
  _exit(127);
}

std::string launch_error(const Config& config, const LaunchFailure& failure) {
  const std::string why = strerror(failure.error);
  switch (failure.step) {
    case 1:
      return "the image's WORKDIR '" + config.workdir + "' cannot be entered: " + why;
    case 2:
      return "cannot become the image's USER '" + config.user + "': " + why;
    case 3:
      if (failure.error == ENOENT) {
        return "the image's command '" + config.args[0] +
               "' was not found; check ENTRYPOINT and CMD";
      }
      return "the image's command '" + config.args[0] + "' cannot be run: " + why;
    default:
      return "cannot prepare the app: " + why;
  }
}

// Starts the app, its output going to the returned pipe's end. Does not return when it cannot.
pid_t launch(Config& config, int& output) {
  const UserLookup lookup = resolve_user(config.user, read_file("/etc/passwd", 1 << 20),
                                         read_file("/etc/group", 1 << 20));
  if (!lookup.error.empty()) fail("user", lookup.error);
  make_workdir(config.workdir);
  if (!names(config.env, "HOME")) config.env.push_back("HOME=" + lookup.identity.home);

  std::array<int, 2> pipe_fds{};
  std::array<int, 2> failure_fds{};
  if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0 || pipe2(failure_fds.data(), O_CLOEXEC) != 0) {
    fail_boot("cannot make a pipe");
  }
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);  // the read end only: an end's flags are its own
  // An app that opens /dev/stdout by name opens the pipe anew, and that asks for permission.
  (void)!fchown(pipe_fds[1], lookup.identity.uid, lookup.identity.gid);
  const rlimit files{65'536, 65'536};
  setrlimit(RLIMIT_NOFILE, &files);

  const pid_t app = fork();
  if (app < 0) fail_boot("cannot fork");
  if (app == 0) become_app(config, lookup.identity, pipe_fds[1], failure_fds[1]);
  close(pipe_fds[1]);
  close(failure_fds[1]);
  LaunchFailure failure;
  if (read(failure_fds[0], &failure, sizeof failure) == sizeof failure) {
    fail("user", launch_error(config, failure));
  }
  close(failure_fds[0]);
  output = pipe_fds[0];
  return app;
}

// ---- life with the app ------------------------------------------------------------------------

bool kernel_ran_out_of_memory() {
  const int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  std::array<char, 8192> record;
  bool seen = false;
  for (int records = 0; records < 100'000 && !seen; ++records) {
    const ssize_t n = read(fd, record.data(), record.size());
    if (n < 0 && errno == EPIPE) continue;  // overwritten meanwhile: the next read goes on
    if (n <= 0) break;
    seen = std::string_view(record.data(), static_cast<std::size_t>(n)).find("Killed process") !=
           std::string_view::npos;
  }
  close(fd);
  return seen;
}

class Supervisor {
 public:
  Supervisor(pid_t app, int output, int log, int control)
      : app_(app), output_(output), log_(log), control_(control) {}

  [[noreturn]] void run(int signals) {
    for (;;) {
      reap();
      std::array<pollfd, 2> waits{{{signals, POLLIN, 0}, {output_, POLLIN, 0}}};
      // The control port raises SIGIO; to poll it would spin while the host is not connected. The
      // one-second look is a net below a lost signal.
      poll(waits.data(), output_ >= 0 ? 2 : 1, stop_sent_ ? 50 : 1000);
      std::array<signalfd_siginfo, 16> infos;
      while (read(signals, infos.data(), sizeof infos) > 0) {
      }
      pump();
      read_control();
      if (stop_sent_ && now_ms() >= kill_at_ms_) kill(-1, SIGKILL);
    }
  }

 private:
  // Carries what is there now; at most 1 MiB, so that a chatty app cannot starve reaping and stop.
  void pump() {
    std::array<char, 16'384> buffer;
    for (int rounds = 0; rounds < 64 && output_ >= 0; ++rounds) {
      const ssize_t n = read(output_, buffer.data(), buffer.size());
      if (n < 0) return;  // EAGAIN: nothing more now
      if (n == 0) {
        close(output_);
        output_ = -1;
        return;
      }
      write_all(log_, std::string_view(buffer.data(), static_cast<std::size_t>(n)));
    }
  }

  void reap() {
    int status = 0;
    while (true) {
      const pid_t pid = waitpid(-1, &status, WNOHANG);
      if (pid <= 0) return;
      if (pid == app_) finish(status);
    }
  }

  [[noreturn]] void finish(int status) {
    kill(-1, SIGKILL);  // what the app left behind ends with it
    pump();
    const int signal_number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    const int code = signal_number != 0 ? 128 + signal_number : WEXITSTATUS(status);
    // Only a SIGKILL that we did not send ourselves can be the kernel's.
    const bool out_of_memory = code == 137 && !killed_by_us() && kernel_ran_out_of_memory();
    say("exit " + std::to_string(code) + " " + std::to_string(signal_number) + " " +
        (out_of_memory ? "1" : "0"));
    power_off();
  }

  bool killed_by_us() const { return stop_sent_ && now_ms() >= kill_at_ms_; }

  // "stop <grace in ms>" lines. Said again, the shorter grace counts.
  void read_control() {
    std::array<char, 256> buffer;
    const ssize_t n = read(control_, buffer.data(), buffer.size());
    if (n <= 0) return;  // 0: the host is not connected
    pending_.append(buffer.data(), static_cast<std::size_t>(n));
    for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
      const std::string line = pending_.substr(0, end);
      pending_.erase(0, end + 1);
      long grace_ms = 0;
      if (sscanf(line.c_str(), "stop %ld", &grace_ms) != 1) continue;
      const long due = now_ms() + (grace_ms < 0 ? 0 : grace_ms);
      if (!stop_sent_) {
        // The whole process group: a shell that wraps the app would not hand the signal on.
        kill(-app_, SIGTERM);
        say("stopping");
        kill_at_ms_ = due;
      } else if (due < kill_at_ms_) {
        kill_at_ms_ = due;
      }
      stop_sent_ = true;
    }
    if (pending_.size() > 4096) pending_.clear();
  }

  pid_t app_;
  int output_;
  int log_;
  int control_;
  std::string pending_;
  bool stop_sent_ = false;
  long kill_at_ms_ = 0;
};

}  // namespace

int main() {
  mkdir("/dev", 0755);
  mkdir("/proc", 0555);
  mkdir("/sys", 0555);
  mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, "mode=0755");
  mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "");
  kernel_log_fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
  load_modules();
  events_fd = open_port(k_port_events, O_WRONLY);
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
  Supervisor(app, output, log, control).run(signals);
}
