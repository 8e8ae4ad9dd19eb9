// Bounds how many VMs boot at once. Any thread.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <stop_token>
#include <utility>

namespace atlasflow::vmm {

// Under emulation a boot takes a whole core, and more of them
// than cores only makes each one miss its deadline.
class BootGate {
 public:
  explicit BootGate(unsigned places) : free_(places) {}

  class Place {
   public:
    explicit Place(BootGate* gate) : gate_(gate) {}
    Place(Place&& other) noexcept : gate_(std::exchange(other.gate_, nullptr)) {}
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    Place& operator=(Place&&) = delete;
    ~Place() {
      if (gate_ == nullptr) return;
      {
        const std::lock_guard guard(gate_->mutex_);
        ++gate_->free_;
      }
      gate_->freed_.notify_one();
    }

   private:
    BootGate* gate_;
  };

  std::optional<Place> enter(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    if (!freed_.wait(lock, stop, [this] { return free_ > 0; })) return std::nullopt;
    --free_;
    return std::optional<Place>(std::in_place, this);
  }

 private:
  std::mutex mutex_;
  std::condition_variable_any freed_;
  unsigned free_;
};

}  // namespace atlasflow::vmm
