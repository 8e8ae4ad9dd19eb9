#include "builder/sandbox/root.hpp"

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MOUNT_ATTR_IDMAP
constexpr std::uint64_t MOUNT_ATTR_IDMAP = 0x00100000;
#endif

namespace atlasflow::builder {
namespace {

constexpr const char* k_slirp_nameserver = "nameserver 10.0.2.3\n";
constexpr const char* k_hosts = "127.0.0.1 localhost\n::1 localhost\n";
// FROM debian means Debian's on docker.io, whatever the machine's own configuration says.
constexpr const char* k_registries =
    "unqualified-search-registries = [\"docker.io\"]\nshort-name-mode = \"disabled\"\n";
// Nothing here asks for signatures; who may be pulled from is decided before.
constexpr const char* k_policy = "{\"default\": [{\"type\": \"insecureAcceptAnything\"}]}\n";
// All else of the store comes as arguments; without a file of our own the distribution's counts.
constexpr const char* k_storage = "[storage]\ndriver = \"overlay\"\n";

constexpr unsigned long k_still = MS_NOSUID | MS_NODEV;
constexpr unsigned long k_inert = MS_NOSUID | MS_NODEV | MS_NOEXEC;

// All targets are relative to the new root, in which the caller stands.

int make_folder(const char* path, unsigned owner, mode_t mode = 0755) {
  if (::mkdir(path, mode) != 0 && errno != EEXIST) return errno;
  return ::chown(path, owner, owner) != 0 ? errno : 0;
}

int mount_tmpfs(const char* path, unsigned long flags = k_still) {
  return ::mount("tmpfs", path, "tmpfs", flags, "mode=0755") != 0 ? errno : 0;
}

int bind(const char* from, const char* to, bool read_only) {
  if (::mount(from, to, nullptr, MS_BIND, nullptr) != 0) return errno;
  unsigned long flags = MS_BIND | MS_REMOUNT | k_still;
  if (read_only) flags |= MS_RDONLY;
  return ::mount(nullptr, to, nullptr, flags, nullptr) != 0 ? errno : 0;
}

int bind_folder(const char* from, const char* to, bool read_only) {
  if (::mkdir(to, 0755) != 0 && errno != EEXIST) return errno;
  return bind(from, to, read_only);
}

// The checkout belongs to the host's root; seen through an id-mapped mount (Linux 5.12) it belongs
// to the sandbox's. Where the file system cannot do that, a plain bind: the checkout's files can be
// read by all.
int bind_mapped(const char* from, const char* to, int user_namespace) {
  if (user_namespace >= 0) {
    if (::mkdir(to, 0755) != 0 && errno != EEXIST) return errno;
    const int tree = static_cast<int>(
        ::syscall(SYS_open_tree, AT_FDCWD, from, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC));
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
  return bind_folder(from, to, true);
}

// buildah opens a single file that a step mounts for writing, also when it is mounted read-only
// (RUN --mount=type=bind,source=package.json). What is written goes to a layer of the scratch
// folder's and never to the checkout. Where the kernel has no overlay over such a mount (before
// 5.19) the context stays read-only, and such a step fails; but nothing is run that would see what
// the layer was to hide.
int layer_over_context(const RootPlan& plan, const char** step) {
  constexpr const char* k_upper = "mnt/scratch/context-upper";
  constexpr const char* k_work = "mnt/scratch/context-work";
  if (const int error = make_folder(k_upper, plan.root_id); error != 0) return error;
  if (const int error = make_folder(k_work, plan.root_id); error != 0) return error;
  constexpr const char* k_layers =
      "lowerdir=mnt/context,upperdir=mnt/scratch/context-upper,workdir=mnt/scratch/context-work";
  constexpr unsigned long k_flags = MS_NOSUID | MS_NODEV;
  if (::mount("overlay", "mnt/context", "overlay", k_flags, k_layers) == 0) return 0;
  if (!plan.hides_files) return 0;
  *step = "hide ignored files";
  return errno;
}

int write_text(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return errno;
  const std::size_t size = ::strlen(text);
  const int error = ::write(fd, text, size) == static_cast<ssize_t>(size) ? 0 : EIO;
  ::close(fd);
  return error;
}

// On /mnt, which is memory and in this mount namespace only.
int write_secrets(const RootPlan& plan) {
  if (plan.secrets.empty()) return 0;
  if (const int error = make_folder("mnt/secrets", plan.root_id, 0700); error != 0) return error;
  for (const SecretInRoot& secret : plan.secrets) {
    const int fd = ::open(secret.path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    if (fd < 0) return errno;
    const std::string& content = secret.content.reveal();
    const bool is_written =
        ::write(fd, content.data(), content.size()) == static_cast<ssize_t>(content.size()) &&
        ::fchown(fd, plan.root_id, plan.root_id) == 0;
    ::close(fd);
    if (!is_written) return EIO;
  }
  return 0;
}

// The devices that a container gets. In a user namespace the runtime cannot make them and binds
// these; each mount is of one node alone.
int mount_devices() {
  if (const int error = mount_tmpfs("dev", MS_NOSUID | MS_NOEXEC); error != 0) return error;
  struct Node {
    const char* from;
    const char* to;
  };
  constexpr Node k_nodes[] = {{"/dev/null", "dev/null"},       {"/dev/zero", "dev/zero"},
                              {"/dev/full", "dev/full"},       {"/dev/random", "dev/random"},
                              {"/dev/urandom", "dev/urandom"}, {"/dev/tty", "dev/tty"}};
  for (const Node& node : k_nodes) {
    const int fd = ::open(node.to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0) return errno;
    ::close(fd);
    if (::mount(node.from, node.to, nullptr, MS_BIND, nullptr) != 0) return errno;
  }
  if (::mkdir("dev/pts", 0755) != 0 || ::mkdir("dev/shm", 0755) != 0) return errno;
  return ::symlink("/proc/self/fd", "dev/fd") != 0 ? errno : 0;
}

// Both must be there whole, or the kernel refuses the container's own.
int mount_kernel_file_systems() {
  if (::mount("proc", "proc", "proc", k_inert, nullptr) != 0) return errno;
  return ::mount("sysfs", "sys", "sysfs", k_inert | MS_RDONLY, nullptr) != 0 ? errno : 0;
}

int mount_volatile_folders(const RootPlan& plan) {
  for (const char* path : {"mnt", "run", "tmp", "var/cache", "var/lib/containers"}) {
    if (const int error = mount_tmpfs(path); error != 0) return error;
  }
  // buildah's image library remembers short names in /var/cache/containers. When it cannot write
  // there it silently finds no image by a short name at all.
  for (const char* path : {"mnt/run", "mnt/home", "mnt/hooks", "run", "var/cache/containers"}) {
    if (const int error = make_folder(path, plan.root_id); error != 0) return error;
  }
  if (const int error = make_folder("tmp", plan.root_id, 0700); error != 0) return error;
  if (!plan.hooks.empty() && ::mkdir(plan.hooks.c_str(), 0755) != 0) return errno;
  return 0;
}

int bind_folders(const RootPlan& plan, const char** step) {
  *step = "write the secrets";
  if (const int error = write_secrets(plan); error != 0) return error;
  *step = "bind the storage";
  if (const int error = bind_folder(plan.storage.c_str(), "mnt/storage", false); error != 0) {
    return error;
  }
  *step = "bind the base images";
  if (!plan.bases.empty()) {
    if (const int error = bind_folder(plan.bases.c_str(), "mnt/bases", true); error != 0) {
      return error;
    }
  }
  // What it knows of blobs: without it, each push compresses each layer again only to find that it
  // is there.
  *step = "bind the cache";
  if (const int error = bind_folder(plan.cache.c_str(), "var/lib/containers/cache", false);
      error != 0) {
    return error;
  }
  *step = "bind the scratch folder";
  if (const int error = bind_folder(plan.scratch.c_str(), "mnt/scratch", false); error != 0) {
    return error;
  }
  // Where the image library puts blobs that it copies, whatever TMPDIR says: they may be large.
  if (const int error = bind(plan.scratch.c_str(), "var/tmp", false); error != 0) return error;
  *step = "bind the cache mounts";
  if (!plan.cache_mounts.empty()) {
    // Where buildah looks below TMPDIR, for user 0.
    const char* place = "mnt/scratch/buildah-cache-0";
    if (const int error = bind_folder(plan.cache_mounts.c_str(), place, false); error != 0) {
      return error;
    }
  }
  *step = "bind the checkout";
  if (plan.context.empty()) return 0;
  if (const int error = bind_mapped(plan.context.c_str(), "mnt/context", plan.user_namespace);
      error != 0) {
    return error;
  }
  return layer_over_context(plan, step);
}

int configure(const RootPlan& plan) {
  int error = write_text("mnt/registries.conf", k_registries);
  if (error == 0) error = write_text("mnt/policy.json", k_policy);
  if (error == 0) error = write_text("mnt/storage.conf", k_storage);
  if (error == 0) error = write_text("mnt/containers.conf", plan.containers_conf.c_str());
  if (error == 0) error = write_text("mnt/seccomp.json", plan.seccomp.c_str());
  if (error == 0) error = write_text("mnt/resolv.conf", k_slirp_nameserver);
  if (error == 0) error = write_text("mnt/hosts", k_hosts);
  if (error != 0) return error;
  if (!plan.host_network) {
    error = bind("mnt/hosts", "etc/hosts", true);
    return error != 0 ? error : bind("mnt/resolv.conf", "etc/resolv.conf", true);
  }
  // Left as they are where the machine has none.
  static_cast<void>(bind("/etc/hosts", "etc/hosts", true));
  static_cast<void>(bind("/etc/resolv.conf", "etc/resolv.conf", true));
  return 0;
}

}  // namespace

int enter_root(const RootPlan& plan, const char** step) {
  *step = "make the mounts private";
  if (::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  // A mount point of its own: what unpacks a layer remounts / and must be able to.
  *step = "mount the toolchain";
  if (::mount(plan.toolchain.c_str(), plan.toolchain.c_str(), nullptr, MS_BIND, nullptr) != 0 ||
      ::chdir(plan.toolchain.c_str()) != 0) {
    return errno;
  }
  constexpr unsigned long k_read_only = MS_BIND | MS_REMOUNT | k_still | MS_RDONLY;
  if (::mount(nullptr, ".", nullptr, k_read_only, nullptr) != 0) return errno;
  *step = "mount the sandbox's folders";
  if (const int error = mount_volatile_folders(plan); error != 0) return error;
  if (const int error = bind_folders(plan, step); error != 0) return error;
  *step = "trust this machine's certificates";
  constexpr const char* k_certificates = "/etc/ssl/certs/ca-certificates.crt";
  if (::access(k_certificates, R_OK) == 0) {
    static_cast<void>(bind(k_certificates, "etc/ssl/certs/ca-certificates.crt", true));
  }
  *step = "write configuration";
  if (const int error = configure(plan); error != 0) return error;
  *step = "mount /dev";
  if (const int error = mount_devices(); error != 0) return error;
  *step = "mount /proc and /sys";
  if (const int error = mount_kernel_file_systems(); error != 0) return error;
  // The old root ends up below the new one, and is taken off: nothing leads to it any more.
  *step = "leave the host's root";
  if (::syscall(SYS_pivot_root, ".", ".") != 0 || ::umount2(".", MNT_DETACH) != 0) return errno;
  return ::chdir("/") != 0 ? errno : 0;
}

int mount_own_sys() {
  if (::mount("sysfs", "/sys", "sysfs", k_inert | MS_RDONLY, nullptr) != 0) return errno;
  // crun takes no hybrid of both cgroup versions, so it is shown version 2 alone; where a machine
  // has none, an empty folder. Either way it can change nothing: the limits are set outside.
  if (::mount("cgroup2", "/sys/fs/cgroup", "cgroup2", k_inert | MS_RDONLY, nullptr) == 0) return 0;
  return mount_tmpfs("/sys/fs/cgroup", k_inert | MS_RDONLY);
}

}  // namespace atlasflow::builder
