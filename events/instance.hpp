// One slot of a deployment: the phase that it is in, with what is known in that phase and nothing
// else, and the counts that outlive its VMs. A value; any thread. Everybody reads it, evolve()
// alone changes it.
//
//   Vacant ─► Placing ─► Placed ─► Starting ─► Up ─► Stopping ─► Vacant, or the slot is dropped
//                                               └─► Finished ─► Stopping ─► Ended
//   Ended    ─► Waiting ─► Vacant, or GivenUp until its owner starts it anew
//   Placing, Starting ─► Vacant ─► Waiting: there was no room, or the start failed
//   any with a VM ─► Ended: its host is lost
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow {

struct Retry {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  TimestampUs due = 0;
  friend bool operator==(const Retry&, const Retry&) = default;
};

// Why a VM that was wanted is not, or has to go.
enum class VmEnd : std::uint8_t {
  exited,         // its app ended by itself
  lost,           // it went with its machine, or was ended by hand
  never_healthy,  // no 2xx within its deadline
  unhealthy,      // it had answered 2xx, and did not again in time
};
[[nodiscard]] std::string_view name_of(VmEnd end);
// The app did not end by itself.
[[nodiscard]] bool is_loss(VmEnd end);
// The VM does not run any more; what it left is still to be cleared away.
[[nodiscard]] bool is_over(VmEnd end);

// What the probes of a VM have seen.
namespace health {
struct Checking {            // no 2xx yet
  TimestampUs deadline = 0;  // of the first one
  std::string problem;       // as far as it was told; a sentence
  friend bool operator==(const Checking&, const Checking&) = default;
};
struct Healthy {
  TimestampUs since = 0;  // of its first 2xx
  friend bool operator==(const Healthy&, const Healthy&) = default;
};
struct Unhealthy {
  TimestampUs since = 0;  // of its first 2xx
  std::string problem;
  TimestampUs restart_due = 0;  // 0: never
  friend bool operator==(const Unhealthy&, const Unhealthy&) = default;
};
}  // namespace health
using Health = std::variant<health::Checking, health::Healthy, health::Unhealthy>;
[[nodiscard]] std::string_view name_of(const Health& health);

// A VM that has started.
struct Vm {
  VmId id;
  HostId host;
  std::string address;
  std::int32_t port = 0;
  Health health;
  friend bool operator==(const Vm&, const Vm&) = default;

  // It has answered 2xx once.
  [[nodiscard]] bool was_healthy() const {
    return !std::holds_alternative<health::Checking>(health);
  }
  [[nodiscard]] TimestampUs healthy_since() const;  // 0: never
  [[nodiscard]] std::string problem() const;        // empty: none is known
};

// The phases of a slot.
namespace phase {
// Nothing is there, and a placement follows.
struct Vacant {
  friend bool operator==(const Vacant&, const Vacant&) = default;
};
// For its next attempt.
struct Waiting {
  Retry retry;
  friend bool operator==(const Waiting&, const Waiting&) = default;
};
struct Placing {
  EffectId effect;
  friend bool operator==(const Placing&, const Placing&) = default;
};
// A host has taken it; the start follows.
struct Placed {
  HostId host;
  friend bool operator==(const Placed&, const Placed&) = default;
};
struct Starting {
  EffectId effect;  // names the VM
  HostId host;
  TimestampUs deadline = 0;
  friend bool operator==(const Starting&, const Starting&) = default;
};
// Runs, and nobody has asked for its end.
struct Up {
  Vm vm;
  friend bool operator==(const Up&, const Up&) = default;
};
// Ended without being asked, or was found unfit; its stop follows.
struct Finished {
  Vm vm;
  VmEnd end = VmEnd::exited;
  friend bool operator==(const Finished&, const Finished&) = default;
};
struct Stopping {
  Vm vm;
  EffectId effect;
  std::optional<VmEnd> end;  // none: it ran, and is wanted no more
  friend bool operator==(const Stopping&, const Stopping&) = default;
};
// The VM is gone without being asked. Its restart follows, or its being given up.
struct Ended {
  VmEnd end = VmEnd::exited;
  TimestampUs healthy_since = 0;  // 0: it never was
  friend bool operator==(const Ended&, const Ended&) = default;
};
// Crashed too often.
struct GivenUp {
  friend bool operator==(const GivenUp&, const GivenUp&) = default;
};
}  // namespace phase
using Phase =
    std::variant<phase::Vacant, phase::Waiting, phase::Placing, phase::Placed, phase::Starting,
                 phase::Up, phase::Finished, phase::Stopping, phase::Ended, phase::GivenUp>;
[[nodiscard]] std::string_view name_of(const Phase& phase);

// Of a slot that is to be empty: its VM finishes its requests, stops, and is not replaced.
struct Leaving {
  TimestampUs drain_deadline = 0;
  bool drained = false;
  friend bool operator==(const Leaving&, const Leaving&) = default;
};

struct Instance {
  std::int32_t slot = 0;
  Phase phase;
  std::optional<Leaving> leaving;
  std::int32_t refusals = 0;  // of every host in a row, for want of capacity
  std::int32_t attempts = 0;  // of starting since it last was healthy
  std::int32_t crashes = 0;   // in a row
  std::int32_t losses = 0;    // in a row, of VMs that had served well

  // ---- what follows from the phase ----

  template <typename Is>
  [[nodiscard]] bool in() const {
    return std::holds_alternative<Is>(phase);
  }
  [[nodiscard]] bool is_up() const { return in<phase::Up>(); }
  // Up, and it has answered 2xx once.
  [[nodiscard]] bool has_served() const { return is_up() && vm()->was_healthy(); }
  // Up, and well as its newest probe says.
  [[nodiscard]] bool is_healthy() const;
  [[nodiscard]] bool has_drained() const { return leaving && leaving->drained; }
  // Neither a VM nor a step under way.
  [[nodiscard]] bool holds_nothing() const { return vm_id().empty() && effect().empty(); }
  // The one that has started and is not gone yet, or null.
  [[nodiscard]] const Vm* vm() const;
  [[nodiscard]] const Retry* retry() const;
  // Empty where the phase has none.
  [[nodiscard]] VmId vm_id() const;  // also of one that is being started
  [[nodiscard]] HostId host() const;
  [[nodiscard]] EffectId effect() const;  // of the step under way

  // ---- transitions ----
  // Total: what has no meaning in a phase leaves it as it is, so that a log of any build folds.

  void place(EffectId effect);
  void placed(HostId host);
  void refused();  // by every host
  void start(EffectId effect, HostId host, TimestampUs deadline, std::int32_t attempt);
  void started(Vm vm);
  // no_capacity: the host that it was placed on has no room after all.
  void start_failed(bool no_capacity);
  void answered(TimestampUs at);  // its first 2xx
  void check_failed(std::string problem);
  void became_unhealthy(std::string problem, TimestampUs restart_due);
  void became_healthy();
  void restart_at(TimestampUs due);  // of an unhealthy one
  void finish(VmEnd end);
  void stop(EffectId effect);
  void stopped();
  void host_lost();
  void wait(const Retry& retry);
  // From every phase: that the VM is gone is what these say.
  void restart(std::int32_t crashes_now, std::int32_t losses_now, const Retry& retry);
  void give_up(std::int32_t crashes_now);
  void stop_waiting();  // for its next attempt
  void leave(TimestampUs drain_deadline);
  void drained();
  void begin_anew();  // its owner wants it started: whatever went wrong is forgotten
};

}  // namespace atlasflow
