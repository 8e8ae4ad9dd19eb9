#include "actors/upkeep/reconciler.hpp"

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_period = std::chrono::seconds(60);

std::string_view name_of(WorldThing::Kind kind) {
  switch (kind) {
    case WorldThing::Kind::build:
      return "build";
    case WorldThing::Kind::checkout:
      return "checkout";
    case WorldThing::Kind::vm:
      break;
  }
  return "vm";
}

std::set<WorldThing> explained(const storage::Catalog& catalog, bool own_builds) {
  std::set<WorldThing> things;
  for (const auto& view : catalog.active_deployments()) {
    const auto& state = view.state;
    things.insert({WorldThing::Kind::checkout, HostId{}, state.id.str()});
    if (own_builds && state.intent_kind == IntentKind::build) {
      things.insert({WorldThing::Kind::build, HostId{}, state.build.str()});
    }
    // A VM is known by its name alone: on which host it is says the world.
    for (const auto& [slot, instance] : state.instances) {
      things.insert({WorldThing::Kind::vm, HostId{}, instance.vm_id().str()});
    }
    things.insert({WorldThing::Kind::vm, HostId{}, state.release_vm.str()});
  }
  return things;
}

}  // namespace

std::vector<WorldThing> unexplained(const Engines& engines, const storage::Catalog& catalog,
                                    bool own_builds) {
  std::vector<WorldThing> world;
  for (auto& remains : engines.build->inventory()) {
    const auto kind = remains.kind == SourceRemains::Kind::build ? WorldThing::Kind::build
                                                                 : WorldThing::Kind::checkout;
    world.push_back({kind, HostId{}, std::move(remains.name)});
  }
  for (const auto& [host, engine] : engines.hosts) {
    // One that does not answer must hold up neither a start nor the others; it is looked at when
    // it is back.
    if (!engine->ping()) {
      ATLAS_PROBE(true, "a host that did not answer was left out of the comparison");
      continue;
    }
    for (const auto& vm_id : engine->list()) {
      world.push_back({WorldThing::Kind::vm, host, vm_id.str()});
    }
  }
  // After the look at the world: what is begun in between is explained by then.
  const auto known = explained(catalog, own_builds);
  std::erase_if(world, [&known](const WorldThing& thing) {
    return known.contains({thing.kind, HostId{}, thing.name});
  });
  return world;
}

std::optional<pb::Event> reap(const Engines& engines, const WorldThing& thing) {
  switch (thing.kind) {
    case WorldThing::Kind::build:
      engines.build->reap({SourceRemains::Kind::build, thing.name});
      break;
    case WorldThing::Kind::checkout:
      engines.build->reap({SourceRemains::Kind::checkout, thing.name});
      break;
    case WorldThing::Kind::vm:
      if (const auto stopped = engines.hosts.at(thing.host)->stop(VmId{thing.name}); !stopped) {
        log_event(LogLevel::error, "reconciler", "orphan_not_reaped",
                  {{"vm", thing.name}, {"error", to_string(stopped.error())}});
        return std::nullopt;
      }
      break;
  }
  log_event(LogLevel::warn, "reconciler", "orphan_reaped",
            {{"kind", name_of(thing.kind)}, {"name", thing.name}});
  pb::Event event;
  event.mutable_orphan_reaped()->set_kind(std::string(name_of(thing.kind)));
  event.mutable_orphan_reaped()->set_name(thing.name);
  return event;
}

void ReconcilerState::compare(reconciler_actor::pointer self) {
  std::vector<pb::Event> events;
  std::set<WorldThing> seen;
  for (auto& thing : unexplained(config.engines, *config.catalog, true)) {
    if (!suspects.contains(thing)) {
      ATLAS_PROBE(true, "something was there that no deployment explains");
      seen.insert(std::move(thing));
    } else if (auto event = reap(config.engines, thing)) {
      ATLAS_PROBE(true, "something unexplained was ended at the second look");
      events.push_back(*std::move(event));
    } else {
      ATLAS_PROBE(true, "something unexplained could not be ended");
      seen.insert(std::move(thing));
    }
  }
  ATLAS_PROBE(events.empty() && seen.empty() && !suspects.empty(),
              "what was unexplained was explained at the second look");
  suspects = std::move(seen);
  if (!events.empty()) write_to_node(self, config.log_writer, std::move(events));
  const bool late = ATLAS_BUGGIFY("the reconciler's next look is a minute late");
  self->delayed_send(self, late ? 2 * k_period : k_period, Tick{});
}

reconciler_actor::behavior_type reconciler(reconciler_actor::stateful_pointer<ReconcilerState> self,
                                           ReconcilerConfig config) {
  end_of_exceptions(self);
  self->state.config = std::move(config);
  self->delayed_send(self, k_period, Tick{});
  return {[self](const Tick&) { self->state.compare(self); }};
}

}  // namespace atlasflow::actors
