// A stop token that is also requested when the time is up; 0: it never is. Owned by one call, on
// its thread.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <stop_token>
#include <thread>

namespace atlasflow {

class Deadline {
 public:
  Deadline(const std::stop_token& outer, std::chrono::microseconds remaining)
      : forward_(outer, [this] { source_.request_stop(); }),
        watch_([this, remaining](const std::stop_token& ended) {
          if (remaining <= std::chrono::microseconds(0)) return;
          std::unique_lock lock(mutex_);
          if (!wake_.wait_for(lock, ended, remaining, [] { return false; }) &&
              !ended.stop_requested()) {
            passed_ = true;
            lock.unlock();
            source_.request_stop();
          }
        }) {}

  [[nodiscard]] std::stop_token token() const { return source_.get_token(); }
  [[nodiscard]] bool passed() {
    const std::lock_guard lock(mutex_);
    return passed_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  bool passed_ = false;
  std::stop_source source_;
  std::stop_callback<std::function<void()>> forward_;
  std::jthread watch_;
};

}  // namespace atlasflow
