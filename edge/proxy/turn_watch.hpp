// Watches that no worker stays in one step of its loop: a step is bounded, so one that burns a
// second of CPU is a fault, and everybody else of that worker waits for it. TurnClock belongs to a
// worker, which says where it is; TurnWatch is a thread that looks, owned by the edge server, which
// ends it after the workers. CPU time and not the wall clock's: a machine that was too busy to run
// the worker, or slept, is no fault of the step.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <ctime>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace atlasflow::edge {

class TurnClock {
 public:
  // On the worker's thread, before its first step.
  void attach();

  // A step begins: a connection's, a command's.
  void step() {
    // Only this thread writes.
    state_.store((state_.load(std::memory_order_relaxed) | k_busy) + k_step,
                 std::memory_order_relaxed);
  }
  // The worker waits for events.
  void rest() {
    state_.store(state_.load(std::memory_order_relaxed) & ~k_busy, std::memory_order_relaxed);
  }

  // The step that runs has had its second: it ends now, and says so by heed().
  [[nodiscard]] bool overdue() const { return overdue_.load(std::memory_order_relaxed); }
  void heed() {
    if (overdue()) overdue_.store(false);
  }

 private:
  friend class TurnWatch;
  static constexpr std::uint64_t k_busy = 1;
  static constexpr std::uint64_t k_step = 2;

  std::atomic<std::uint64_t> state_{0};
  std::atomic<bool> overdue_{false};
  std::atomic<bool> attached_{false};
  clockid_t cpu_clock_ = 0;
};

struct TurnLimits {
  std::chrono::milliseconds overdue{1'000};  // of CPU in one step: the step is told to end
  std::chrono::milliseconds fatal{3'000};    // it did not: the process ends, with the reason
};

class TurnWatch {
 public:
  // The clocks stay until the watch has ended.
  explicit TurnWatch(const std::vector<TurnClock*>& clocks, TurnLimits limits = {});
  ~TurnWatch();
  TurnWatch(const TurnWatch&) = delete;
  TurnWatch& operator=(const TurnWatch&) = delete;

 private:
  struct Seen {
    TurnClock* clock;
    std::uint64_t state = 0;
    std::chrono::nanoseconds cpu_at_start{};
    bool told = false;
  };
  void run();
  void look(Seen& seen, std::size_t index) const;

  std::vector<Seen> seen_;
  const TurnLimits limits_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace atlasflow::edge
