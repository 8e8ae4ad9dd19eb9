#include "sim/fleet/child.hpp"

#include <algorithm>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <memory>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::uint64_t k_output_max = 8192;

}  // namespace

void become_child(int error_file) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  ::dup2(error_file, STDERR_FILENO);
  // A run in which the server is killed a thousand times logs as many errors.
  auto silent = std::make_shared<spdlog::logger>("simulated");
  silent->set_level(spdlog::level::off);
  spdlog::set_default_logger(std::move(silent));
}

int make_output_file() {
  FileDescriptor file(::memfd_create("atlasflow-simulate", MFD_CLOEXEC));
  if (!file.valid() || ::fcntl(file.get(), F_SETFL, O_APPEND) != 0) return -1;
  return ::fcntl(file.get(), F_DUPFD_CLOEXEC, 0);
}

std::string last_output(int file) {
  const auto all = static_cast<std::uint64_t>(std::max<off_t>(::lseek(file, 0, SEEK_END), 0));
  const auto from = all > k_output_max ? all - k_output_max : 0;
  const auto bytes = read_at_most(file, from, k_output_max, "a run's output");
  if (!bytes) return "";
  std::istringstream lines(*bytes);
  std::string kept;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("injected:") == std::string::npos) kept += line + "\n";
  }
  return kept;
}

std::string how_it_ended(int status, const std::string& output) {
  auto how = WIFSIGNALED(status)
                 ? fmt::format("signal {} ({})", WTERMSIG(status), ::strsignal(WTERMSIG(status)))
                 : fmt::format("exit code {}", WEXITSTATUS(status));
  // What a process says last is why it ended.
  auto text = output;
  while (text.ends_with('\n')) text.pop_back();
  if (!text.empty()) how += ": " + text.substr(text.rfind('\n') + 1);
  return how;
}

}  // namespace atlasflow::sim
