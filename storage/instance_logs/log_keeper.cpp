#include "storage/instance_logs/log_keeper.hpp"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "base/log.hpp"
#include "storage/instance_logs/log_times.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_run_suffix = ".run.log";
constexpr std::string_view k_build_suffix = ".build.log";
constexpr std::string_view k_times_suffix = ".times";
constexpr std::size_t k_stamps_max = 32'768;  // half a MiB
constexpr std::uint64_t k_stat_block_bytes = 512;
constexpr TimestampUs k_young_us = 60'000'000;
constexpr std::size_t k_newest_logs_kept = 3;
constexpr auto k_total_interval = std::chrono::minutes(1);

bool is_log(std::string_view name) {
  return name.ends_with(k_run_suffix) || name.ends_with(k_build_suffix);
}

// "abcdefg2-v7" of "abcdefg2-v7.run.log".
std::string id_of(const std::string& name) {
  const auto suffix = name.ends_with(k_run_suffix) ? k_run_suffix : k_build_suffix;
  return name.substr(0, name.size() - suffix.size());
}

DeploymentId deployment_of_log(const std::string& name) {
  const auto id = id_of(name);
  return DeploymentId(id.substr(0, id.rfind("-v")));
}

// 0, or errno.
int punch(int fd, std::uint64_t bytes) {
  const int done =
      ::fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, static_cast<off_t>(bytes));
  return done == 0 ? 0 : errno;
}

// What is written between the read and the cut is lost: there is no better way without holes, for
// the writer has the file open and knows no other.
Result<void> copy_and_cut(int fd, std::uint64_t size, std::uint64_t bytes_kept,
                          const fs::path& log) {
  ATLAS_TRY(const auto kept, read_at_most(fd, size - bytes_kept, bytes_kept, log.string()));
  if (::ftruncate(fd, 0) != 0) return tl::unexpected(errno_error("cannot cut " + log.string()));
  if (auto written = write_all(fd, kept, log.string()); !written) return written;
  auto times = read_log_times(log);
  std::erase_if(times, [&](const LogTime& time) { return time.size <= size - bytes_kept; });
  for (auto& time : times) time.size -= size - bytes_kept;
  return write_log_times(log, times);
}

}  // namespace

Result<void> trim_log(const fs::path& log, std::uint64_t bytes_kept, TrimMode mode) {
  // Appending, for the copy: the writer may have written on after the cut.
  const FileDescriptor fd(::open(log.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  struct stat status {};
  if (!fd.valid() || ::fstat(fd.get(), &status) != 0) {
    return tl::unexpected(errno_error("cannot open the log " + log.string()));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size <= bytes_kept) return {};
  const auto block = static_cast<std::uint64_t>(status.st_blksize);
  const std::uint64_t freed = (size - bytes_kept) / block * block;
  if (mode == TrimMode::punch_hole) {
    const int error = freed == 0 ? 0 : punch(fd.get(), freed);
    if (error == 0) return {};
    if (error != EOPNOTSUPP && error != ENOSYS) {
      errno = error;
      return tl::unexpected(errno_error("cannot free the head of " + log.string()));
    }
  }
  return copy_and_cut(fd.get(), size, bytes_kept, log);
}

std::vector<LogFolder::Log> LogFolder::logs() const {
  std::vector<Log> found;
  for (auto& name : names_if_any(config_.folder)) {
    const fs::path path = config_.folder / name;
    struct stat status {};
    if (!is_log(name) || ::lstat(path.c_str(), &status) != 0 || !S_ISREG(status.st_mode)) continue;
    found.push_back({std::move(name), static_cast<std::uint64_t>(status.st_size),
                     static_cast<std::uint64_t>(status.st_blocks) * k_stat_block_bytes,
                     time_of(status.st_mtim)});
  }
  return found;
}

void LogFolder::stamp(const Log& log) {
  const auto path = config_.folder / log.name;
  auto known = stamped_.find(log.name);
  if (known == stamped_.end()) {
    const auto times = read_log_times(path);
    const Stamps stamps{times.empty() ? 0 : times.back().size, times.size()};
    known = stamped_.emplace(log.name, stamps).first;
  }
  auto& stamps = known->second;
  if (stamps.newest_size == log.size) return;
  // All that the file has was written by the time of its last write.
  auto written = append_log_time(path, {log.written_at, log.size});
  if (written) {
    stamps.newest_size = log.size;
    if (++stamps.count <= k_stamps_max) return;
    const auto kept = thinned(read_log_times(path));
    stamps.count = kept.size();
    written = write_log_times(path, kept);
  }
  if (!written) {
    log_event(LogLevel::debug, "log_keeper", "time_not_kept",
              {{"log", log.name}, {"error", to_string(written.error())}});
  }
}

void LogFolder::sample() {
  if (config_.at_each_look) config_.at_each_look();
  std::set<std::string> names;
  for (const auto& log : logs()) {
    names.insert(log.name);
    stamp(log);
    // Some slack, so that a busy log is not trimmed at every look. A build's log bounds itself.
    if (!log.name.ends_with(k_run_suffix) ||
        log.disk_bytes <= config_.run_log_bytes + config_.run_log_bytes / 8) {
      continue;
    }
    if (auto trimmed = trim_log(config_.folder / log.name, config_.run_log_bytes); !trimmed) {
      log_event(LogLevel::warn, "log_keeper", "not_trimmed",
                {{"log", log.name}, {"error", to_string(trimmed.error())}});
    }
  }
  std::erase_if(stamped_, [&](const auto& entry) { return !names.contains(entry.first); });
}

void LogFolder::remove(const Log& log) const {
  const auto path = config_.folder / log.name;
  std::error_code error;
  fs::remove(path, error);
  if (error) {
    log_event(LogLevel::warn, "log_keeper", "not_removed",
              {{"log", log.name}, {"cause", error.message()}});
    return;
  }
  fs::remove(log_times_path(path), error);
}

void LogFolder::remove_times_without_log() const {
  for (auto& name : names_if_any(config_.folder)) {
    const fs::path path = config_.folder / name;
    std::error_code error;
    // Nobody but us replaces files here: so this is of a process that died meanwhile.
    if (path.extension() == ".tmp") {
      fs::remove(path, error);
      continue;
    }
    if (!name.ends_with(k_times_suffix)) continue;
    name.resize(name.size() - k_times_suffix.size());
    if (is_log(name) && !fs::exists(config_.folder / name, error)) fs::remove(path, error);
  }
}

std::vector<std::string> LogFolder::enforce_total(TimestampUs now) {
  remove_times_without_log();
  auto all = logs();
  std::uint64_t total = 0;
  for (const auto& log : all) total += log.disk_bytes;
  if (total <= config_.total_bytes) return {};
  const auto kept = config_.kept ? config_.kept() : std::set<DeploymentId>{};
  if (!kept) {
    log_event(LogLevel::warn, "log_keeper", "not_removed", {{"error", to_string(kept.error())}});
    return {};
  }
  const auto running = config_.running ? config_.running() : std::set<std::string>{};

  std::sort(all.begin(), all.end(), [](const Log& a, const Log& b) {
    return std::tie(a.written_at, a.name) > std::tie(b.written_at, b.name);
  });
  std::vector<const Log*> unneeded;
  std::vector<const Log*> older;  // of deployments whose newest are kept
  std::map<DeploymentId, std::size_t> newer_logs;
  for (const auto& log : all) {
    const auto deployment = deployment_of_log(log.name);
    const bool newest = newer_logs[deployment]++ < k_newest_logs_kept;
    if (log.written_at > now - k_young_us || running.contains(id_of(log.name))) continue;
    if (!kept->contains(deployment)) {
      unneeded.push_back(&log);
    } else if (!newest) {
      older.push_back(&log);
    }
  }
  std::reverse(unneeded.begin(), unneeded.end());
  std::reverse(older.begin(), older.end());
  unneeded.insert(unneeded.end(), older.begin(), older.end());
  std::vector<std::string> removed;
  for (const auto* log : unneeded) {
    if (total <= config_.total_bytes) break;
    remove(*log);
    removed.push_back(log->name);
    total -= std::min(total, log->disk_bytes);
  }
  return removed;
}

LogKeeper::LogKeeper(LogFolderConfig config, std::chrono::milliseconds interval)
    : folder_(std::move(config)),
      interval_(interval),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void LogKeeper::run(const std::stop_token& stop) {
  auto next_total = std::chrono::steady_clock::now();
  while (!stop.stop_requested()) {
    try {
      look(next_total);
    } catch (const std::exception& error) {  // of a callback or of a folder that cannot be read
      log_event(LogLevel::error, "log_keeper", "look_failed", {{"error", error.what()}});
    }
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, stop, interval_, [] { return false; });
  }
}

void LogKeeper::look(std::chrono::steady_clock::time_point& next_total) {
  folder_.sample();
  if (std::chrono::steady_clock::now() >= next_total) {
    next_total = std::chrono::steady_clock::now() + k_total_interval;
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    for (const auto& name : folder_.enforce_total(time_of(now))) {
      log_event("log_keeper", "removed", {{"log", name}, {"reason", "over the total"}});
    }
  }
}

}  // namespace atlasflow::storage
