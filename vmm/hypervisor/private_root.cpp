#include "vmm/hypervisor/private_root.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;

constexpr unsigned long k_locked = MS_NOSUID | MS_NODEV;

}  // namespace

PrivateRoot::PrivateRoot(const fs::path& program, const fs::path& stand, bool with_kvm)
    : stand_(stand.string()), new_proc_(stand_ + "/proc") {
  // Debian's QEMU and its firmware; one that the administrator built has its own beside it.
  for (const char* folder : {"/usr/lib", "/usr/lib64", "/usr/share/qemu", "/usr/share/seabios"}) {
    bind(folder);
  }
  if (program.string().starts_with("/usr/local/")) {
    for (const char* folder : {"/usr/local/lib", "/usr/local/share/qemu"}) bind(folder);
  }
  // Links into /usr on a merged system, else folders.
  for (const char* folder : {"/lib", "/lib64"}) bind(folder);
  bind(program.string());
  bind("/etc/ld.so.cache");
  bind("/dev/null");
  if (with_kvm) bind("/dev/kvm");
  add_folder("/proc");
}

void PrivateRoot::add_folder(const std::string& path) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const std::string part = stand_ + path.substr(0, end);
    const bool known = std::any_of(entries_.begin(), entries_.end(),
                                   [&](const Entry& entry) { return entry.path == part; });
    if (!known) entries_.push_back({Entry::Kind::folder, {}, part});
    if (end == std::string::npos) return;
  }
}

void PrivateRoot::add_link(const std::string& path, const std::string& target) {
  entries_.push_back({Entry::Kind::link, target, stand_ + path});
}

// What is there, under the same name. A folder goes with what is mounted in it.
void PrivateRoot::bind(const std::string& path) {
  std::error_code error;
  if (fs::is_symlink(path, error) && fs::is_directory(path, error)) {
    add_link(path, fs::read_symlink(path, error).string());
  } else if (fs::is_directory(path, error)) {
    add_folder(path);
    entries_.push_back({Entry::Kind::bound_folder, path, stand_ + path});
  } else if (fs::exists(path, error)) {
    add_folder(fs::path(path).parent_path().string());
    entries_.push_back({Entry::Kind::bound_file, path, stand_ + path});
  }
}

int PrivateRoot::clone_flags() { return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS; }

const char* PrivateRoot::enter() const {
  const char* const root = stand_.c_str();
  // Nothing that is mounted from here on is seen outside.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return "private mounts";
  if (::mount("tmpfs", root, "tmpfs", k_locked, "size=64k,nr_inodes=128,mode=0755") != 0) {
    return "a root of its own";
  }
  for (const Entry& entry : entries_) {
    const char* const path = entry.path.c_str();
    switch (entry.kind) {
      case Entry::Kind::folder:
        // Two binds may be one in the other, so it may be there.
        if (::mkdir(path, 0755) != 0 && errno != EEXIST) return "a folder of the root";
        continue;
      case Entry::Kind::link:
        if (::symlink(entry.from.c_str(), path) != 0) return "a link of the root";
        continue;
      case Entry::Kind::bound_file: {
        const int fd = ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
        if (fd < 0) return "a file of the root";
        ::close(fd);
        break;
      }
      case Entry::Kind::bound_folder:
        break;
    }
    // A device stays one: only the folders are closed to devices.
    const unsigned long closed =
        MS_NOSUID | MS_RDONLY | (entry.kind == Entry::Kind::bound_folder ? MS_NODEV : 0);
    if (::mount(entry.from.c_str(), path, nullptr, MS_BIND, nullptr) != 0 ||
        ::mount(nullptr, path, nullptr, MS_BIND | MS_REMOUNT | closed, nullptr) != 0) {
      return "a part of the root";
    }
  }
  // Only processes, and there only itself. Before Linux 5.8 there is no such choice.
  const char* const proc = new_proc_.c_str();
  if (::mount("proc", proc, "proc", k_locked | MS_NOEXEC, "subset=pid") != 0 &&
      ::mount("proc", proc, "proc", k_locked | MS_NOEXEC, nullptr) != 0) {
    return "/proc of its own";
  }
  if (::mount(nullptr, root, nullptr, MS_REMOUNT | MS_RDONLY | k_locked, nullptr) != 0) {
    return "a root that cannot be written";
  }
  // pivot_root(2): with the same folder twice the old root lies over the new one and is taken off.
  if (::chdir(root) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) {
    return "entering the root";
  }
  return nullptr;
}

}  // namespace atlasflow::vmm
