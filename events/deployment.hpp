// One deployment: its state as a fold of its stream, what may be commanded, and what the world
// still owes it. Pure functions over values: no clock, no randomness, no I/O. The time and the
// place in the log come with the command, as a Moment.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "events/instance.hpp"
#include "events/principal.hpp"

namespace atlasflow {

// Where a deployment stands, as users see it.
enum class DeploymentStatus : std::uint8_t {
  absent,  // no event yet
  queued,  // received, not started
  cloning,
  building,
  pushing,    // the image goes to the registry
  releasing,  // the release command runs
  starting,   // VMs are placed and started
  checking,   // VMs run; not all of them have answered 2xx
  routing,
  live,
  restarting,  // was live, its last VM ended, another comes
  crashed,     // was live and crashed too often in a row; nothing is started any more
  stopping,    // its owner stops it
  stopped,     // by its owner, who may start it again
  retiring,    // a newer one took over; drains and stops
  failing,     // failed; what it left is being stopped
  cancelling,
  failed,  // these five are terminal: no event follows
  superseded,
  cancelled,
  skipped,  // none of the watched paths changed
  retired,
};

[[nodiscard]] std::string_view name_of(DeploymentStatus status);
[[nodiscard]] std::string_view name_of(pb::Step step);
[[nodiscard]] std::string_view name_of(pb::Fault fault);
[[nodiscard]] bool is_terminal(DeploymentStatus status);
// It has the project's traffic or may get it back by itself: live, restarting, crashed, stopping,
// stopped.
[[nodiscard]] bool is_serving(DeploymentStatus status);
// Started and neither serving nor at its end: it holds its environment's turn.
[[nodiscard]] bool is_under_way(DeploymentStatus status);
// Cancelled, failed or retired, and still holding something.
[[nodiscard]] bool is_on_its_way_out(DeploymentStatus status);

inline constexpr std::int32_t k_replicas_max = 32;

struct Failure {
  pb::Step step = pb::STEP_UNSPECIFIED;
  pb::Fault fault = pb::FAULT_UNSPECIFIED;
  std::string reason;
};

// What a step of the deployment as a whole is about.
enum class IntentKind : std::uint8_t { clone, build, push_image, release, route };

// The step in progress of the deployment as a whole: it has begun, and its outcome is owed.
struct Intent {
  IntentKind kind = IntentKind::clone;
  EffectId effect;
  TimestampUs deadline = 0;  // 0: none
  friend bool operator==(const Intent&, const Intent&) = default;
};

struct DeploymentState {
  DeploymentId id;
  StreamVersion version;
  DeploymentStatus status = DeploymentStatus::absent;
  pb::PushReceived push;  // with the settings in force: the project's, then the repository's

  // How it came to be, when no push made it.
  std::string rollback_to;    // deployment whose image, settings and env it restores
  std::string redeployed_of;  // deployment that is deployed again
  pb::Redeployment redeployment = pb::REDEPLOYMENT_UNSPECIFIED;
  std::string requested_by;

  std::string subject;  // of the commit
  std::string author;
  std::vector<std::string> notices;
  bool cloned = false;
  std::string skip_reason;
  EffectId build;  // names the newest build's log
  std::string image_id;
  std::string stack;
  std::string toolchain;                   // what built it, with versions
  std::vector<pb::BaseImage> base_images;  // what it was built from, by digest
  std::vector<pb::EarlierBuild> earlier;   // what its build may take, until it has its image
  std::string reused_from;                 // the deployment that built its image, when it did not
  ImageRef image;
  bool release_owed = false;  // once there is an image
  VmId release_vm;            // of a release command, until it has been stopped
  VmId newest_release_vm;     // names the newest release log

  std::map<std::int32_t, Instance> instances;  // by slot
  std::int32_t replicas = 1;
  VmId newest_vm_id;  // names the newest run log; stays when the VM is gone
  std::vector<std::string> hostnames;
  std::uint64_t generation = 0;  // of its claim on the hostnames; 0: none
  bool routed = false;           // Routed has been recorded
  TimestampUs routed_at = 0;
  std::int32_t restarts = 0;   // of VMs since it went live
  bool crashed_early = false;  // within its auto-rollback time after Routed
  std::string stopped_by;      // its owner wants it stopped

  std::optional<Intent> intent;  // none between steps
  std::string base_sha;          // of the clone: what watched paths are compared with
  std::map<pb::Step, std::int32_t> attempts;
  std::optional<Retry> retry;
  std::optional<Failure> failure;
  std::string cancelled_by;
  std::string cancel_reason;  // of one that nobody named
  std::string superseded_by;
  std::string retired_by;
  std::string retire_reason;

  // The lowest slot's, or null.
  [[nodiscard]] const Instance* first_instance() const {
    return instances.empty() ? nullptr : &instances.begin()->second;
  }
  [[nodiscard]] const Instance* instance_of(const VmId& vm_id) const;
  // The outcome of such a step is owed; of the step that this effect stands for.
  [[nodiscard]] bool awaits(IntentKind kind) const { return intent && intent->kind == kind; }
  [[nodiscard]] bool awaits(const EffectId& effect) const {
    return intent && intent->effect == effect;
  }
  // It runs what an earlier deployment built.
  [[nodiscard]] bool reuses_image() const { return !rollback_to.empty() || !redeployed_of.empty(); }
};

// ---- commands ----

// When a command is decided. `log_position` is the log's last position then: the generation of a
// route claim. `domain` ends the hostnames.
struct Moment {
  TimestampUs now = 0;
  std::uint64_t log_position = 0;
  std::string domain;
};

struct ReceivePush {
  pb::PushReceived push;
  Principal by;
};
struct RequestRollback {
  pb::RollbackRequested request;
  Principal by;
};
struct RequestRedeploy {
  pb::RedeployRequested request;
  Principal by;
};
// The project's turn has come to this deployment. base_sha: the commit that is live, for watched
// paths. earlier: what its build may take, the newest first.
struct Start {
  std::string base_sha;
  std::vector<pb::EarlierBuild> earlier = {};
};
// Of one that waits for its turn.
struct Supersede {
  DeploymentId by;
};
// Of one that is under way: it is cancelled and ends as superseded.
struct Override {
  DeploymentId by;
};
// A new control plane took over: what the old one was doing inside its own process is gone.
struct Recover {};
// The outcome of the effect with this id. Outcomes of other effects are refused as stale. The event
// is one of Cloned, Built, ImagePushed, ReleaseSucceeded, VMPlaced, VMStarted, Healthy, Routed,
// Drained, VMStopped; of Healthy and Drained the effect is the VM's id.
struct Succeeded {
  EffectId effect;
  pb::Event outcome;
};
struct Failed {
  EffectId effect;
  pb::Step step = pb::STEP_UNSPECIFIED;
  pb::Fault fault = pb::FAULT_UNSPECIFIED;
  bool retryable = false;
  bool timed_out = false;
  bool no_capacity = false;  // the host has no room for a VM now
  std::string lost_builder;  // set: the builder died or hung
  std::int32_t exit_code = 0;
  std::string reason;
};
struct HealthTimedOut {
  VmId vm_id;
  std::int32_t last_status = 0;
  std::string last_error;
  std::int32_t probes = 0;
};
// The app answers otherwise than before: another bad status before its first 2xx, or good and bad
// after it.
struct HealthChanged {
  VmId vm_id;
  bool healthy = false;
  std::int32_t status = 0;
  std::string error;
};
struct VmEnded {
  pb::VMExited exit;
};
// The host does not answer any more, and its VMs are given up.
struct VmHostGone {
  HostId host;
};
struct TimerDue {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  std::int32_t slot = 0;
};
// The step that this effect stands for had until now.
struct DeadlinePassed {
  EffectId effect;
};
struct Retire {
  Principal by;
  DeploymentId successor;  // that took over; empty: none did
  std::string reason;
};
struct Cancel {
  Principal by;
  std::string reason = {};  // of one that nobody named: "the branch was deleted"
};
struct Scale {
  std::int32_t replicas = 1;
  Principal by;
};
struct StopApp {
  Principal by;
};
struct StartApp {
  Principal by;
};

using DeploymentCommand =
    std::variant<ReceivePush, RequestRollback, RequestRedeploy, Start, Supersede, Override, Recover,
                 Succeeded, Failed, HealthTimedOut, HealthChanged, VmEnded, VmHostGone, TimerDue,
                 DeadlinePassed, Retire, Cancel, Scale, StopApp, StartApp>;

// Who is behind it: whom the command names, or the part of the system that tells of it by itself.
[[nodiscard]] Principal asked_by(const DeploymentCommand& command);

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
  TimestampUs deadline = 0;
};
struct RunReleaseEffect {
  EffectId effect;  // names its VM
  TimestampUs deadline = 0;
};
struct PlaceVmEffect {
  EffectId effect;
};
struct StartVmEffect {
  EffectId effect;  // names the VM
  HostId host;
  std::int32_t slot = 0;
  TimestampUs deadline = 0;
};
struct ProbeEffect {
  VmId vm_id;
  HostId host;
  TimestampUs deadline = 0;
};
// The VM shall run; its end is to be reported, and, once it has been healthy, when that changes.
struct KeepVmEffect {
  VmId vm_id;
  HostId host;
  bool was_healthy = false;
  bool healthy = false;
};
struct ClaimedUpstream {
  VmId vm_id;
  std::string address;
  std::int32_t port = 0;
  friend bool operator==(const ClaimedUpstream&, const ClaimedUpstream&) = default;
};
// The hostnames belong to this deployment; without an upstream they answer 503 with the reason.
struct ClaimRouteEffect {
  EffectId effect;  // set while Routed is owed, else empty
  std::uint64_t generation = 0;
  std::vector<ClaimedUpstream> upstreams;
  std::string unavailable_reason;
  friend bool operator==(const ClaimRouteEffect&, const ClaimRouteEffect&) = default;
};
struct DrainEffect {
  VmId vm_id;
  TimestampUs deadline = 0;
};
struct StopVmEffect {
  EffectId effect;
  VmId vm_id;
  HostId host;
};
struct TimerEffect {
  pb::Step step = pb::STEP_UNSPECIFIED;
  std::int32_t attempt = 0;
  std::int32_t slot = 0;
  TimestampUs due = 0;
};
// Tell of it when the step has not come to an outcome by then: of steps whose doer may be one that
// never answers. Who does the other steps keeps their deadlines and answers in any case.
struct DeadlineEffect {
  EffectId effect;
  TimestampUs due = 0;
};
// End the step that this effect stands for; its outcome is still owed.
struct AbortEffect {
  EffectId effect;
};

using Effect =
    std::variant<CloneEffect, BuildEffect, PushImageEffect, RunReleaseEffect, PlaceVmEffect,
                 StartVmEffect, ProbeEffect, KeepVmEffect, ClaimRouteEffect, DrainEffect,
                 StopVmEffect, TimerEffect, DeadlineEffect, AbortEffect>;

// A stable name of the effect ("build d2ab…-v4"): an effect of the same key is not begun twice.
[[nodiscard]] std::string key_of(const Effect& effect);

// The events that the command leads to, and all that follow from them; conflict when the state does
// not allow it. An empty list is a success that changes nothing.
[[nodiscard]] Result<std::vector<pb::Event>> decide(const DeploymentState& state,
                                                    const DeploymentCommand& command,
                                                    const Moment& moment);
// Total: never fails, never looks outside.
void evolve(DeploymentState& state, const pb::Event& event);
[[nodiscard]] std::vector<Effect> outstanding(const DeploymentState& state);

// The event that follows from the state by itself, without a command: the next step, the next stop,
// the end; none when something is awaited. decide() repeats it until there is none.
[[nodiscard]] std::optional<pb::Event> next_event(const DeploymentState& state,
                                                  const Moment& moment);

// "<project>.<domain>" for production, "<branch>--<project>.<domain>" for a preview, and the
// deployment's own "<id>-<project>.<domain>" behind it.
[[nodiscard]] std::vector<std::string> hostnames_of(const DeploymentState& state,
                                                    const std::string& domain);

}  // namespace atlasflow
