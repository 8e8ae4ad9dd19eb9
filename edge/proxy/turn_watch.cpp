#include "edge/proxy/turn_watch.hpp"

#include <csignal>
#include <cstdlib>

#include <pthread.h>
#include <spdlog/spdlog.h>

#include "base/log.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr milliseconds k_period{100};

nanoseconds read_clock(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + nanoseconds(now.tv_nsec);
}

long in_ms(nanoseconds time) {
  return static_cast<long>(std::chrono::duration_cast<milliseconds>(time).count());
}

}  // namespace

void TurnClock::attach() {
  if (::pthread_getcpuclockid(::pthread_self(), &cpu_clock_) == 0) {
    attached_.store(true, std::memory_order_release);
  }
}

TurnWatch::TurnWatch(const std::vector<TurnClock*>& clocks, TurnLimits limits) : limits_(limits) {
  for (TurnClock* clock : clocks) seen_.push_back({clock});
  // Signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TurnWatch::~TurnWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void TurnWatch::run() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, k_period, [this] { return stopping_; })) {
    for (std::size_t i = 0; i < seen_.size(); ++i) look(seen_[i], i);
  }
}

void TurnWatch::look(Seen& seen, std::size_t index) const {
  TurnClock& clock = *seen.clock;
  const std::uint64_t state = clock.state_.load(std::memory_order_relaxed);
  // A worker at rest may have ended, and its clock with it.
  if ((state & TurnClock::k_busy) == 0 || !clock.attached_.load(std::memory_order_acquire)) {
    seen.state = 0;
    return;
  }
  const nanoseconds cpu = read_clock(clock.cpu_clock_);
  if (state != seen.state || (seen.told && !clock.overdue())) {
    seen = {&clock, state, cpu, false};
    return;
  }
  const nanoseconds used = cpu - seen.cpu_at_start;
  if (used >= limits_.fatal) {
    log_event(
        LogLevel::critical, "edge", "watchdog",
        {{"result", "aborted"},
         {"worker", index},
         {"step_cpu_ms", in_ms(used)},
         {"reason", "a step of the worker does not end; the control plane starts the edge anew"}});
    spdlog::default_logger_raw()->flush();
    std::abort();
  }
  if (used >= limits_.overdue && !seen.told) {
    seen.told = true;
    clock.overdue_.store(true);
    log_event(LogLevel::error, "edge", "watchdog",
              {{"result", "overdue"}, {"worker", index}, {"step_cpu_ms", in_ms(used)}});
  }
}

}  // namespace atlasflow::edge
