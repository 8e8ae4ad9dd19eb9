#include "builder/sandbox/sandbox.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>
#include <utility>

#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file.hpp"
#include "builder/sandbox/network.hpp"
#include "builder/sandbox/root.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr unsigned k_build_uid_count = 1'000'000;
constexpr milliseconds k_namespace_deadline{5'000};
constexpr rlim_t k_open_files_max = 1'048'576;
constexpr rlim_t k_processes_max = 4'194'304;

struct Preparation {
  RootPlan root;
  SandboxNetwork network = SandboxNetwork::none;
};

// A step that makes a user namespace has all capabilities in it, and with them a large part of the
// kernel before it. The limit is the namespace's own and only its root could lift it; a step
// neither has the capability nor a /proc/sys that it could write to.
int forbid_user_namespaces() {
  const int fd = ::open("/proc/sys/user/max_user_namespaces", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  const int error = ::write(fd, "0", 1) == 1 ? 0 : errno;
  ::close(fd);
  return error;
}

// In the child, in new PID and mount namespaces, still the host's root.
int prepare_child(void* context, const char** step) {
  const Preparation& p = *static_cast<const Preparation*>(context);
  ::umask(0022);
  if (const int error = enter_root(p.root, step); error != 0) return error;
  const bool own_network = p.network != SandboxNetwork::host;
  const bool own_users = p.root.user_namespace >= 0;
  int unshared = CLONE_NEWIPC | CLONE_NEWUTS;
  if (own_network) unshared |= CLONE_NEWNET | CLONE_NEWCGROUP;
  if (own_users) {
    *step = "enter the user namespace";
    if (::setns(p.root.user_namespace, CLONE_NEWUSER) != 0) return errno;
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
  if (own_users) {
    *step = "forbid user namespaces";
    if (const int error = forbid_user_namespaces(); error != 0) return error;
  }
  if (own_network) {
    *step = "mount the sandbox's /sys";
    if (const int error = mount_own_sys(); error != 0) return error;
    *step = "raise the loopback";
    if (const int error = raise_loopback(); error != 0) return error;
  }
  *step = "enter /mnt";
  return ::chdir("/mnt") != 0 ? errno : 0;
}

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
  ATLAS_TRY(auto process, spawn_process(request));
  process.wait(k_namespace_deadline);
  return fd;
}

// Containers get the limits that buildah has by default, but no more than this process may give.
std::string containers_conf() {
  const auto at_most = [](__rlimit_resource_t resource, rlim_t most) {
    rlimit limit{};
    return ::getrlimit(resource, &limit) == 0 ? std::to_string(std::min(limit.rlim_max, most))
                                              : std::to_string(most);
  };
  const std::string files = at_most(RLIMIT_NOFILE, k_open_files_max);
  const std::string processes = at_most(RLIMIT_NPROC, k_processes_max);
  return "[containers]\ndefault_ulimits = [\"nofile=" + files + ":" + files +
         "\", \"nproc=" + processes + ":" + processes + "\"]\n";
}

class LinuxSandbox final : public Sandbox {
 public:
  LinuxSandbox(SandboxConfig config, std::optional<FileDescriptor> user_namespace)
      : config_(std::move(config)), user_namespace_(std::move(user_namespace)) {}

  Result<RunOutcome> run(std::vector<std::string> argv, const std::vector<std::string>& environment,
                         const SandboxMounts& mounts, SandboxNetwork network,
                         const std::vector<FileDescriptor>& cgroup_procs, milliseconds deadline,
                         const std::stop_token& stop,
                         const std::function<void(std::string_view)>& on_output) const override {
    Preparation preparation{root_plan(mounts, network), network};
    SpawnRequest request;
    request.argv = std::move(argv);
    request.environment = {"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                           "HOME=/mnt/home",
                           "XDG_RUNTIME_DIR=/mnt/run",
                           "TMPDIR=/mnt/scratch",
                           "LANG=C.UTF-8",
                           "CONTAINERS_CONF=/mnt/containers.conf",
                           "CONTAINERS_STORAGE_CONF=/mnt/storage.conf",
                           "CONTAINERS_REGISTRIES_CONF=/mnt/registries.conf"};
    request.environment.insert(request.environment.end(), environment.begin(), environment.end());
    request.clone_flags = CLONE_NEWPID | CLONE_NEWNS;
    request.prepare = prepare_child;
    request.prepare_context = &preparation;
    for (const FileDescriptor& fd : cgroup_procs) request.cgroup_procs.push_back(fd.get());
    std::optional<Process> way_out;  // Ends after the sandbox, by its destructor.
    if (network == SandboxNetwork::internet) {
      request.before_exec = [&](pid_t pid) -> Result<void> {
        ATLAS_TRY(auto joined, join_internet(pid, config_.reachable_networks, mounts.scratch));
        way_out = std::move(joined);
        return {};
      };
    }
    return run_process(std::move(request), deadline, stop, on_output);
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

  RootPlan root_plan(const SandboxMounts& mounts, SandboxNetwork network) const {
    RootPlan plan;
    plan.toolchain = config_.toolchain.string();
    plan.storage = mounts.storage.string();
    plan.bases = mounts.bases.string();
    plan.cache = mounts.cache.string();
    plan.cache_mounts = mounts.cache_mounts.string();
    plan.scratch = mounts.scratch.string();
    plan.context = mounts.context.string();
    plan.hides_files = mounts.hides_files;
    if (!mounts.hooks_name.empty()) plan.hooks = "mnt/hooks/" + mounts.hooks_name;
    for (const auto& secret : mounts.secrets) {
      plan.secrets.push_back(
          {std::string(k_secrets_folder).substr(1) + "/" + secret.name, secret.content});
    }
    plan.containers_conf = containers_conf();
    plan.seccomp = config_.seccomp;
    plan.host_network = network == SandboxNetwork::host;
    plan.user_namespace = user_namespace_ ? user_namespace_->get() : -1;
    plan.root_id = root_id();
    return plan;
  }

  SandboxConfig config_;
  std::optional<FileDescriptor> user_namespace_;
};

}  // namespace

Result<std::unique_ptr<Sandbox>> Sandbox::make(const SandboxConfig& config) {
  if (::geteuid() != 0) {
    return fail(ErrorCode::unavailable,
                "builds need a server that runs as root: only root can make "
                "the namespaces and user ids that they run in");
  }
  std::optional<FileDescriptor> fd;
  if (config.user_namespace) {
    ATLAS_TRY(auto made, make_user_namespace());
    fd = std::move(made);
  }
  return std::make_unique<LinuxSandbox>(config, std::move(fd));
}

}  // namespace atlasflow::builder
