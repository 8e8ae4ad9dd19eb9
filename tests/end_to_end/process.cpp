#include "tests/end_to_end/process.hpp"

#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::end_to_end {

Process Process::start(const std::vector<std::string>& arguments, const Environment& environment,
                       const std::filesystem::path& input, const std::filesystem::path& output,
                       const std::filesystem::path& error) {
  std::vector<char*> argv;
  for (const auto& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const auto in = input.empty() ? std::filesystem::path("/dev/null") : input;
  const pid_t pid = ::fork();
  if (pid < 0) throw std::runtime_error("fork failed");
  if (pid == 0) {
    // A test that is killed takes its server along.
    ::prctl(PR_SET_PDEATHSIG, SIGTERM);
    constexpr int k_append = O_WRONLY | O_CREAT | O_APPEND;
    ::dup2(::open(in.c_str(), O_RDONLY), 0);
    ::dup2(::open(output.c_str(), k_append, 0600), 1);
    ::dup2(::open(error.c_str(), k_append, 0600), 2);
    for (const auto& [name, value] : environment) ::setenv(name.c_str(), value.c_str(), 1);
    ::execv(argv[0], argv.data());
    ::_exit(127);
  }
  return Process(pid);
}

Process::~Process() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

void Process::signal(int number) const {
  if (pid_ > 0) ::kill(pid_, number);
}

std::optional<Exit> Process::wait(std::chrono::seconds limit) {
  const auto end = std::chrono::steady_clock::now() + limit;
  while (std::chrono::steady_clock::now() < end) {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) == pid_) {
      pid_ = -1;
      Exit exit;
      if (WIFEXITED(status)) exit.code = WEXITSTATUS(status);
      if (WIFSIGNALED(status)) exit.signal = WTERMSIG(status);
      return exit;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return std::nullopt;
}

std::string read_file(const std::filesystem::path& path) {
  constexpr std::uint64_t k_bytes_max = 1ULL << 30U;
  return atlasflow::read_file(path, k_bytes_max).value_or("");
}

void write_file(const std::filesystem::path& path, const std::string& text) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out << text;
}

}  // namespace atlasflow::end_to_end
