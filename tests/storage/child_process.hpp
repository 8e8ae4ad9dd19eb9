// A child with pipes on its standard input and output, killed and reaped at the end at the latest.
#pragma once

#include <array>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

namespace atlasflow::storage {

class ChildProcess {
 public:
  explicit ChildProcess(std::vector<std::string> arguments) {
    std::array<int, 2> input{};
    std::array<int, 2> output{};
    if (::pipe2(input.data(), O_CLOEXEC) != 0 || ::pipe2(output.data(), O_CLOEXEC) != 0) return;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, input[0], 0);
    posix_spawn_file_actions_adddup2(&actions, output[1], 1);
    std::vector<char*> argv;
    for (auto& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    if (::posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
    posix_spawn_file_actions_destroy(&actions);
    ::close(input[0]);
    ::close(output[1]);
    to_child_ = ::fdopen(input[1], "w");
    from_child_ = ::fdopen(output[0], "r");
  }
  ~ChildProcess() {
    kill();
    if (from_child_ != nullptr) std::fclose(from_child_);
  }
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  void say(const std::string& line) {
    std::fprintf(to_child_, "%s\n", line.c_str());
    std::fflush(to_child_);
  }
  // Without its newline; nothing when the child is gone.
  std::optional<std::string> read_line() {
    std::array<char, 256> line{};
    if (std::fgets(line.data(), line.size(), from_child_) == nullptr) return std::nullopt;
    std::string text(line.data());
    if (!text.ends_with('\n')) return std::nullopt;  // it died while it printed
    text.pop_back();
    return text;
  }
  void kill() {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    wait();
  }
  // Ends its input and waits; the exit code, or -1 when a signal ended it.
  int finish() { return wait(); }

 private:
  int wait() {
    if (to_child_ != nullptr) std::fclose(std::exchange(to_child_, nullptr));
    if (pid_ <= 0) return -1;
    int status = 0;
    ::waitpid(std::exchange(pid_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  pid_t pid_ = -1;
  FILE* to_child_ = nullptr;
  FILE* from_child_ = nullptr;
};

}  // namespace atlasflow::storage
