#include "actors/runtime/parts.hpp"

#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>

#include "base/buggify.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

struct ProjectorState {
  std::vector<RecordBatch> late;  // in the simulator: what is applied a second later
  const char* name = "projector";
};

// Applies what is committed to the read model. One per read model; today there is one.
record_sink::behavior_type projector(record_sink::stateful_pointer<ProjectorState> self,
                                     storage::Catalog* catalog) {
  return {[self, catalog](const RecordBatch& batch) {
    auto& late = self->state.late;
    if (batch.records != nullptr) {
      late.push_back(batch);
      if (late.size() > 1) return;  // It comes with those before it.
      if (ATLAS_BUGGIFY("the read model lags a second behind the log")) {
        self->delayed_send(self, std::chrono::seconds(1), RecordBatch{});
        return;
      }
    }
    for (const auto& each : std::exchange(late, {})) {
      for (const auto& record : *each.records) {
        if (record.position > catalog->position()) catalog->apply(record);
      }
    }
  }};
}

// Watches the parts. One that dies could not be restarted where it stands: its handles are
// everywhere and what it held is a fold of the log, so the whole process starts anew.
caf::behavior root_actor(caf::event_based_actor* self, const std::vector<caf::actor>& parts,
                         const std::function<void(const Error&)>& fatal) {
  for (const auto& part : parts) self->monitor(part);
  self->set_down_handler([fatal](const caf::down_msg& down) {
    if (down.reason == caf::exit_reason::user_shutdown || down.reason == caf::exit_reason::kill ||
        down.reason == caf::exit_reason::normal) {
      return;
    }
    fatal(Error{ErrorCode::internal, "a part of the control plane died; start it again",
                caf::to_string(down.reason)});
  });
  return {[](const Tick&) {}};
}

// Which intents a start has found without an outcome.
void probe_recovery(const DeploymentState& state) {
  const auto owes = [&](IntentKind kind) { return state.intent_kind == kind; };
  const auto any = [&](auto holds) {
    return std::any_of(state.instances.begin(), state.instances.end(),
                       [&](const auto& item) { return holds(item.second); });
  };
  const auto vm_owes = [&](InstanceIntent intent) {
    return any([&](const Instance& instance) { return instance.intent == intent; });
  };
  ATLAS_PROBE(owes(IntentKind::clone), "a start found a clone without an outcome");
  ATLAS_PROBE(owes(IntentKind::build), "a start found a build without an outcome");
  ATLAS_PROBE(owes(IntentKind::push_image), "a start found an image push without an outcome");
  ATLAS_PROBE(owes(IntentKind::release), "a start found a release command without an outcome");
  ATLAS_PROBE(owes(IntentKind::route), "a start found a route without an outcome");
  ATLAS_PROBE(vm_owes(InstanceIntent::place), "a start found a placement without an outcome");
  ATLAS_PROBE(vm_owes(InstanceIntent::start), "a start found a VM's start without an outcome");
  ATLAS_PROBE(vm_owes(InstanceIntent::stop), "a start found a VM's stop without an outcome");
  ATLAS_PROBE(state.retry || any([](const Instance& i) { return i.retry.has_value(); }),
              "a start found a retry whose time had not come");
  ATLAS_PROBE(any([](const Instance& i) { return i.is_up() && i.leaving && !i.drained; }),
              "a start found a drain without an outcome");
  ATLAS_PROBE(any([](const Instance& i) { return i.is_up() && !i.was_healthy && !i.leaving; }),
              "a start found a VM whose health was awaited");
  ATLAS_PROBE(state.status == DeploymentStatus::cancelling, "a start found a cancel half done");
  ATLAS_PROBE(state.status == DeploymentStatus::failing, "a start found a failure half done");
}

std::vector<std::string> values_of_processes_before(storage::SecretStore& secrets) {
  auto refs = secrets.refs();
  if (refs) return *std::move(refs);
  spdlog::warn("part=root event=sealed_values_unlisted error=\"{}\"", to_string(refs.error()));
  return {};
}

}  // namespace

std::vector<caf::actor> Parts::in_stop_order() const {
  return {caf::actor_cast<caf::actor>(projects),    caf::actor_cast<caf::actor>(janitor),
          caf::actor_cast<caf::actor>(deployments), caf::actor_cast<caf::actor>(builders),
          caf::actor_cast<caf::actor>(hosts),       caf::actor_cast<caf::actor>(edge),
          caf::actor_cast<caf::actor>(reconciler),  caf::actor_cast<caf::actor>(timers),
          caf::actor_cast<caf::actor>(notifier),    caf::actor_cast<caf::actor>(projector),
          caf::actor_cast<caf::actor>(log_writer),  root};
}

Parts spawn_parts(caf::actor_system& system, const PartsConfig& config) {
  Parts parts;
  auto* clock = config.engines.clock;
  const LogWriterConfig writer{config.log, clock, config.fatal, config.crash_after};
  parts.log_writer = config.spawn.detach_blocking ? system.spawn<caf::detached>(log_writer, writer)
                                                  : system.spawn(log_writer, writer);
  parts.projector = system.spawn(projector, config.catalog);
  parts.timers = system.spawn(timers, clock);
  parts.builders = system.spawn(
      builder_pool, BuilderPoolConfig{config.engines.build, clock, config.builders, config.spawn});
  parts.hosts = system.spawn(vm_hosts, VmHostsConfig{config.engines.hosts, clock, config.spawn});
  const EdgeActorConfig edge_config{config.engines.edge, clock, config.spawn};
  parts.edge = config.spawn.detach_blocking
                   ? system.spawn<caf::detached>(edge_supervisor, edge_config)
                   : system.spawn(edge_supervisor, edge_config);
  parts.deployments = system.spawn(
      deployments, DeploymentWiring{parts.log_writer, parts.timers, parts.builders, parts.hosts,
                                    parts.edge, config.log, clock, config.domain});
  parts.projects = system.spawn(
      projects, ProjectWiring{parts.log_writer, parts.deployments, clock, config.rollbacks},
      config.log);
  const ReconcilerConfig reconciling{config.engines, config.catalog, config.log, parts.log_writer};
  parts.reconciler = config.spawn.detach_blocking
                         ? system.spawn<caf::detached>(reconciler, reconciling)
                         : system.spawn(reconciler, reconciling);
  parts.janitor = system.spawn(
      janitor, JanitorConfig{config.engines.build, config.engines.hosts, config.log, config.catalog,
                             config.rollbacks, config.spawn, config.secrets,
                             values_of_processes_before(*config.secrets)});
  parts.notifier =
      system.spawn(notifier, NotifierConfig{config.engines.notify, clock, config.log,
                                            parts.log_writer, config.domain, config.spawn});
  auto watched = parts.in_stop_order();
  watched.pop_back();
  parts.root = system.spawn(root_actor, watched, config.fatal);
  caf::anon_send(parts.log_writer, parts.projector);
  caf::anon_send(parts.log_writer, caf::actor_cast<record_sink>(parts.projects));
  caf::anon_send(parts.log_writer, caf::actor_cast<record_sink>(parts.janitor));
  caf::anon_send(parts.log_writer, caf::actor_cast<record_sink>(parts.notifier));
  return parts;
}

void resume(const Parts& parts, const storage::Catalog& catalog) {
  Resume begun;
  ExpectClaims claims;
  for (const auto& view : catalog.active_deployments()) {
    ATLAS_PROBE(view.state.status == DeploymentStatus::queued,
                "a start found a deployment that waits for its turn");
    if (view.state.status == DeploymentStatus::queued) continue;
    begun.ids.push_back(view.state.id);
    probe_recovery(view.state);
    const auto owed = outstanding(view.state);
    if (std::any_of(owed.begin(), owed.end(), [](const Effect& effect) {
          return std::holds_alternative<ClaimRouteEffect>(effect);
        })) {
      claims.ids.push_back(view.state.id);
    }
  }
  // Even of nobody: what the edge still routes for the process before is to go.
  caf::anon_send(parts.edge, std::move(claims));
  spdlog::info("part=root event=resuming unfinished={}", begun.ids.size());
  caf::anon_send(parts.deployments, std::move(begun));
  caf::anon_send(parts.projects, BeginProjects{});
  caf::anon_send(parts.notifier, BeginNotifying{});
}

}  // namespace atlasflow::actors
