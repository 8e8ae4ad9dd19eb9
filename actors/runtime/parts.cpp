#include "actors/runtime/parts.hpp"

#include <algorithm>
#include <utility>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

struct ProjectorState {
  std::vector<RecordBatch> late;  // in the simulator: what is applied a second later
  const char* name = "projector";
};

// Applies what is committed to the read model. One per read model; today there is one.
record_sink::behavior_type projector(record_sink::stateful_pointer<ProjectorState> self,
                                     storage::Catalog* catalog, const std::string& throw_after) {
  end_of_exceptions(self);
  return {[self, catalog, throw_after](const RecordBatch& batch) {
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
        if (!throw_after.empty() && storage::event_name(record.event) == throw_after) {
          throw std::runtime_error("a test asked for it");
        }
        if (record.position > catalog->position()) catalog->apply(record);
      }
    }
  }};
}

// Which intents a start has found without an outcome.
void probe_recovery(const DeploymentState& state) {
  const auto owes = [&](IntentKind kind) { return state.awaits(kind); };
  const auto any = [&](auto holds) {
    return std::any_of(state.instances.begin(), state.instances.end(),
                       [&](const auto& item) { return holds(item.second); });
  };
  ATLAS_PROBE(owes(IntentKind::clone), "a start found a clone without an outcome");
  ATLAS_PROBE(owes(IntentKind::build), "a start found a build without an outcome");
  ATLAS_PROBE(owes(IntentKind::push_image), "a start found an image push without an outcome");
  ATLAS_PROBE(owes(IntentKind::release), "a start found a release command without an outcome");
  ATLAS_PROBE(owes(IntentKind::route), "a start found a route without an outcome");
  ATLAS_PROBE(any([](const Instance& i) { return i.in<phase::Placing>(); }),
              "a start found a placement without an outcome");
  ATLAS_PROBE(any([](const Instance& i) { return i.in<phase::Starting>(); }),
              "a start found a VM's start without an outcome");
  ATLAS_PROBE(any([](const Instance& i) { return i.in<phase::Stopping>(); }),
              "a start found a VM's stop without an outcome");
  ATLAS_PROBE(state.retry || any([](const Instance& i) { return i.retry() != nullptr; }),
              "a start found a retry whose time had not come");
  ATLAS_PROBE(any([](const Instance& i) { return i.is_up() && i.leaving && !i.has_drained(); }),
              "a start found a drain without an outcome");
  ATLAS_PROBE(any([](const Instance& i) { return i.is_up() && !i.has_served() && !i.leaving; }),
              "a start found a VM whose health was awaited");
  ATLAS_PROBE(state.status == DeploymentStatus::cancelling, "a start found a cancel half done");
  ATLAS_PROBE(state.status == DeploymentStatus::failing, "a start found a failure half done");
}

std::vector<std::string> values_of_processes_before(storage::SecretStore& secrets) {
  auto refs = secrets.refs();
  if (refs) return *std::move(refs);
  log_event(LogLevel::warn, "root", "sealed_values_unlisted", {{"error", to_string(refs.error())}});
  return {};
}

RootConfig root_config_of(const Parts& parts, const PartsConfig& config) {
  RootConfig root_config;
  root_config.core = {{"directory of projects", caf::actor_cast<caf::actor>(parts.projects)},
                      {"directory of deployments", caf::actor_cast<caf::actor>(parts.deployments)},
                      {"builder pool", caf::actor_cast<caf::actor>(parts.builders)},
                      {"VM hosts", caf::actor_cast<caf::actor>(parts.hosts)},
                      {"edge supervisor", caf::actor_cast<caf::actor>(parts.edge)},
                      {"timers", caf::actor_cast<caf::actor>(parts.timers)},
                      {"read model", caf::actor_cast<caf::actor>(parts.projector)},
                      {"log reader", caf::actor_cast<caf::actor>(parts.log_reader)},
                      {"log writer", caf::actor_cast<caf::actor>(parts.log_writer)}};
  root_config.reconciler = {config.engines, config.catalog, parts.log_writer};
  root_config.janitor = {config.engines.build, config.engines.hosts,
                         config.log,           config.catalog,
                         config.rollbacks,     config.spawn,
                         config.secrets,       values_of_processes_before(*config.secrets)};
  root_config.notifier = {config.engines.notify, config.engines.clock, parts.log_reader,
                          parts.log_writer,      config.domain,        config.spawn};
  root_config.domains = {config.engines.domains, config.engines.clock, parts.log_reader,
                         parts.log_writer,       parts.edge,           config.domain,
                         config.domains,         config.spawn};
  root_config.clock = config.engines.clock;
  root_config.log_writer = parts.log_writer;
  root_config.spawn = config.spawn;
  root_config.faults = config.faults;
  root_config.part_died = config.part_died;
  root_config.log_died = config.fatal;
  return root_config;
}

}  // namespace

std::vector<caf::actor> Parts::in_stop_order() const {
  return {caf::actor_cast<caf::actor>(projects),    root,
          caf::actor_cast<caf::actor>(deployments), caf::actor_cast<caf::actor>(builders),
          caf::actor_cast<caf::actor>(hosts),       caf::actor_cast<caf::actor>(edge),
          caf::actor_cast<caf::actor>(timers),      caf::actor_cast<caf::actor>(projector),
          caf::actor_cast<caf::actor>(log_reader),  caf::actor_cast<caf::actor>(log_writer)};
}

Parts spawn_parts(caf::actor_system& system, const PartsConfig& config) {
  Parts parts;
  auto* clock = config.engines.clock;
  const LogWriterConfig writer{config.log, clock, config.fatal, config.crash_after};
  parts.log_writer = config.spawn.detach_blocking ? system.spawn<caf::detached>(log_writer, writer)
                                                  : system.spawn(log_writer, writer);
  parts.log_reader = config.spawn.detach_blocking
                         ? system.spawn<caf::detached>(log_reader, config.log)
                         : system.spawn(log_reader, config.log);
  parts.projector = system.spawn(projector, config.catalog, config.throw_after);
  parts.timers = system.spawn(timers, clock);
  parts.builders = system.spawn(
      builder_pool, BuilderPoolConfig{config.engines.build, clock, config.builders, config.spawn});
  parts.hosts = system.spawn(vm_hosts, VmHostsConfig{config.engines.hosts, clock, config.spawn});
  const EdgeActorConfig edge_config{config.engines.edge, clock, config.spawn};
  parts.edge = config.spawn.detach_blocking
                   ? system.spawn<caf::detached>(edge_supervisor, edge_config)
                   : system.spawn(edge_supervisor, edge_config);
  parts.deployments =
      system.spawn(deployments, DeploymentWiring{parts.log_writer, parts.timers, parts.builders,
                                                 parts.hosts, parts.edge, parts.log_reader,
                                                 LogEnd{config.log}, clock, config.domain});
  parts.projects =
      system.spawn(projects, ProjectWiring{parts.log_writer, parts.log_reader, LogEnd{config.log},
                                           parts.deployments, clock, config.rollbacks});
  caf::anon_send(parts.log_writer, parts.projector);
  caf::anon_send(parts.log_writer, caf::actor_cast<record_sink>(parts.projects));
  parts.root = system.spawn(root, root_config_of(parts, config));
  // Nobody stands above the root: its own death is told by what it leaves behind.
  caf::actor_cast<caf::abstract_actor*>(parts.root)
      ->attach_functor([part_died = config.part_died](const caf::error& reason) {
        if (is_orderly(reason)) return;
        part_died(
            Error{ErrorCode::internal, "the root supervisor died", to_string(from_caf(reason))});
      });
  return parts;
}

void resume(const Parts& parts, const std::string& domain, const storage::Catalog& catalog,
            const StartFolds& folds) {
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
  claims.domains = hosts_of(*folds.domains, domain);
  // Even of nobody: what the edge still routes for the process before is to go.
  caf::anon_send(parts.edge, std::move(claims));
  log_event("root", "resuming", {{"unfinished", begun.ids.size()}});
  caf::anon_send(parts.deployments, std::move(begun));
  caf::anon_send(parts.projects, BeginProjects{folds.histories, folds.position});
  caf::anon_send(parts.root, BeginNotifying{folds.owed, folds.position});
  caf::anon_send(parts.root, BeginDomains{folds.domains, folds.position});
}

}  // namespace atlasflow::actors
