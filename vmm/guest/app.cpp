#include "vmm/guest/app.hpp"

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/guest/command.hpp"
#include "vmm/guest/host_link.hpp"
#include "vmm/guest/user.hpp"

namespace atlasflow::vmm::guest {
namespace {

// What servers for many connections ask for; container runtimes give as many or more.
constexpr rlim_t k_open_files_max = 65'536;

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

std::vector<char*> pointers_to(const std::vector<std::string>& texts) {
  std::vector<char*> pointers;
  for (const std::string& text : texts) pointers.push_back(const_cast<char*>(text.c_str()));
  pointers.push_back(nullptr);
  return pointers;
}

// Runs the command as execvpe(3) would, a script without a "#!" line by sh included, except that
// sh is not tried on a program of another machine. Returns why it could not.
std::string execute(const Config& config) {
  const char* const path = value_of(config.env, "PATH");
  const std::string& name = config.args[0];
  const std::string file = find_command(name, path == nullptr ? "" : path);
  if (file.empty()) return why_not_run(name, file, ENOENT);
  if (std::string why = known_to_fail(name, file); !why.empty()) return why;
  const std::vector<char*> args = pointers_to(config.args);
  const std::vector<char*> env = pointers_to(config.env);
  execve(file.c_str(), args.data(), env.data());
  const int error = errno;
  if (error == ENOEXEC && !is_binary(file)) {
    std::vector<std::string> shell = {"/bin/sh", file};
    shell.insert(shell.end(), config.args.begin() + 1, config.args.end());
    execve("/bin/sh", pointers_to(shell).data(), env.data());
  }
  return why_not_run(name, file, error);
}

// What the child could not do goes over a pipe that exec closes, as the sentence for the user.
[[noreturn]] void become_app(const Config& config, const Identity& identity, int output,
                             int failure_fd) {
  const auto give_up = [failure_fd](const std::string& why) {
    write_all(failure_fd, why);
    _exit(127);
  };
  const auto because = [](const std::string& what) { return what + ": " + strerror(errno); };
  setsid();
  const int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (dup2(null_fd, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) {
    give_up(because("cannot prepare the app"));
  }
  if (chdir(config.workdir.c_str()) != 0) {
    give_up(because("the image's WORKDIR '" + config.workdir + "' cannot be entered"));
  }
  if (setgroups(identity.groups.size(), identity.groups.data()) != 0 ||
      setresgid(identity.gid, identity.gid, identity.gid) != 0 ||
      setresuid(identity.uid, identity.uid, identity.uid) != 0) {
    give_up(because("cannot become the image's USER '" + config.user + "'"));
  }
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  give_up(execute(config));
  _exit(127);
}

}  // namespace

const char* value_of(const std::vector<std::string>& env, std::string_view name) {
  for (const std::string& entry : env) {
    if (entry.size() > name.size() && entry.compare(0, name.size(), name) == 0 &&
        entry[name.size()] == '=') {
      return entry.c_str() + name.size() + 1;
    }
  }
  return nullptr;
}

pid_t launch(Config& config, int& output) {
  const UserLookup lookup = resolve_user(config.user, read_file("/etc/passwd", 1 << 20),
                                         read_file("/etc/group", 1 << 20));
  if (!lookup.error.empty()) fail("user", lookup.error);
  make_workdir(config.workdir);
  const char* const home = value_of(config.env, "HOME");
  if (home == nullptr || *home == '\0') {
    std::erase(config.env, "HOME=");
    config.env.push_back("HOME=" + lookup.identity.home);
  }

  std::array<int, 2> pipe_fds{};
  std::array<int, 2> failure_fds{};
  if (pipe2(pipe_fds.data(), O_CLOEXEC) != 0 || pipe2(failure_fds.data(), O_CLOEXEC) != 0) {
    fail_boot("cannot make a pipe");
  }
  fcntl(pipe_fds[0], F_SETFL, O_NONBLOCK);  // the read end only: an end's flags are its own
  // An app that opens /dev/stdout by name opens the pipe anew, and that asks for permission.
  (void)!fchown(pipe_fds[1], lookup.identity.uid, lookup.identity.gid);
  const rlimit files{k_open_files_max, k_open_files_max};
  setrlimit(RLIMIT_NOFILE, &files);

  const pid_t app = fork();
  if (app < 0) fail_boot("cannot fork");
  if (app == 0) become_app(config, lookup.identity, pipe_fds[1], failure_fds[1]);
  close(pipe_fds[1]);
  close(failure_fds[1]);
  std::string failure;
  std::array<char, 512> piece;
  for (ssize_t n; (n = read(failure_fds[0], piece.data(), piece.size())) > 0;) {
    failure.append(piece.data(), static_cast<std::size_t>(n));
  }
  if (!failure.empty()) fail("user", failure);
  close(failure_fds[0]);
  output = pipe_fds[0];
  return app;
}

}  // namespace atlasflow::vmm::guest
