// Ends a build that takes more than it may, and says of what. Quotas of the kernel are not on every
// file system, so what a build has written is counted while it runs, about twice a second: a fast
// writer gets a little further than the limit, and no further. What the kernel does limit
// (processes) it only refuses, and a fork bomb goes on asking: that is the end of a build as well.
// Internal to builder/; one object per build, with a thread of its own; any thread may call it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <mutex>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <thread>

#include <sys/types.h>

#include "base/error.hpp"
#include "builder/image/image_store.hpp"

namespace atlasflow::builder {

struct BuildLimits {
  std::uint64_t bytes_max = 0;         // 0: none. Of what one build writes, on the disk
  std::uint64_t files_max = 0;         // 0: none
  std::uint64_t free_bytes_min = 0;    // of the disk, whoever fills it
  std::uint64_t output_bytes_max = 0;  // 0: none. Of what its steps print
};

// The build's cgroup, which another thread made.
struct BuildProcesses {
  std::function<std::set<pid_t>()> members;  // whose files without a name count as well
  std::function<bool()> were_refused;        // it has had as many as it may
  std::int64_t count_max = 0;                // for the message
};

class BuildWatch {
 public:
  BuildWatch(const ImageStore& store, std::filesystem::path scratch, BuildLimits limits,
             BuildProcesses processes, const std::stop_token& stop);
  ~BuildWatch();
  BuildWatch(const BuildWatch&) = delete;
  BuildWatch& operator=(const BuildWatch&) = delete;

  // Stops when the given one does, or when a limit is passed.
  [[nodiscard]] std::stop_token token() { return own_stop_.get_token(); }
  // The build has printed so much more.
  void count_output(std::size_t bytes);
  // Why it stopped the build, or would have. user_error: the build took too much; unavailable: the
  // disk is full.
  [[nodiscard]] std::optional<Error> verdict() const;

 private:
  void watch(const std::stop_token& end);
  void stop_for(Error reason);
  [[nodiscard]] FolderUse written() const;
  [[nodiscard]] std::optional<Error> judge() const;
  [[nodiscard]] Error too_many_processes() const;

  ImageStore store_;
  std::filesystem::path scratch_;
  BuildLimits limits_;
  BuildProcesses processes_;
  std::uint64_t output_bytes_ = 0;  // of the thread that reads the output
  std::set<std::string> layers_before_;
  FolderUse cache_before_;
  std::stop_source own_stop_;
  std::stop_callback<std::function<void()>> forward_;
  mutable std::mutex mutex_;
  std::optional<Error> verdict_;  // guarded by mutex_
  std::jthread thread_;           // last: it uses all of the above
};

}  // namespace atlasflow::builder
