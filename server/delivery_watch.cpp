#include "server/delivery_watch.hpp"

#include <condition_variable>
#include <mutex>

#include "base/log.hpp"
#include "github/app_hook.hpp"

namespace atlasflow::server {
namespace {

void look(const github::ConnectedApp& connected, const std::stop_token& stop) {
  const auto app = connected.get();
  if (app == nullptr) return;
  const auto asked = github::ask_for_missed_pushes(*app, stop);
  if (!asked && asked.error().code != ErrorCode::cancelled) {
    log_event(LogLevel::warn, "server", "missed_pushes_unknown",
              {{"error", to_string(asked.error())}});
  }
  if (asked && *asked > 0) {
    log_event("server", "missed_pushes_asked_for", {{"count", *asked}});
  }
}

}  // namespace

DeliveryWatch::DeliveryWatch(const github::ConnectedApp& connected,
                             std::chrono::milliseconds interval)
    : thread_([&connected, interval](const std::stop_token& stop) {
        std::mutex mutex;
        std::condition_variable_any stopped;
        std::unique_lock lock(mutex);
        while (!stop.stop_requested()) {
          look(connected, stop);
          stopped.wait_for(lock, stop, interval, [] { return false; });
        }
      }) {}

}  // namespace atlasflow::server
