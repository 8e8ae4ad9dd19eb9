#include "builder/image/build_watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <utility>

#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds k_pause{500};
constexpr int k_pause_share = 10;  // of looking, the pause is at least so many times as long
constexpr std::uint64_t k_block_bytes = 512;
constexpr std::uint64_t k_bytes_per_mib = 1U << 20U;

void add(FolderUse& sum, const FolderUse& more) {
  sum.bytes += more.bytes;
  sum.files += more.files;
}

// Files that have lost their last name and are still open: no walk finds them.
FolderUse nameless_files_of(const std::set<pid_t>& pids) {
  FolderUse use;
  std::set<std::pair<dev_t, ino_t>> seen;
  for (const pid_t pid : pids) {
    const fs::path folder = "/proc/" + std::to_string(pid) + "/fd";
    for (const auto& name : names_if_any(folder)) {
      struct stat status {};
      if (::stat((folder / name).c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
      if (status.st_nlink != 0 || !seen.emplace(status.st_dev, status.st_ino).second) continue;
      use.bytes += static_cast<std::uint64_t>(status.st_blocks) * k_block_bytes;
      ++use.files;
    }
  }
  return use;
}

}  // namespace

BuildWatch::BuildWatch(const ImageStore& store, fs::path scratch, BuildLimits limits,
                       BuildProcesses processes, const std::stop_token& stop)
    : store_(store),
      scratch_(std::move(scratch)),
      limits_(limits),
      processes_(std::move(processes)),
      cache_before_(use_of(store_.cache_mounts())),
      forward_(stop, [this] { own_stop_.request_stop(); }) {
  for (auto& name : names_if_any(store_.storage() / "overlay")) {
    layers_before_.insert(std::move(name));
  }
  thread_ = std::jthread([this](const std::stop_token& end) { watch(end); });
}

BuildWatch::~BuildWatch() {
  thread_.request_stop();
  thread_.join();
}

std::optional<Error> BuildWatch::verdict() const {
  {
    const std::lock_guard guard(mutex_);
    if (verdict_) return verdict_;
  }
  // A fork bomb may have ended by itself between two looks.
  if (processes_.were_refused()) return too_many_processes();
  return std::nullopt;
}

Error BuildWatch::too_many_processes() const {
  return {ErrorCode::user_error,
          "the build started more processes than it may have at the same time: " +
              std::to_string(processes_.count_max),
          {}};
}

// What is in the layers that were not there when the build began, in its scratch folder, in its
// cache mounts more than before, and in files that only its processes still know.
FolderUse BuildWatch::written() const {
  FolderUse sum = use_of(scratch_);
  for (const auto& name : names_if_any(store_.storage() / "overlay")) {
    if (!layers_before_.contains(name)) add(sum, use_of(store_.storage() / "overlay" / name));
  }
  const FolderUse cache = use_of(store_.cache_mounts());
  sum.bytes += cache.bytes - std::min(cache.bytes, cache_before_.bytes);
  sum.files += cache.files - std::min(cache.files, cache_before_.files);
  add(sum, nameless_files_of(processes_.members()));
  return sum;
}

std::optional<Error> BuildWatch::judge() const {
  if (processes_.were_refused()) return too_many_processes();
  struct statvfs disk {};
  if (::statvfs(store_.folder().c_str(), &disk) == 0) {
    const std::uint64_t free = static_cast<std::uint64_t>(disk.f_bavail) * disk.f_frsize;
    if (free < limits_.free_bytes_min) {
      return Error{ErrorCode::unavailable,
                   "the build was ended because the disk has only " +
                       std::to_string(free / k_bytes_per_mib) +
                       " MiB left: free space or lower builder.min_free_mib",
                   {}};
    }
  }
  if (limits_.bytes_max == 0 && limits_.files_max == 0) return std::nullopt;
  const FolderUse use = written();
  if (limits_.bytes_max != 0 && use.bytes > limits_.bytes_max) {
    return Error{
        ErrorCode::user_error,
        "the build wrote more than it may: " + std::to_string(limits_.bytes_max / k_bytes_per_mib) +
            " MiB of disk (the server's builder.disk_limit_mib)",
        {}};
  }
  if (limits_.files_max != 0 && use.files > limits_.files_max) {
    return Error{ErrorCode::user_error,
                 "the build made more files than it may: " + std::to_string(limits_.files_max),
                 {}};
  }
  return std::nullopt;
}

void BuildWatch::stop_for(Error reason) {
  {
    const std::lock_guard guard(mutex_);
    if (!verdict_) verdict_ = std::move(reason);
  }
  own_stop_.request_stop();
}

void BuildWatch::count_output(std::size_t bytes) {
  const bool was_over = output_bytes_ > limits_.output_bytes_max;
  output_bytes_ += bytes;
  if (limits_.output_bytes_max == 0 || was_over || output_bytes_ <= limits_.output_bytes_max)
    return;
  stop_for({ErrorCode::user_error,
            "the build printed more than it may: " +
                std::to_string(limits_.output_bytes_max / k_bytes_per_mib) + " MiB",
            {}});
}

void BuildWatch::watch(const std::stop_token& end) {
  std::mutex mutex;
  std::condition_variable_any wake;
  std::unique_lock lock(mutex);
  auto pause = k_pause;
  while (!wake.wait_for(lock, end, pause, [&end] { return end.stop_requested(); })) {
    const auto began = Clock::now();
    if (auto error = judge()) {
      stop_for(std::move(*error));
      return;
    }
    // A tree of very many files takes long to walk, and the walk must not take a processor.
    pause = std::max(k_pause, std::chrono::duration_cast<std::chrono::milliseconds>(
                                  (Clock::now() - began) * k_pause_share));
  }
}

}  // namespace atlasflow::builder
