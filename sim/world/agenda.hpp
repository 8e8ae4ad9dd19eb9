// Virtual time, and what is to happen in the world outside at which moment of it. It outlives the
// control planes that come and go. One owner, one thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "base/assert.hpp"
#include "events/ids.hpp"

namespace atlasflow::sim {

class Agenda {
 public:
  static constexpr TimestampUs k_start = 1'700'000'000'000'000;

  [[nodiscard]] TimestampUs now() const { return now_; }
  [[nodiscard]] TimestampUs begun_at() const { return begun_at_; }
  // Before anything is entered: time begins at another moment.
  void begin_at(TimestampUs moment) {
    ATLAS_ASSERT(entries_.empty() && now_ == begun_at_, "virtual time has begun");
    begun_at_ = now_ = moment;
  }

  // Of what is due at one moment, what was entered first happens first.
  void at(TimestampUs due, std::function<void()> what) {
    entries_.emplace(due < now_ ? now_ : due, std::move(what));
  }
  void after(TimestampUs delay, std::function<void()> what) { at(now_ + delay, std::move(what)); }

  [[nodiscard]] std::optional<TimestampUs> next_due() const {
    if (entries_.empty()) return std::nullopt;
    return entries_.begin()->first;
  }
  void advance_to(TimestampUs moment) {
    ATLAS_ASSERT(moment >= now_, "virtual time went back");
    now_ = moment;
  }
  // Everything that is due by now, what that enters for now included.
  void run_due() {
    while (!entries_.empty() && entries_.begin()->first <= now_) {
      const auto what = std::move(entries_.begin()->second);
      entries_.erase(entries_.begin());
      what();
    }
  }

 private:
  TimestampUs begun_at_ = k_start;
  TimestampUs now_ = k_start;
  std::multimap<TimestampUs, std::function<void()>> entries_;
};

}  // namespace atlasflow::sim
