// Run by a build step of isolation_test.cpp: tries what would lead out of a build, or deep into the
// kernel, and prints "can NAME" for each that the kernel grants. Linked statically, so that it
// needs nothing of the image. It means to fail at everything.
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

namespace {

void tell(const char* name, long result) {
  if (result >= 0) {
    std::printf("can %s\n", name);
  } else {
    std::printf("no %s: %s\n", name, std::strerror(errno));
  }
}

long map_of_bpf() {
  bpf_attr attributes{};
  attributes.map_type = BPF_MAP_TYPE_ARRAY;
  attributes.key_size = 4;
  attributes.value_size = 4;
  attributes.max_entries = 1;
  return ::syscall(SYS_bpf, BPF_MAP_CREATE, &attributes, sizeof attributes);
}

// A socket filter that lets everything pass: what an unprivileged user may load, where any may.
long program_of_bpf() {
  std::array<bpf_insn, 2> program{};
  program[0].code = BPF_ALU64 | BPF_MOV | BPF_K;
  program[1].code = BPF_JMP | BPF_EXIT;
  bpf_attr attributes{};
  attributes.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
  attributes.insns = reinterpret_cast<std::uint64_t>(program.data());
  attributes.insn_cnt = program.size();
  attributes.license = reinterpret_cast<std::uint64_t>("GPL");
  return ::syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof attributes);
}

long counters_of_the_kernel() {
  perf_event_attr attributes{};
  attributes.size = sizeof attributes;
  attributes.type = PERF_TYPE_SOFTWARE;
  attributes.config = PERF_COUNT_SW_CONTEXT_SWITCHES;
  return ::syscall(SYS_perf_event_open, &attributes, -1, 0, -1, 0);
}

// By a handle a file is opened without its path, on the file system of the whole machine.
long file_by_its_handle() {
  alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> space{};
  auto* handle = reinterpret_cast<file_handle*>(space.data());
  handle->handle_bytes = MAX_HANDLE_SZ;
  int mount = 0;
  if (::name_to_handle_at(AT_FDCWD, "/", handle, &mount, 0) != 0) return -1;
  const int root = ::open("/", O_RDONLY);
  return ::open_by_handle_at(root, handle, O_RDONLY);
}

long written(const char* path, const char* text) {
  const int fd = ::open(path, O_WRONLY);
  if (fd < 0) return -1;
  const long size = ::write(fd, text, std::strlen(text));
  ::close(fd);
  return size;
}

void try_namespaces_and_mounts() {
  tell("unshare users", ::unshare(CLONE_NEWUSER));
  tell("unshare mounts", ::unshare(CLONE_NEWNS));
  tell("unshare the network", ::unshare(CLONE_NEWNET));
  tell("mount tmpfs", ::mount("none", "/m", "tmpfs", 0, nullptr));
  tell("mount proc", ::mount("none", "/m", "proc", 0, nullptr));
  tell("bind a folder", ::mount("/", "/m", nullptr, MS_BIND, nullptr));
  tell("unmount", ::umount2("/proc", MNT_DETACH));
  tell("open a file system", ::syscall(SYS_fsopen, "tmpfs", 0));
  tell("open a tree", ::syscall(SYS_open_tree, AT_FDCWD, "/", 1));
  tell("pivot the root", ::syscall(SYS_pivot_root, "/", "/m"));
  tell("enter another's namespace", ::setns(::open("/proc/1/ns/mnt", O_RDONLY), 0));
}

void try_devices() {
  tell("make a disk", ::mknod("/disk", S_IFBLK | 0600, makedev(8, 0)));
  tell("make the memory's device", ::mknod("/memory", S_IFCHR | 0600, makedev(1, 1)));
  tell("make a FUSE device", ::mknod("/fuse", S_IFCHR | 0600, makedev(10, 229)));
  tell("swap", ::swapon("/disk", 0));
}

void try_the_kernel() {
  tell("make a map of BPF", map_of_bpf());
  tell("load a program of BPF", program_of_bpf());
  tell("count the kernel's events", counters_of_the_kernel());
  tell("make an io_uring", [] {
    io_uring_params parameters{};
    return ::syscall(SYS_io_uring_setup, 1, &parameters);
  }());
  tell("handle page faults of the kernel", ::syscall(SYS_userfaultfd, 0));
  tell("open by a handle", file_by_its_handle());
  tell("load a module", ::syscall(SYS_init_module, "", 0, ""));
  tell("load another kernel", ::syscall(SYS_kexec_load, 0, 0, nullptr, 0));
  tell("keep the machine from restarting", ::reboot(RB_DISABLE_CAD));
  tell("rename the machine", ::sethostname("mine", 4));
  tell("account for processes", ::syscall(SYS_acct, nullptr));
  tell("find its keyring", ::syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_USER_KEYRING, 1));
  tell("keep a key", ::syscall(SYS_add_key, "user", "k", "v", 1, KEY_SPEC_USER_KEYRING));
  tell("ask for a key", ::syscall(SYS_request_key, "user", "k", nullptr, KEY_SPEC_USER_KEYRING));
}

void try_sockets_and_files() {
  tell("make packets", ::socket(AF_PACKET, SOCK_RAW, 0));
  tell("make raw datagrams", ::socket(AF_INET, SOCK_RAW, IPPROTO_ICMP));
  tell("say what a crash runs", written("/proc/sys/kernel/core_pattern", "|/x"));
  tell("allow user namespaces", written("/proc/sys/user/max_user_namespaces", "9"));
  tell("pull the emergency keys", written("/proc/sysrq-trigger", "h"));
  tell("lift its limits", written("/sys/fs/cgroup/memory.max", "max"));
  tell("leave its group", written("/sys/fs/cgroup/../cgroup.procs", "0"));
}

}  // namespace

int main() {
  ::mkdir("/m", 0755);
  try_devices();
  try_the_kernel();
  try_sockets_and_files();
  try_namespaces_and_mounts();
  std::puts("tried all");
  return 0;
}
