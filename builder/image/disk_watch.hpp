// Ends a build that writes more than it may. Quotas of the kernel are not on every file system, so
// what a build has written is counted while it runs, about twice a second: a fast writer gets a
// little further than the limit, and no further. Internal to builder/; one object per build, with a
// thread of its own.
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

struct DiskLimits {
  std::uint64_t bytes_max = 0;       // 0: none. Of what one build writes, on the disk
  std::uint64_t files_max = 0;       // 0: none
  std::uint64_t free_bytes_min = 0;  // of the disk, whoever fills it
};

class DiskWatch {
 public:
  // members: the build's processes, whose files without a name count as well.
  DiskWatch(const ImageStore& store, std::filesystem::path scratch, DiskLimits limits,
            std::function<std::set<pid_t>()> members, const std::stop_token& stop);
  ~DiskWatch();
  DiskWatch(const DiskWatch&) = delete;
  DiskWatch& operator=(const DiskWatch&) = delete;

  // Stops when the given one does, or when a limit is passed.
  [[nodiscard]] std::stop_token token() { return own_stop_.get_token(); }
  // Why it stopped the build. user_error: the build wrote too much; unavailable: the disk is full.
  [[nodiscard]] std::optional<Error> verdict() const;

 private:
  void watch(const std::stop_token& end);
  [[nodiscard]] FolderUse written() const;
  [[nodiscard]] std::optional<Error> judge() const;

  ImageStore store_;
  std::filesystem::path scratch_;
  DiskLimits limits_;
  std::function<std::set<pid_t>()> members_;
  std::set<std::string> layers_before_;
  FolderUse cache_before_;
  std::stop_source own_stop_;
  std::stop_callback<std::function<void()>> forward_;
  mutable std::mutex mutex_;
  std::optional<Error> verdict_;  // guarded by mutex_
  std::jthread thread_;           // last: it uses all of the above
};

}  // namespace atlasflow::builder
