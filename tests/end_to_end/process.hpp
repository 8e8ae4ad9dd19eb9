// A program that a test starts, and its end. Owned by the test's thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace atlasflow::end_to_end {

using Environment = std::vector<std::pair<std::string, std::string>>;

// How a process ended.
struct Exit {
  int code = -1;   // when it exited by itself
  int signal = 0;  // when a signal ended it
};

class Process {
 public:
  // The first argument is the program. Input is empty unless named; output goes to the files.
  static Process start(const std::vector<std::string>& arguments, const Environment& environment,
                       const std::filesystem::path& input, const std::filesystem::path& output,
                       const std::filesystem::path& error);
  ~Process();  // SIGKILL when it still runs
  Process(Process&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Process& operator=(Process&& other) noexcept {
    std::swap(pid_, other.pid_);
    return *this;
  }

  [[nodiscard]] pid_t pid() const { return pid_; }
  void signal(int number) const;
  // Nothing when it still runs after the time.
  [[nodiscard]] std::optional<Exit> wait(std::chrono::seconds limit);

 private:
  explicit Process(pid_t pid) : pid_(pid) {}

  pid_t pid_ = -1;
};

struct Ran {
  int code = -1;
  std::string out;
  std::string err;
};

// Empty when there is none, or the process that it told of has ended.
[[nodiscard]] std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, const std::string& text);

}  // namespace atlasflow::end_to_end
