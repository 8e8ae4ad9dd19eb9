// decide: which events a command leads to, and when it is refused. What somebody wants is in here,
// what the world reports in deployment_reports.cpp.
#include <algorithm>
#include <utility>

#include "base/assert.hpp"
#include "base/probe.hpp"
#include "events/deployment_decider.hpp"
#include "events/deployment_events.hpp"
#include "events/deployment_rules.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

using rules::Events;

struct Decider : rules::Reports {
  using rules::Reports::operator();

  // ---- how it begins ----

  [[nodiscard]] Result<void> can_begin(const pb::PushReceived& push) const {
    if (state.status != DeploymentStatus::absent) return refuse("a push has already made");
    if (is_commit_sha(push.after())) return {};
    return fail(ErrorCode::invalid_argument,
                "'" + push.after().substr(0, 80) + "' is no commit: give all 40 hex digits");
  }

  Result<Events> operator()(const ReceivePush& command) const {
    if (auto ok = can_begin(command.push); !ok) return tl::unexpected(ok.error());
    Events events(1);
    *events[0].mutable_push_received() = command.push;
    return events;
  }
  Result<Events> operator()(const RequestRollback& command) const {
    if (auto ok = can_begin(command.request.push()); !ok) return tl::unexpected(ok.error());
    if (command.request.built().reference().empty()) {
      return fail(ErrorCode::conflict, "deployment " + command.request.to() +
                                           " never had an image; roll back to another one");
    }
    Events events(1);
    *events[0].mutable_rollback_requested() = command.request;
    return events;
  }
  Result<Events> operator()(const RequestRedeploy& command) const {
    if (auto ok = can_begin(command.request.push()); !ok) return tl::unexpected(ok.error());
    Events events(1);
    *events[0].mutable_redeploy_requested() = command.request;
    return events;
  }

  Result<Events> operator()(const Start& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't start");
    Events events{rules::pipeline_step(state, moment)};
    if (events[0].has_clone_started()) {
      auto& started = *events[0].mutable_clone_started();
      started.set_base_sha(command.base_sha);
      // A fork builds in a store of its own.
      if (!state.push.no_cache() && !state.push.pull_request().from_fork()) {
        *started.mutable_earlier() = {command.earlier.begin(), command.earlier.end()};
      }
    }
    return events;
  }

  // ---- ends ----

  Result<Events> operator()(const Supersede& command) const {
    if (state.status != DeploymentStatus::queued) return refuse("can't supersede");
    Events events(1);
    events[0].mutable_deployment_superseded()->set_by(command.by.str());
    return events;
  }
  Result<Events> operator()(const Override& command) const {
    if (!is_under_way(state.status) || ending()) return refuse("can't override");
    Events events(1);
    events[0].mutable_cancel_requested()->set_by(Principal::system("project").str());
    events[0].mutable_cancel_requested()->set_superseded_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const Cancel& command) const {
    if (is_serving(state.status)) {
      return refuse("can't cancel", "; atlasflow stop or rollback ends what serves");
    }
    if (state.status != DeploymentStatus::queued && (!is_under_way(state.status) || ending())) {
      return refuse("can't cancel");
    }
    Events events(1);
    events[0].mutable_cancel_requested()->set_by(command.by.str());
    events[0].mutable_cancel_requested()->set_reason(command.reason);
    return events;
  }

  Result<Events> operator()(const Retire& command) const {
    if (!is_serving(state.status)) return refuse("can't retire");
    Events events(1);
    auto* request = events[0].mutable_retirement_requested();
    request->set_by(command.successor.empty() ? command.by.str() : command.successor.str());
    request->set_reason(command.reason);
    request->set_drain_deadline_us(drain_deadline());
    return events;
  }

  // ---- what the owner wants of what serves ----

  Result<Events> operator()(const Scale& command) const {
    if (command.replicas < 1 || command.replicas > k_replicas_max) {
      return fail(ErrorCode::invalid_argument, "a deployment has 1 to " +
                                                   std::to_string(k_replicas_max) +
                                                   " instances; atlasflow stop stops it");
    }
    if (!is_serving(state.status)) return refuse("can't scale");
    if (command.replicas == state.replicas) return Events{};
    Events events(1);
    auto* request = events[0].mutable_scale_requested();
    request->set_replicas(command.replicas);
    request->set_by(command.by.str());
    request->set_drain_deadline_us(drain_deadline());
    return events;
  }
  Result<Events> operator()(const StopApp& command) const {
    if (!is_serving(state.status)) return refuse("can't stop", "; atlasflow cancel ends it");
    if (!state.stopped_by.empty()) return Events{};
    Events events(1);
    events[0].mutable_stop_requested()->set_by(command.by.str());
    events[0].mutable_stop_requested()->set_drain_deadline_us(drain_deadline());
    return events;
  }
  Result<Events> operator()(const StartApp& command) const {
    if (!is_serving(state.status)) return refuse("can't start");
    const bool crashed = state.status == DeploymentStatus::crashed;
    if (state.stopped_by.empty() && !crashed) return Events{};
    Events events(1);
    events[0].mutable_start_requested()->set_by(command.by.str());
    return events;
  }

  // ---- a new control plane ----

  // Clone, push, release, VM start, route, drain and stop are idempotent by name and are simply
  // done again under the same intent. A build is not: it gets a new name.
  Result<Events> operator()(const Recover&) const {
    if (!state.awaits(IntentKind::build)) return Events{};
    Events events(1);
    const auto attempts = rules::attempts_of(state, pb::STEP_BUILD);
    if (attempts < rules::k_builds_cut_off_max || ending()) {
      events[0].mutable_build_abandoned()->set_reason(
          "the control plane was started anew while it ran");
    } else {
      ATLAS_PROBE(true, "a build was given up, since the control plane ended during its last try");
      auto* failed = events[0].mutable_build_failed();
      failed->set_fault(pb::FAULT_SYSTEM);
      failed->set_reason("the build was begun " + std::to_string(attempts) +
                         " times, and the control plane ended during the last; if the server was "
                         "not stopped then, its log says why; a redeploy tries again");
    }
    return events;
  }
};

// One command leads to a bounded number of events; more would be rules that feed each other.
constexpr std::size_t k_events_max = 1000;

}  // namespace

Result<Events> decide(const DeploymentState& state, const DeploymentCommand& command,
                      const Moment& moment) {
  auto events = std::visit(Decider{{{state, moment}}}, command);
  if (!events) return events;
  DeploymentState after = state;
  const auto follow = [&](const pb::Event& event) {
    const auto broken = violation(after, event);
    ATLAS_ASSERT(broken.empty(), "event " + std::to_string(event.kind_case()) + " for deployment " +
                                     state.id.str() + ": " + broken);
    evolve(after, event);
  };
  for (const auto& event : *events) follow(event);
  while (auto next = next_event(after, moment)) {
    ATLAS_ASSERT(events->size() < k_events_max, "a deployment's rules don't come to rest");
    follow(*next);
    events->push_back(*std::move(next));
  }
  return events;
}

}  // namespace atlasflow
