#include "receive/git_call.hpp"

#include <atomic>
#include <cerrno>
#include <cstring>

#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cgroup.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

namespace atlasflow::receive {
namespace {

namespace fs = std::filesystem;

constexpr CgroupParent k_cgroups{"atlasflow-git", 50};
constexpr const char* k_seen = "/mnt";  // Debian has it on every machine, and empty
constexpr const char* k_backend = "/usr/lib/git-core/git-http-backend";
constexpr std::size_t k_said_bytes = 4U << 10U;
constexpr rlim_t k_open_files_max = 1'024;
constexpr rlim_t k_user_processes_max = 512;  // of all calls together
constexpr rlim_t k_address_bytes_max = 4ULL << 30;

bool is_root() { return ::geteuid() == 0; }

// All that the child needs, made before it.
struct Preparation {
  const char* repository = nullptr;
  bool is_confined = false;
  rlim_t file_bytes_max = 0;
  rlim_t address_bytes_max = 0;  // 0: a cgroup counts the memory
};

int set_limit(__rlimit_resource_t resource, rlim_t value) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0) return errno;
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  return ::setrlimit(resource, &limit) == 0 ? 0 : errno;
}

// Kernel calls alone: it is the child of a process with threads.
int enter_namespaces(const Preparation& p, const char** step) {
  *step = "keep mounts to itself";
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) return errno;
  *step = "mount the repository";
  if (::mount(p.repository, k_seen, nullptr, MS_BIND, nullptr) != 0) return errno;
  constexpr unsigned long k_plain = MS_NOSUID | MS_NODEV | MS_NOEXEC;
  if (::mount(nullptr, k_seen, nullptr, MS_REMOUNT | MS_BIND | k_plain, nullptr) != 0) return errno;
  *step = "hide the machine's files";
  // What everybody may write to, what tells of other processes, and where people have their files.
  for (const char* folder : {"/tmp", "/var/tmp", "/dev/shm", "/proc", "/run", "/home", "/root",
                             "/srv", "/opt", "/var/www", "/media"}) {
    struct stat status {};
    if (::stat(folder, &status) != 0 || !S_ISDIR(status.st_mode)) continue;
    unsigned long flags = k_plain;
    if (::strcmp(folder, "/tmp") != 0) flags |= MS_RDONLY;
    if (::mount("tmpfs", folder, "tmpfs", flags, "size=16m,mode=1777") != 0) return errno;
  }
  *step = "change the user";
  // By the kernel's own calls: glibc's want to tell the threads of the server, which are not here.
  if (::syscall(SYS_setgroups, 0, nullptr) != 0 ||
      ::syscall(SYS_setresgid, k_git_uid, k_git_uid, k_git_uid) != 0 ||
      ::syscall(SYS_setresuid, k_git_uid, k_git_uid, k_git_uid) != 0) {
    return errno;
  }
  return 0;
}

int prepare_child(void* context, const char** step) {
  const Preparation& p = *static_cast<const Preparation*>(context);
  ::umask(0077);
  *step = "set limits";
  if (const int error = set_limit(RLIMIT_FSIZE, p.file_bytes_max); error != 0) return error;
  if (const int error = set_limit(RLIMIT_NOFILE, k_open_files_max); error != 0) return error;
  if (const int error = set_limit(RLIMIT_CORE, 0); error != 0) return error;
  if (p.address_bytes_max != 0) {
    if (const int error = set_limit(RLIMIT_AS, p.address_bytes_max); error != 0) return error;
  }
  if (p.is_confined) {
    if (const int error = set_limit(RLIMIT_NPROC, k_user_processes_max); error != 0) return error;
    if (const int error = enter_namespaces(p, step); error != 0) return error;
  }
  *step = "give up privileges";
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return errno;
  *step = "enter the repository";
  return ::chdir(p.is_confined ? k_seen : p.repository) == 0 ? 0 : errno;
}

// By the environment: no file of the repository says more than that it is bare.
std::vector<std::string> configuration(const GitBounds& bounds) {
  const std::vector<std::pair<const char*, std::string>> values = {
      {"safe.directory", "*"},
      {"http.receivepack", "true"},
      {"http.uploadpack", "false"},
      {"http.getanyfile", "false"},
      {"core.hooksPath", "/dev/null"},
      {"core.fsync", "all"},
      {"core.bigFileThreshold", "16m"},
      {"core.deltaBaseCacheLimit", "32m"},
      {"core.packedGitWindowSize", "16m"},
      {"core.packedGitLimit", "128m"},
      {"pack.threads", "1"},
      {"pack.windowMemory", "64m"},
      {"pack.deltaCacheSize", "32m"},
      {"receive.fsckObjects", "true"},
      {"receive.maxInputSize", std::to_string(bounds.pack_bytes_max)},
      {"receive.unpackLimit", "1"},
      {"receive.denyDeleteCurrent", "refuse"},
      {"receive.advertisePushOptions", "false"},
      {"receive.autogc", "false"},  // Repositories::tidy(), once the push is recorded
      {"gc.auto", "1000"},
      {"gc.autoPackLimit", "20"},
      {"gc.autoDetach", "false"},
      {"maintenance.autoDetach", "false"},
      // Branches and tags; git answers what is wrong with any other ref.
      {"receive.hideRefs", "refs/"},
      {"receive.hideRefs", "!refs/heads/"},
      {"receive.hideRefs", "!refs/tags/"},
  };
  std::vector<std::string> environment = {"GIT_CONFIG_COUNT=" + std::to_string(values.size())};
  for (std::size_t i = 0; i < values.size(); ++i) {
    environment.push_back("GIT_CONFIG_KEY_" + std::to_string(i) + "=" + values[i].first);
    environment.push_back("GIT_CONFIG_VALUE_" + std::to_string(i) + "=" + values[i].second);
  }
  return environment;
}

// Names that no other call of this process has, and that tell whose they are.
std::string call_name() {
  static std::atomic<std::uint64_t> count = 0;
  return std::to_string(::getpid()) + "-" + std::to_string(++count);
}

}  // namespace

std::string seen_path(const fs::path& repository) {
  return is_root() ? k_seen : repository.string();
}

Result<RunOutcome> run_git(const fs::path& repository, GitCall call, const GitBounds& bounds,
                           const std::stop_token& stop, const OutputTaker& on_output,
                           std::string& said) {
  const std::string path = repository.string();
  const bool is_confined = is_root();
  Cgroup cgroup(own_cgroups(), k_cgroups, call_name());
  cgroup.create({.memory_mib = bounds.memory_mib, .processes = bounds.processes});
  Preparation preparation{.repository = path.c_str(),
                          .is_confined = is_confined,
                          .file_bytes_max = bounds.repository_bytes_max,
                          .address_bytes_max = cgroup.memory_limited() ? 0 : k_address_bytes_max};
  SpawnRequest request;
  request.program =
      call.argv.front() == "git-http-backend" ? k_backend : find_program(call.argv.front());
  request.argv = std::move(call.argv);
  request.environment = configuration(bounds);
  for (const char* plain :
       {"PATH=/usr/local/bin:/usr/bin:/bin", "LANG=C.UTF-8", "LC_ALL=C.UTF-8", "HOME=/nonexistent",
        "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
        "GIT_HTTP_EXPORT_ALL=1"}) {
    request.environment.emplace_back(plain);
  }
  request.environment.insert(request.environment.end(), call.environment.begin(),
                             call.environment.end());
  request.input = call.input;
  if (is_confined) {
    request.clone_flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  }
  for (const auto& fd : cgroup.procs()) request.cgroup_procs.push_back(fd.get());
  request.prepare = prepare_child;
  request.prepare_context = &preparation;
  auto outcome =
      run_process(std::move(request), bounds.deadline, stop, on_output,
                  [&said](std::string_view bytes) { append_bounded(said, bytes, k_said_bytes); });
  if (cgroup.oom_kills() > 0) said += "(git was ended for want of memory)";
  (void)cgroup.remove();  // what is stuck in it is in nobody's way
  if (outcome) return outcome;
  auto error = outcome.error();
  error.message = "git can't be run for pushes: " + error.message;
  return tl::unexpected(error);
}

Result<std::string> git_output(const fs::path& repository, GitCall call, const GitBounds& bounds,
                               const std::stop_token& stop, std::size_t bytes_max) {
  std::string output;
  std::string said;
  bool is_too_long = false;
  ATLAS_TRY(const auto outcome, run_git(
                                    repository, std::move(call), bounds, stop,
                                    [&](std::string_view bytes) {
                                      is_too_long =
                                          is_too_long || output.size() + bytes.size() > bytes_max;
                                      if (!is_too_long) output += bytes;
                                    },
                                    said));
  if (outcome.end == RunOutcome::End::cancelled) {
    return fail(ErrorCode::cancelled, "the server stops");
  }
  if (outcome.end == RunOutcome::End::timed_out) {
    return fail(ErrorCode::timed_out, "git took too long over the repository", said);
  }
  if (is_too_long) {
    return fail(ErrorCode::too_large,
                "the repository has too many branches and tags; remove some of them");
  }
  if (outcome.exit_code != 0) {
    return fail(ErrorCode::internal, "git can't read the repository that is pushed to", said);
  }
  return output;
}

Result<void> own_repository(const fs::path& repository) {
  if (!is_root()) return {};
  struct stat status {};
  if (::lstat(repository.c_str(), &status) == 0 && status.st_uid == k_git_uid) return {};
  const auto own = [](const fs::path& path) {
    return ::lchown(path.c_str(), k_git_uid, k_git_uid) == 0;
  };
  std::error_code error;
  bool is_owned = true;
  for (auto it = fs::recursive_directory_iterator(repository, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    is_owned = is_owned && own(it->path());
  }
  // The folder itself goes last: it tells that all of it was given.
  if (!error && is_owned && own(repository)) return {};
  return fail(ErrorCode::internal, "a repository can't be given to the user that git runs as",
              error ? error.message() : std::strerror(errno));
}

void end_abandoned_calls() {
  const auto hierarchies = own_cgroups();
  for (const auto& name : Cgroup::names(hierarchies, k_cgroups)) {
    const auto pid = std::strtol(name.c_str(), nullptr, 10);
    const bool is_ours = pid == ::getpid();
    if (is_ours || (pid > 0 && ::kill(static_cast<pid_t>(pid), 0) == 0)) continue;
    (void)Cgroup(hierarchies, k_cgroups, name).remove();
  }
}

}  // namespace atlasflow::receive
