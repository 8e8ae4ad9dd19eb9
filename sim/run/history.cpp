#include "sim/run/history.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>

#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::size_t k_all = std::numeric_limits<std::size_t>::max();

void add_vms(World& world, const DeploymentState& state) {
  for (const auto& [slot, instance] : state.instances) {
    const auto* running = instance.vm();
    const auto* finished = std::get_if<phase::Finished>(&instance.phase);
    const auto* stopping = std::get_if<phase::Stopping>(&instance.phase);
    const bool over = (finished != nullptr && is_over(finished->end)) ||
                      (stopping != nullptr && stopping->end && is_over(*stopping->end));
    if (running == nullptr || over) continue;
    World::Vm vm;
    vm.starts = 1;
    vm.host = running->host;
    vm.project = state.push.project_name();
    vm.deployment = state.id.str();
    vm.image = state.image;
    world.disks.insert(vm.image);
    world.vms[running->id] = std::move(vm);
  }
}

// What was built, and what the registry was given, by any deployment.
void add_images(World& world, const DeploymentState& state) {
  if (state.image_id.empty()) return;
  if (!state.reuses_image()) world.images[state.image_id].insert(state.id);
  if (!state.image.empty()) world.registry[state.image] = state.image_id;
}

struct Claim {
  std::uint64_t generation = 0;
  actors::RouteClaim route;
};

// What the deployment has in the route table: nothing before Routed says that it is there.
void add_claims(std::map<std::string, Claim>& claims, const DeploymentState& state) {
  if (!state.routed) return;
  for (const auto& effect : outstanding(state)) {
    const auto* owed = std::get_if<ClaimRouteEffect>(&effect);
    if (owed == nullptr) continue;
    for (const auto& host : state.hostnames) {
      auto& claim = claims[host];
      if (claim.generation >= owed->generation) continue;
      claim.generation = owed->generation;
      claim.route = {host, state.push.project_name(), state.id.str(),
                     {},   owed->unavailable_reason,  actors::terms_of(state.push.settings())};
      for (const auto& upstream : owed->upstreams) {
        claim.route.upstreams.push_back({upstream.vm_id, {upstream.address, upstream.port}});
      }
    }
  }
}

}  // namespace

Result<History> history_from_log(const std::filesystem::path& folder, Position position) {
  ATLAS_TRY(const auto log, storage::open_event_log_for_reading(folder));
  ATLAS_TRYV(storage::verify(*log));
  return history_of(*log, position);
}

Result<History> history_of(const storage::EventLog& log, Position position) {
  const auto last = log.last_position();
  if (position > last) {
    return fail(ErrorCode::invalid_argument,
                fmt::format("the event log ends at position {}, before {}; name a position from 1 "
                            "to {}, or 0 for its end",
                            last.value(), position.value(), last.value()));
  }
  History history;
  history.position = position == Position{} ? last : position;
  history.recorded_at = Agenda::k_start;
  ATLAS_TRY(auto store, storage::memory_store_of(log, history.position));
  history.store = std::move(store);
  auto catalog = std::make_shared<storage::Catalog>();
  ATLAS_TRYV(log.read_all(Position{1}, [&](const storage::Record& record) {
    if (record.position > history.position) return false;
    catalog->apply(record);
    history.recorded_at = record.recorded_at;
    if (record.event.route_change_requested().hostnames_size() > 0) {
      const auto& hostname = record.event.route_change_requested().hostnames(0);
      history.domain = hostname.substr(hostname.find('.') + 1);
    }
    if (record.event.has_vm_placed()) history.hosts.emplace(record.event.vm_placed().host());
    return true;
  }));
  history.catalog = std::move(catalog);
  return history;
}

void make_world(World& world, const History& history) {
  world.agenda.begin_at(history.recorded_at);
  if (!history.hosts.empty()) world.hosts.clear();
  for (const auto& host : history.hosts) world.hosts[host] = {};
  std::map<std::string, Claim> claims;
  for (const auto& project : history.catalog->every_project()) {
    // All of it is in memory: that catalog was not told to read anything from the log.
    const auto deployments = history.catalog->deployments_of(project.state.id, k_all).value();
    for (const auto& view : deployments) {
      const auto& state = view.state;
      add_images(world, state);
      if (is_terminal(state.status)) continue;
      add_vms(world, state);
      add_claims(claims, state);
      const bool has_checkout = state.cloned && state.image.empty() && !state.reuses_image();
      if (has_checkout) world.checkouts.insert(state.id.str());
    }
  }
  if (claims.empty()) return;
  World::Table table{1, {}};
  for (auto& [host, claim] : claims) table.second.push_back(std::move(claim.route));
  world.tables.push_back(std::move(table));
}

std::vector<Hosted> projects_of(const History& history) {
  std::vector<Hosted> projects;
  for (const auto& view : history.catalog->projects()) {
    const auto& state = view.state;
    if (state.repository_url.empty()) continue;
    projects.push_back(
        {state.name, state.repository_url, state.branch.empty() ? "main" : state.branch});
  }
  return projects;
}

}  // namespace atlasflow::sim
