#include "actors/runtime/snapshotter.hpp"

#include <algorithm>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>

#include <sys/resource.h>
#include <unistd.h>

#include "actors/runtime/start_folds.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

namespace atlasflow::actors {
namespace {

// Behind whatever else the server does. Not the idle class: a thread that never runs would keep
// what it holds of the log.
constexpr int k_nice = 10;
constexpr std::uint64_t k_proc_bytes_max = 64U << 10U;

// The folds in use are a part of what the process has. A second set and its bytes are no more than
// twice that, and must not be what drives VMs or the server out of memory.
bool memory_suffices() {
  const auto machine = read_file("/proc/meminfo", k_proc_bytes_max).value_or("");
  const auto own = read_file("/proc/self/statm", k_proc_bytes_max).value_or("");
  constexpr std::string_view k_available = "MemAvailable:";
  const auto at = machine.find(k_available);
  const auto resident = own.find(' ');
  if (at == std::string::npos || resident == std::string::npos) return true;
  const auto available_kib = std::strtoull(machine.c_str() + at + k_available.size(), nullptr, 10);
  const auto own_pages = std::strtoull(own.c_str() + resident, nullptr, 10);
  const auto page_kib = static_cast<unsigned long long>(::sysconf(_SC_PAGE_SIZE)) / 1024;
  return available_kib >= 2 * own_pages * page_kib;
}

}  // namespace

std::uint64_t records_until_next(const SnapshotRules& rules, Position newest) {
  return std::max(rules.records_min, newest.value() / rules.log_parts);
}

void take_snapshot_at_stop(const storage::EventLog& log, const storage::SnapshotStore& store) {
  if (log.last_position().value() > k_records_at_stop_max || !memory_suffices()) return;
  const auto taken = take_snapshot(log, store, {});
  if (!taken) {
    log_event(LogLevel::warn, "snapshots", "not_taken", {{"error", to_string(taken.error())}});
  }
}

Snapshotter::Snapshotter(const storage::EventLog& log, storage::SnapshotStore store,
                         SnapshotRules rules)
    : log_(log),
      store_(std::move(store)),
      rules_(rules),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

Snapshotter::~Snapshotter() = default;

void Snapshotter::run(const std::stop_token& stop) {
  // Linux keeps a niceness for each thread.
  static_cast<void>(::setpriority(PRIO_PROCESS, static_cast<id_t>(::gettid()), k_nice));
  // Those that a start found unfit are gone by now.
  const auto found = store_.positions();
  if (!found.empty()) newest_ = found.front();
  std::mutex mutex;
  std::condition_variable_any stopped;
  std::unique_lock lock(mutex);
  auto pause = rules_.look_period;
  while (!stopped.wait_for(lock, stop, pause, [&] { return stop.stop_requested(); })) {
    pause = take_if_due(stop) ? rules_.look_period : rules_.pause_after_failure;
  }
}

bool Snapshotter::take_if_due(const std::stop_token& stop) {
  const auto end = log_.last_position();
  if (end.value() - newest_.value() < records_until_next(rules_, newest_)) return true;
  if (!memory_suffices()) {
    log_event(LogLevel::warn, "snapshots", "not_taken", {{"error", "too little memory is free"}});
    return false;
  }
  const auto begin = std::chrono::steady_clock::now();
  const auto taken = take_snapshot(log_, store_, [&] { return stop.stop_requested(); });
  if (!taken) {
    if (taken.error().code == ErrorCode::cancelled) return true;
    // Of a full disk others speak; what can't be read of the log is a person's to look at.
    const bool damaged = taken.error().code == ErrorCode::corrupt;
    log_event(damaged ? LogLevel::error : LogLevel::warn, "snapshots", "not_taken",
              {{"error", to_string(taken.error())}});
    return false;
  }
  newest_ = *taken;
  const auto took = std::chrono::steady_clock::now() - begin;
  log_event("snapshots", "taken",
            {{"position", newest_.value()},
             {"took_ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()}});
  return true;
}

}  // namespace atlasflow::actors
