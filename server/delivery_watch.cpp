#include "server/delivery_watch.hpp"

#include <algorithm>
#include <condition_variable>
#include <mutex>

#include "base/log.hpp"
#include "github/app_hook.hpp"

namespace atlasflow::server {
namespace {

constexpr int k_doublings_max = 4;

// One thread's.
class Watch {
 public:
  Watch(github::ConnectedApp& connected, std::chrono::milliseconds interval)
      : connected_(connected), interval_(interval) {}

  // Once an interval.
  void tick(const std::stop_token& stop) {
    const auto found = connected_.get();
    // Of one that can't be used its owner is told where it is read; what was done for it is kept,
    // as it may be usable again in a moment.
    if (!found) return;
    if (*found != app_) {
      app_ = *found;
      pushes_ = {};
      failures_ = 0;
      next_ = {};
    }
    if (app_ == nullptr || std::chrono::steady_clock::now() < next_) return;
    const bool done = look(stop);
    failures_ = done ? 0 : std::min(failures_ + 1, k_doublings_max);
    if (!done)
      next_ = std::chrono::steady_clock::now() + interval_ * (1 << failures_) - interval_ / 2;
  }

 private:
  bool look(const std::stop_token& stop) {
    const auto asked = pushes_.ask(*app_, stop);
    if (!asked) {
      if (asked.error().code == ErrorCode::cancelled) return true;
      log_event(LogLevel::warn, "server", "missed_pushes_unknown",
                {{"error", to_string(asked.error())}});
      return false;
    }
    if (asked->taken > 0) {
      log_event("server", "missed_pushes_asked_for", {{"count", asked->taken}});
    }
    if (asked->refused > 0) {
      log_event(LogLevel::warn, "server", "missed_pushes_refused",
                {{"count", asked->refused}, {"error", asked->problem}});
    }
    return true;
  }

  github::ConnectedApp& connected_;
  const std::chrono::milliseconds interval_;
  std::shared_ptr<github::AppClient> app_;  // whose pushes are looked for
  github::MissedPushes pushes_;
  int failures_ = 0;  // in a row
  std::chrono::steady_clock::time_point next_;
};

}  // namespace

DeliveryWatch::DeliveryWatch(github::ConnectedApp& connected, std::chrono::milliseconds interval)
    : thread_([&connected, interval](const std::stop_token& stop) {
        Watch watch(connected, interval);
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          watch.tick(stop);
          stopped.wait_for(lock, stop, interval, [] { return false; });
        }
      }) {}

}  // namespace atlasflow::server
