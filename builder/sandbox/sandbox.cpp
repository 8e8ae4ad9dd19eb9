#include "builder/sandbox/sandbox.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <linux/mount.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr unsigned k_build_uid_count = 65'536;
constexpr milliseconds k_network_deadline{5'000};
constexpr const char* k_slirp_nameserver = "nameserver 10.0.2.3\n";
constexpr const char* k_hosts = "127.0.0.1 localhost\n::1 localhost\n";
// FROM debian means Debian's on docker.io, whatever the machine's own configuration says; with the
// host network that file is used for pulling as well.
constexpr const char* k_registries =
    "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n";
// Nothing here asks for signatures; who may be pulled from is decided in dockerfile.cpp.
constexpr const char* k_policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";

#ifndef MOUNT_ATTR_IDMAP
constexpr std::uint64_t MOUNT_ATTR_IDMAP = 0x00100000;
#endif

// Everything that the child's preparation needs, in memory that the parent made.
struct Preparation {
  std::string storage;
  std::string cache;
  std::string scratch;
  std::string context;
  std::string hooks;
  SandboxNetwork network = SandboxNetwork::none;
  int user_namespace = -1;
  unsigned root_id = 0;
};

int bind(const std::string& from, const char* to, bool read_only) {
  if (::mkdir(to, 0755) != 0 && errno != EEXIST) return errno;
  if (::mount(from.c_str(), to, nullptr, MS_BIND, nullptr) != 0) return errno;
  const unsigned long flags = MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_RDONLY;
  if (read_only && ::mount(nullptr, to, nullptr, flags, nullptr) != 0) return errno;
  return 0;
}

// The checkout belongs to the host's root; seen through an id-mapped mount (Linux 5.12) it belongs
// to the sandbox's. Where the file system cannot do that, a plain bind: the checkout's files can be
// read by all.
int bind_mapped(const std::string& from, const char* to, int user_namespace) {
  if (user_namespace >= 0) {
    if (::mkdir(to, 0755) != 0 && errno != EEXIST) return errno;
    const int tree = static_cast<int>(
        ::syscall(SYS_open_tree, AT_FDCWD, from.c_str(), OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
    if (tree >= 0) {
      mount_attr attributes{};
      attributes.attr_set =
          MOUNT_ATTR_IDMAP | MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
      attributes.userns_fd = static_cast<std::uint64_t>(user_namespace);
      const bool mapped =
          ::syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &attributes, sizeof attributes) ==
              0 &&
          ::syscall(SYS_move_mount, tree, "", AT_FDCWD, to, MOVE_MOUNT_F_EMPTY_PATH) == 0;
      ::close(tree);
      if (mapped) return 0;
    }
  }
  return bind(from, to, true);
}

int write_text(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  const auto size = static_cast<ssize_t>(::strlen(text));
  const int error = ::write(fd, text, static_cast<std::size_t>(size)) == size ? 0 : EIO;
  ::close(fd);
  return error;
}

int make_owned_folder(const char* path, unsigned owner) {
  if (::mkdir(path, 0755) != 0) return errno;
  return ::chown(path, owner, owner) != 0 ? errno : 0;
}

int mount_all(const Preparation& p, const char** step) {
  *step = "make the mounts private";
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  *step = "mount /mnt";
  if (::mount("tmpfs", "/mnt", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) return errno;
  *step = "make folders";
  for (const char* path : {"/mnt/run", "/mnt/home", "/mnt/hooks"}) {
    if (const int error = make_owned_folder(path, p.root_id); error != 0) return error;
  }
  if (!p.hooks.empty() && ::mkdir(p.hooks.c_str(), 0755) != 0) return errno;
  // Where buildah's image library keeps its memory of short names. It wants to write there, and
  // when it cannot, it silently finds no image by a short name at all.
  *step = "mount /var/cache";
  if (::mount("tmpfs", "/var/cache", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0) return errno;
  if (const int error = make_owned_folder("/var/cache/containers", p.root_id); error != 0)
    return error;
  // What it knows of blobs: without it, each push compresses each layer again only to find that it
  // is there.
  *step = "bind the cache";
  ::mkdir("/var/lib/containers", 0700);
  if (::mount("tmpfs", "/var/lib/containers", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") != 0)
    return errno;
  if (const int error = bind(p.cache, "/var/lib/containers/cache", false); error != 0) return error;
  *step = "bind the storage";
  if (const int error = bind(p.storage, "/mnt/storage", false); error != 0) return error;
  *step = "bind the scratch folder";
  if (const int error = bind(p.scratch, "/mnt/scratch", false); error != 0) return error;
  *step = "bind the checkout";
  if (!p.context.empty()) {
    const int error = bind_mapped(p.context, "/mnt/context", p.user_namespace);
    if (error != 0) return error;
  }
  *step = "write configuration";
  int error = write_text("/mnt/registries.conf", k_registries);
  if (error == 0) error = write_text("/mnt/policy.json", k_policy);
  if (error == 0) error = write_text("/mnt/resolv.conf", k_slirp_nameserver);
  if (error == 0) error = write_text("/mnt/hosts", k_hosts);
  if (error != 0) return error;
  if (p.network != SandboxNetwork::host) {
    // Left as they are where there is no such file to cover: then there is nothing to hide either.
    ::mount("/mnt/hosts", "/etc/hosts", nullptr, MS_BIND, nullptr);
    ::mount("/mnt/resolv.conf", "/etc/resolv.conf", nullptr, MS_BIND, nullptr);
  }
  // runc's state of this sandbox, which must go with it.
  *step = "mount /run/runc";
  ::mkdir("/run/runc", 0711);
  if (::mount("tmpfs", "/run/runc", "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711") != 0) return errno;
  *step = "mount /proc";
  if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
    return errno;
  return 0;
}

int raise_loopback() {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno;
  ifreq request{};
  ::memcpy(request.ifr_name, "lo", 3);
  int error = ::ioctl(fd, SIOCGIFFLAGS, &request) != 0 ? errno : 0;
  request.ifr_flags = static_cast<short>(request.ifr_flags | IFF_UP);
  if (error == 0 && ::ioctl(fd, SIOCSIFFLAGS, &request) != 0) error = errno;
  ::close(fd);
  return error;
}

// In the child, in new PID and mount namespaces, still the host's root.
int prepare_child(void* context, const char** step) {
  const Preparation& p = *static_cast<const Preparation*>(context);
  ::umask(0022);
  if (const int error = mount_all(p, step); error != 0) return error;
  int unshared = CLONE_NEWIPC | CLONE_NEWUTS;
  if (p.network != SandboxNetwork::host) unshared |= CLONE_NEWNET;
  if (p.user_namespace >= 0) {
    *step = "enter the user namespace";
    if (::setns(p.user_namespace, CLONE_NEWUSER) != 0) return errno;
    unshared |=
        CLONE_NEWNS;  // The mounts below now belong to the host's root and cannot be undone.
  }
  *step = "unshare";
  if (::unshare(unshared) != 0) return errno;
  *step = "change the user";
  // By the kernel's own calls: glibc's want to tell the threads of the server, which are not here,
  // and would wait for their answer.
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 || ::syscall(SYS_setresgid, 0, 0, 0) != 0 ||
      ::syscall(SYS_setresuid, 0, 0, 0) != 0) {
    return errno;
  }
  *step = "set the host name";
  constexpr const char* k_host_name = "build";
  if (::sethostname(k_host_name, ::strlen(k_host_name)) != 0) return errno;
  *step = "raise the loopback";
  if (p.network != SandboxNetwork::host) {
    if (const int error = raise_loopback(); error != 0) return error;
  }
  *step = "enter /mnt";
  return ::chdir("/mnt") != 0 ? errno : 0;
}

// ---- the user namespace
// --------------------------------------------------------------------------

int wait_for_map(void* /*context*/, const char** /*step*/) { return 0; }

// A namespace lives as long as a descriptor of it; the process that made it is only needed for a
// moment.
Result<FileDescriptor> make_user_namespace() {
  const std::string true_program = find_program("true");
  FileDescriptor fd;
  SpawnRequest request;
  request.argv = {true_program};
  request.clone_flags = CLONE_NEWUSER;
  request.prepare = wait_for_map;
  request.before_exec = [&fd](pid_t pid) -> Result<void> {
    const std::string folder = "/proc/" + std::to_string(pid);
    const std::string map =
        "0 " + std::to_string(k_build_uid_base) + " " + std::to_string(k_build_uid_count) + "\n";
    for (const char* name : {"/uid_map", "/gid_map"}) {
      const FileDescriptor file(::open((folder + name).c_str(), O_WRONLY | O_CLOEXEC));
      if (!file || !write_all(file.get(), map, folder + name)) {
        return fail(ErrorCode::unavailable, "user ids cannot be mapped for builds");
      }
    }
    fd = FileDescriptor(::open((folder + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid()) return fail(ErrorCode::unavailable, "no user namespace", std::strerror(errno));
    return {};
  };
  auto process = spawn(request);
  if (!process) return tl::unexpected(process.error());
  process->wait(k_network_deadline);
  return fd;
}

// ---- the network
// ---------------------------------------------------------------------------------

// slirp4netns turns the sandbox's connections into sockets of the host, so what the host reaches, a
// build reaches: its own addresses and the link-local ones (a cloud's metadata service) are cut off
// by routes that only the owner of the network namespace could change, and a RUN step has no such
// capability.
std::string unreachable_routes() {
  std::string batch = "route add unreachable 169.254.0.0/16\n";
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return batch;
  for (const ifaddrs* i = list; i != nullptr; i = i->ifa_next) {
    if (i->ifa_addr == nullptr || i->ifa_addr->sa_family != AF_INET) continue;
    if ((i->ifa_flags & IFF_LOOPBACK) != 0) continue;
    std::array<char, INET_ADDRSTRLEN> text{};
    const auto* address = reinterpret_cast<const sockaddr_in*>(i->ifa_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text.data(), text.size()) != nullptr &&
        !std::string_view(text.data()).starts_with("169.254.")) {
      batch += "route replace unreachable " + std::string(text.data()) + "/32\n";
    }
  }
  ::freeifaddrs(list);
  return batch;
}

const std::vector<std::string>& tool_environment() {
  static const std::vector<std::string> environment = {
      "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"};
  return environment;
}

Result<void> cut_routes(pid_t pid, const fs::path& scratch) {
  const fs::path batch = scratch / "routes";
  // Not synced: it is read at once and then removed.
  ATLAS_TRYV(replace_file(batch, unreachable_routes(), 0600, Sync::skipped));
  SpawnRequest request;
  request.argv = {find_program("nsenter"),
                  "--net=/proc/" + std::to_string(pid) + "/ns/net",
                  "--",
                  find_program("ip"),
                  "-batch",
                  batch.string()};
  request.environment = tool_environment();
  std::string said;
  auto ran = builder::run(std::move(request), k_network_deadline, {},
                          [&said](std::string_view text) { said += text; });
  std::error_code ignored;
  fs::remove(batch, ignored);
  if (!ran) return tl::unexpected(ran.error());
  if (ran->exit_code != 0 || ran->end != RunOutcome::End::exited) {
    return fail(ErrorCode::unavailable, "the build's network could not be closed off", said);
  }
  return {};
}

Result<Process> attach_slirp(pid_t pid) {
  std::array<int, 2> fds{};
  if (::pipe2(fds.data(), O_CLOEXEC) != 0) {
    return fail(ErrorCode::unavailable, "no pipe could be made", std::strerror(errno));
  }
  const FileDescriptor ready_read(fds[0]);
  FileDescriptor ready_write(fds[1]);
  SpawnRequest request;
  request.argv = {find_program("slirp4netns"),
                  "--configure",
                  "--mtu=65520",
                  "--disable-host-loopback",
                  "--enable-sandbox",
                  "--enable-seccomp",
                  "--ready-fd=3",
                  std::to_string(pid),
                  "tap0"};
  request.environment = tool_environment();
  request.inherit = {ready_write.get()};
  if (request.argv.front().empty()) {
    return fail(ErrorCode::unavailable, "slirp4netns is not installed");
  }
  auto process = spawn(request);
  if (!process) return process;
  ready_write.reset();
  pollfd poll_fd{ready_read.get(), POLLIN, 0};
  char byte = 0;
  if (::poll(&poll_fd, 1, static_cast<int>(k_network_deadline.count())) != 1 ||
      ::read(ready_read.get(), &byte, 1) != 1) {
    return fail(ErrorCode::unavailable, "slirp4netns could not join the build's network namespace");
  }
  return process;
}

// ---- the sandbox
// ---------------------------------------------------------------------------------

class LinuxSandbox final : public Sandbox {
 public:
  explicit LinuxSandbox(std::optional<FileDescriptor> user_namespace)
      : user_namespace_(std::move(user_namespace)) {}

  Result<RunOutcome> run(std::vector<std::string> argv, const std::vector<std::string>& environment,
                         const SandboxMounts& mounts, SandboxNetwork network,
                         const std::vector<FileDescriptor>& cgroup_procs, milliseconds deadline,
                         const std::stop_token& stop,
                         const std::function<void(std::string_view)>& on_output) const override {
    Preparation preparation;
    preparation.storage = mounts.storage.string();
    preparation.cache = mounts.cache.string();
    preparation.scratch = mounts.scratch.string();
    preparation.context = mounts.context.string();
    if (!mounts.hooks_name.empty()) preparation.hooks = "/mnt/hooks/" + mounts.hooks_name;
    preparation.network = network;
    preparation.user_namespace = user_namespace_ ? user_namespace_->get() : -1;
    preparation.root_id = root_id();

    SpawnRequest request;
    request.argv = std::move(argv);
    // USER is not root, so that runc takes itself for what it is on the first rung: without the
    // right to manage cgroups.
    request.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                           "HOME=/mnt/home",
                           "XDG_RUNTIME_DIR=/mnt/run",
                           "TMPDIR=/mnt/scratch",
                           "LANG=C.UTF-8",
                           "CONTAINERS_REGISTRIES_CONF=/mnt/registries.conf"};
    request.environment.insert(request.environment.end(), environment.begin(), environment.end());
    request.clone_flags = CLONE_NEWPID | CLONE_NEWNS;
    request.prepare = prepare_child;
    request.prepare_context = &preparation;
    for (const FileDescriptor& fd : cgroup_procs) request.cgroup_procs.push_back(fd.get());
    std::optional<Process> slirp;  // Ends after the sandbox, by its destructor.
    if (network == SandboxNetwork::internet) {
      request.before_exec = [&slirp, &mounts](pid_t pid) -> Result<void> {
        auto attached = attach_slirp(pid);
        if (!attached) return tl::unexpected(attached.error());
        slirp = std::move(*attached);
        return cut_routes(pid, mounts.scratch);
      };
    }
    return builder::run(std::move(request), deadline, stop, on_output);
  }

  Result<void> own(const fs::path& folder) const override {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error || ::chown(folder.c_str(), root_id(), root_id()) != 0) {
      return fail(ErrorCode::internal, "cannot prepare the folder " + folder.string(),
                  error ? error.message() : std::strerror(errno));
    }
    return {};
  }

 private:
  unsigned root_id() const { return user_namespace_ ? k_build_uid_base : 0; }

  std::optional<FileDescriptor> user_namespace_;
};

}  // namespace

Result<std::unique_ptr<Sandbox>> Sandbox::make(bool user_namespace) {
  if (::geteuid() != 0) {
    return fail(ErrorCode::unavailable,
                "builds need a server that runs as root: only root can make "
                "the namespaces and user ids that they run in");
  }
  std::optional<FileDescriptor> fd;
  if (user_namespace) {
    auto made = make_user_namespace();
    if (!made) return tl::unexpected(made.error());
    fd = std::move(*made);
  }
  return std::make_unique<LinuxSandbox>(std::move(fd));
}

}  // namespace atlasflow::builder
