// Keeps two calls from working on one VM at a time. Any thread.
#pragma once

#include <mutex>
#include <set>
#include <utility>

#include "events/ids.hpp"

namespace atlasflow::vmm {

// One name in a set that threads share, for as long as this lives. Not holds(): somebody else has
// it.
class NameClaim {
 public:
  NameClaim(std::mutex& mutex, std::set<VmId>& names, VmId name)
      : mutex_(mutex), names_(names), name_(std::move(name)) {
    const std::lock_guard guard(mutex_);
    holds_ = names_.insert(name_).second;
  }
  ~NameClaim() {
    const std::lock_guard guard(mutex_);
    if (holds_) names_.erase(name_);
  }
  NameClaim(const NameClaim&) = delete;
  NameClaim& operator=(const NameClaim&) = delete;
  [[nodiscard]] bool holds() const { return holds_; }

 private:
  std::mutex& mutex_;
  std::set<VmId>& names_;
  VmId name_;
  bool holds_ = false;
};

}  // namespace atlasflow::vmm
