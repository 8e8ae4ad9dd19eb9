// One deployment: its state as a fold of its stream, what may be commanded, and what the world
// still owes it. Pure functions over values: no clock, no randomness, no I/O. `now` comes with the
// command.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "events/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow {

// Where a deployment stands, as users see it.
enum class DeploymentStatus : std::uint8_t {
  absent,  // no event yet
  queued,  // received, not started
  cloning,
  building,
  pushing,   // the image goes to the registry
  starting,  // the VM is placed and started
  checking,  // the VM runs; no 2xx yet
  routing,
  live,
  restarting,  // was live, its VM ended, another comes
  retiring,    // a newer one took over; drains and stops
  failing,     // failed; what it left is being stopped
  cancelling,
  failed,  // these four are terminal: no event follows
  superseded,
  cancelled,
  retired,
};

[[nodiscard]] std::string_view name_of(DeploymentStatus status);
[[nodiscard]] std::string_view name_of(pb::Step step);
[[nodiscard]] std::string_view name_of(pb::Fault fault);
[[nodiscard]] bool is_terminal(DeploymentStatus status);

struct Failure {
  pb::Step step = pb::STEP_UNSPECIFIED;
  pb::Fault fault = pb::FAULT_UNSPECIFIED;
  std::string reason;
};

// The VM that the stream tells of last.
struct VmRecord {
  std::string vm_id;
  std::string host;
  std::string address;  // empty until it has started
  std::int32_t port = 0;
  TimestampUs health_deadline = 0;
  bool started = false;
  bool healthy = false;
  bool exited = false;
  bool stop_requested = false;
};

struct Retry {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  TimestampUs due = 0;
};

// What the intent in progress is about.
enum class IntentKind : std::uint8_t {
  none,
  clone,
  build,
  push_image,
  place_vm,
  start_vm,
  route,
  drain,
  stop_vm,
};

struct DeploymentState {
  DeploymentId id;
  StreamVersion version;
  DeploymentStatus status = DeploymentStatus::absent;
  pb::PushReceived push;

  std::string subject;  // of the commit
  std::string author;
  std::vector<std::string> notices;
  EffectId build;  // names the newest build's log
  std::string image_id;
  std::string stack;
  std::string image;  // reference by digest
  std::optional<VmRecord> vm;
  std::string newest_vm_id;  // names the newest run log; stays when the VM is gone
  std::vector<std::string> hostnames;
  std::uint64_t generation = 0;  // of its claim on the hostnames; 0: none
  bool routed = false;           // Routed has been recorded at least once
  std::int32_t restarts = 0;     // of the VM since it went live

  IntentKind intent_kind = IntentKind::none;
  EffectId intent;                  // of the step in progress; empty between steps
  TimestampUs intent_deadline = 0;  // 0: none
  std::map<pb::Step, std::int32_t> attempts;
  std::optional<Retry> retry;
  std::optional<Failure> failure;
  std::string cancelled_by;
  std::string superseded_by;
  std::string retired_by;
  std::string retire_reason;
  TimestampUs drain_deadline = 0;
  bool drained = false;
};

// ---- commands ----

struct ReceivePush {
  pb::PushReceived push;
};
// The project's turn has come to this deployment.
struct Start {
  TimestampUs now = 0;
};
struct Supersede {
  DeploymentId by;
};
// A new control plane took over: what the old one was doing inside its own process is gone.
struct Recover {
  TimestampUs now = 0;
};
// The outcome of the effect with this id. Outcomes of other effects are refused as stale. The event
// is one of Cloned, Built, ImagePushed, VMPlaced, VMStarted, Healthy, Routed, Drained, VMStopped.
struct Succeeded {
  EffectId effect;
  pb::Event outcome;
  TimestampUs now = 0;
  std::uint64_t log_position = 0;      // the claim's generation, for Healthy
  std::vector<std::string> hostnames;  // to claim, for Healthy
};
struct Failed {
  EffectId effect;
  pb::Step step = pb::STEP_UNSPECIFIED;
  pb::Fault fault = pb::FAULT_UNSPECIFIED;
  bool retryable = false;
  bool timed_out = false;
  bool cancelled = false;
  std::int32_t exit_code = 0;
  std::string reason;
  TimestampUs now = 0;
};
struct HealthTimedOut {
  std::string vm_id;
  std::int32_t last_status = 0;
  std::string last_error;
  std::int32_t probes = 0;
};
struct VmEnded {
  pb::VMExited exit;
  TimestampUs now = 0;
};
struct TimerDue {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  TimestampUs now = 0;
};
struct Retire {
  std::string by;
  std::string reason;
  TimestampUs now = 0;
};
struct Cancel {
  std::string by;
};

using DeploymentCommand = std::variant<ReceivePush, Start, Supersede, Recover, Succeeded, Failed,
                                       HealthTimedOut, VmEnded, TimerDue, Retire, Cancel>;

// ---- effects: what the world still owes ----

struct CloneEffect {
  EffectId effect;
  TimestampUs deadline = 0;
};
struct BuildEffect {
  EffectId effect;
  TimestampUs deadline = 0;
};
struct PushImageEffect {
  EffectId effect;
};
struct PlaceVmEffect {
  EffectId effect;
};
struct StartVmEffect {
  EffectId effect;
  std::string host;
};
struct ProbeEffect {
  std::string vm_id;
  TimestampUs deadline = 0;
};
// The VM shall run; its end is to be reported.
struct KeepVmEffect {
  std::string vm_id;
  std::string host;
};
// The hostnames belong to this deployment; without an upstream they answer 503 with the reason.
struct ClaimRouteEffect {
  EffectId effect;  // set while Routed is owed, else empty
  std::uint64_t generation = 0;
  bool has_upstream = false;
  std::string unavailable_reason;
  friend bool operator==(const ClaimRouteEffect&, const ClaimRouteEffect&) = default;
};
struct DrainEffect {
  EffectId effect;
  std::string vm_id;
  TimestampUs deadline = 0;
};
struct StopVmEffect {
  EffectId effect;
  std::string vm_id;
  std::string host;
};
struct TimerEffect {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  TimestampUs due = 0;
};
// End the step that this effect stands for; its outcome is still owed.
struct AbortEffect {
  EffectId effect;
};

using Effect = std::variant<CloneEffect, BuildEffect, PushImageEffect, PlaceVmEffect, StartVmEffect,
                            ProbeEffect, KeepVmEffect, ClaimRouteEffect, DrainEffect, StopVmEffect,
                            TimerEffect, AbortEffect>;

// A stable name of the effect ("build d2ab…-v4"): an effect of the same key is not begun twice.
[[nodiscard]] std::string key_of(const Effect& effect);

// The events that the command leads to; conflict when the state does not allow it. An empty list is
// a success that changes nothing.
[[nodiscard]] Result<std::vector<pb::Event>> decide(const DeploymentState& state,
                                                    const DeploymentCommand& command);
// Total: never fails, never looks outside.
void evolve(DeploymentState& state, const pb::Event& event);
[[nodiscard]] std::vector<Effect> outstanding(const DeploymentState& state);

}  // namespace atlasflow
