// Keeps build and run logs bounded and stamped with times. LogFolder is the work, done by whoever
// calls it, one thread at a time; LogKeeper is the thread that does it about once a second, owned
// by the server and stopped before the read model goes.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/error.hpp"
#include "events/ids.hpp"

namespace atlasflow::storage {

// How the head of a log goes. A file system without holes has its logs copied: a follower then
// reads what is kept once more, and bytes that are written between copy and cut are lost.
enum class TrimMode : std::uint8_t { punch_hole, copy };

// Frees the head of the log so that its last bytes_kept stay, rounded up to whole blocks. The
// writer may go on (O_APPEND) and need not know. Nothing when the log is not longer than that.
[[nodiscard]] Result<void> trim_log(const std::filesystem::path& log, std::uint64_t bytes_kept,
                                    TrimMode mode = TrimMode::punch_hole);

struct LogFolderConfig {
  std::filesystem::path folder;
  std::uint64_t run_log_bytes = 64ULL << 20U;  // kept of each run log
  std::uint64_t total_bytes = 2048ULL << 20U;  // of all logs, as far as what must stay allows
  // Whose logs stay whatever the total is. Asked only when there is too much; after an error none
  // is removed.
  std::function<Result<std::set<DeploymentId>>()> kept;
  // The VMs that there are now: whatever else, their logs are being written.
  std::function<std::set<std::string>()> running;
  // Called at every look: other bounds that must be looked after as often.
  std::function<void()> at_each_look;
};

class LogFolder {
 public:
  explicit LogFolder(LogFolderConfig config) : config_(std::move(config)) {}

  // Stamps the logs that grew and trims those that are too long.
  void sample();
  // Removes logs while all of them together are larger than the total: of deployments that need not
  // be kept, oldest first, then of the others all but their newest three. One that was written in
  // the last minute stays: its deployment may be younger than `kept`. Returns what it removed.
  std::vector<std::string> enforce_total(TimestampUs now);

 private:
  struct Log {
    std::string name;  // "<id>.run.log"
    std::uint64_t size = 0;
    std::uint64_t disk_bytes = 0;
    TimestampUs written_at = 0;
  };
  struct Stamps {
    std::uint64_t newest_size = 0;
    std::size_t count = 0;
  };
  [[nodiscard]] std::vector<Log> logs() const;
  void stamp(const Log& log);
  void remove(const Log& log) const;
  void remove_times_without_log() const;

  LogFolderConfig config_;
  std::map<std::string, Stamps> stamped_;  // by the log's name
};

class LogKeeper {
 public:
  explicit LogKeeper(LogFolderConfig config,
                     std::chrono::milliseconds interval = std::chrono::seconds(1));

 private:
  void run(const std::stop_token& stop);
  void look(std::chrono::steady_clock::time_point& next_total);

  LogFolder folder_;
  std::chrono::milliseconds interval_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::jthread thread_;
};

}  // namespace atlasflow::storage
