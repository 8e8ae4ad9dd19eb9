// The events of a deployment's stream, as a visitor and as rules about which may follow what. Pure.
#pragma once

#include <string>

#include "events/deployment.hpp"

namespace atlasflow {

// All of them: the name of the case in pb::Event, and of the accessor. An event that is added to
// this list does not compile until every visitor has taken it.
#define ATLAS_DEPLOYMENT_EVENTS(EVENT)                     \
  EVENT(kPushReceived, push_received)                      \
  EVENT(kRollbackRequested, rollback_requested)            \
  EVENT(kRedeployRequested, redeploy_requested)            \
  EVENT(kCloneStarted, clone_started)                      \
  EVENT(kCloned, cloned)                                   \
  EVENT(kCloneFailed, clone_failed)                        \
  EVENT(kBuildStarted, build_started)                      \
  EVENT(kBuilt, built)                                     \
  EVENT(kBuildFailed, build_failed)                        \
  EVENT(kBuildTimedOut, build_timed_out)                   \
  EVENT(kBuildAbandoned, build_abandoned)                  \
  EVENT(kBuilderLost, builder_lost)                        \
  EVENT(kImagePushStarted, image_push_started)             \
  EVENT(kImagePushed, image_pushed)                        \
  EVENT(kImagePushFailed, image_push_failed)               \
  EVENT(kReleaseStarted, release_started)                  \
  EVENT(kReleaseSucceeded, release_succeeded)              \
  EVENT(kReleaseFailed, release_failed)                    \
  EVENT(kVmPlacementRequested, vm_placement_requested)     \
  EVENT(kVmPlaced, vm_placed)                              \
  EVENT(kCapacityExhausted, capacity_exhausted)            \
  EVENT(kVmStartRequested, vm_start_requested)             \
  EVENT(kVmStarted, vm_started)                            \
  EVENT(kVmStartFailed, vm_start_failed)                   \
  EVENT(kHealthy, healthy)                                 \
  EVENT(kHealthCheckFailed, health_check_failed)           \
  EVENT(kHealthDeadlineExceeded, health_deadline_exceeded) \
  EVENT(kBecameUnhealthy, became_unhealthy)                \
  EVENT(kBecameHealthy, became_healthy)                    \
  EVENT(kUnhealthyTooLong, unhealthy_too_long)             \
  EVENT(kVmExited, vm_exited)                              \
  EVENT(kVmHostLost, vm_host_lost)                         \
  EVENT(kVmStopRequested, vm_stop_requested)               \
  EVENT(kVmStopped, vm_stopped)                            \
  EVENT(kVmRestarting, vm_restarting)                      \
  EVENT(kCrashLoopDetected, crash_loop_detected)           \
  EVENT(kDrainRequested, drain_requested)                  \
  EVENT(kDrained, drained)                                 \
  EVENT(kRouteChangeRequested, route_change_requested)     \
  EVENT(kRouted, routed)                                   \
  EVENT(kRouteFailed, route_failed)                        \
  EVENT(kRetryScheduled, retry_scheduled)                  \
  EVENT(kTimerFired, timer_fired)                          \
  EVENT(kScaleRequested, scale_requested)                  \
  EVENT(kStopRequested, stop_requested)                    \
  EVENT(kStartRequested, start_requested)                  \
  EVENT(kCancelRequested, cancel_requested)                \
  EVENT(kRetirementRequested, retirement_requested)        \
  EVENT(kDeploymentSuperseded, deployment_superseded)      \
  EVENT(kDeploymentCancelled, deployment_cancelled)        \
  EVENT(kDeploymentSkipped, deployment_skipped)            \
  EVENT(kDeploymentFailed, deployment_failed)              \
  EVENT(kDeploymentRetired, deployment_retired)

// visitor(message) for the message in the event, and visitor(event) for one that is no part of a
// deployment's stream, such as a later type.
template <typename Visitor>
decltype(auto) visit_deployment_event(const pb::Event& event, const Visitor& visitor) {
  switch (event.kind_case()) {
#define ATLAS_VISIT(kind, message) \
  case pb::Event::kind:            \
    return visitor(event.message());
    ATLAS_DEPLOYMENT_EVENTS(ATLAS_VISIT)
#undef ATLAS_VISIT
    default:
      return visitor(event);
  }
}

// One of the five after which no event follows.
[[nodiscard]] bool ends_deployment(const pb::Event& event);
[[nodiscard]] bool ends_deployment(pb::Event::KindCase kind);

// Why the event may not follow in the state's stream, as a sentence; empty when it may. Of events
// that are to be appended: a log that an older build wrote may have what is a violation by now.
[[nodiscard]] std::string violation(const DeploymentState& state, const pb::Event& event);

}  // namespace atlasflow
