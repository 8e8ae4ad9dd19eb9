// Supervision: an actor keeps its children in a Supervisor, in its own state, which
// says of each death whether the next child starts at once, after a pause, or never. The policy is
// a value, and each use names its own. What the next child begins with is the owner's to know: a
// child holds nothing that the log or the world does not, so it begins with a replay.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>

#include <caf/all.hpp>

#include "actors/runtime/support.hpp"
#include "events/ids.hpp"

namespace atlasflow::actors {

struct RestartPolicy {
  // Whose deaths are counted together.
  enum class Counted : std::uint8_t {
    each,      // a child's own: children do different things
    together,  // of all children: they are alike, and what kills one kills them all
  };
  // What follows the death that was one too many.
  enum class Beyond : std::uint8_t {
    pause,       // the next one waits: what fails again and again must not keep the machine busy
    quarantine,  // there is no next one, for as long as the owner lives
    escalate,    // the owner ends as well, and its own supervisor begins anew
  };
  std::size_t restarts_max = 5;  // that follow at once, in the window
  std::chrono::seconds window{30};
  Counted counted = Counted::each;
  Beyond beyond = Beyond::pause;
  // Of Beyond::pause: doubled with each further death in the window, at most pause_max.
  std::chrono::seconds pause{10};
  std::chrono::seconds pause_max{10};
};

// Whether an actor with this exit reason was stopped, or was done; else it died.
[[nodiscard]] bool is_orderly(const caf::error& reason);

// The deaths of late that a policy counts together.
class RestartIntensity {
 public:
  // Takes note of a death at `now`: how long the next child has to wait, 0 for not at all; nothing
  // when there is to be none.
  [[nodiscard]] std::optional<std::chrono::seconds> died(const RestartPolicy& policy,
                                                         TimestampUs now);
  // Including the newest.
  [[nodiscard]] std::size_t count() const { return deaths_.size(); }

 private:
  std::deque<TimestampUs> deaths_;
};

// The end of a child, and what is to follow.
template <typename Key>
struct ChildEnd {
  Key key;
  std::string why;
  bool orderly = false;    // it was done, or was stopped: nothing is to follow
  std::size_t deaths = 0;  // that were counted, with this one
  // After how long the next one is to start; nothing: never, it is for the owner to say so.
  std::optional<std::chrono::seconds> again_in;

  [[nodiscard]] bool at_once() const { return again_in == std::chrono::seconds(0); }
  // For a log line.
  [[nodiscard]] std::int64_t again_in_s() const { return again_in ? again_in->count() : -1; }
};

template <typename Key, typename Handle>
class Supervisor {
 public:
  explicit Supervisor(RestartPolicy policy) : policy_(policy) {}

  // From now on this is the child of that name, watched by `self`, whose down handler is to call
  // on_down(). One that was there before ends.
  template <typename Self>
  const Handle& hold(Self* self, const Key& key, Handle handle) {
    auto& child = children_[key];
    child = Child<Handle>(std::move(handle));
    self->monitor(*child);
    return *child;
  }

  // Null: it died and the next one has not started, or there never was one.
  [[nodiscard]] const Handle* find(const Key& key) const {
    const auto found = children_.find(key);
    return found == children_.end() ? nullptr : &*found->second;
  }
  [[nodiscard]] bool is_quarantined(const Key& key) const { return quarantined_.contains(key); }
  [[nodiscard]] bool empty() const { return children_.empty(); }

  // Of which child the message is; nothing: of none, or of one that was given up before.
  [[nodiscard]] std::optional<ChildEnd<Key>> on_down(const caf::down_msg& down, TimestampUs now) {
    for (const auto& [key, child] : children_) {
      if (child.address() != down.source) continue;
      return ended(Key(key), to_string(from_caf(down.reason)), is_orderly(down.reason), now);
    }
    return std::nullopt;
  }
  // Gives up a child that hangs: it ends, and counts as dead.
  [[nodiscard]] ChildEnd<Key> give_up(const Key& key, const std::string& why, TimestampUs now) {
    return ended(Key(key), why, false, now);
  }
  // Ends the child and forgets its deaths: there is nothing to supervise any more.
  void let_go(const Key& key) {
    children_.erase(key);
    intensities_.erase(key);
  }
  // Asks all of them to end; on_down() still hears of each.
  template <typename Self>
  void stop_all(Self* self, const caf::error& reason) const {
    for (const auto& [key, child] : children_) self->send_exit(*child, reason);
  }

 private:
  ChildEnd<Key> ended(Key key, std::string why, bool orderly, TimestampUs now) {
    children_.erase(key);
    if (orderly) {
      intensities_.erase(key);
      return {std::move(key), std::move(why), true, 0, std::chrono::seconds(0)};
    }
    const bool each = policy_.counted == RestartPolicy::Counted::each;
    auto& intensity = each ? intensities_[key] : all_;
    const auto again_in = intensity.died(policy_, now);
    const auto deaths = intensity.count();
    if (!again_in && policy_.beyond == RestartPolicy::Beyond::quarantine) quarantined_.insert(key);
    return {std::move(key), std::move(why), false, deaths, again_in};
  }

  RestartPolicy policy_;
  std::map<Key, Child<Handle>> children_;
  std::map<Key, RestartIntensity> intensities_;
  RestartIntensity all_;  // of Counted::together
  std::set<Key> quarantined_;
};

}  // namespace atlasflow::actors
