#include "sim/checkers/rest.hpp"

#include <algorithm>

#include <fmt/format.h>

#include "events/deployment_events.hpp"
#include "events/project_history.hpp"
#include "storage/readmodel/catalog.hpp"  // event_name

namespace atlasflow::sim {

void Rest::take(const storage::Record& record) {
  const auto id = deployment_of(record.stream);
  if (id.empty()) return;
  const auto& event = record.event;
  if (ends_deployment(event)) {
    deployments_.erase(id.str());
    return;
  }
  auto& deployment = deployments_[id.str()];
  deployment.newest_event = storage::event_name(event);
  if (const auto* push = push_of(event)) {
    deployment.environment = push->project_name() + "/" + push->environment();
    deployment.replicas = std::max(push->settings().replicas(), 1);
  }
  if (event.has_rollback_requested()) {
    deployment.image = event.rollback_requested().built().reference();
  } else if (event.has_redeploy_requested()) {
    deployment.image = event.redeploy_requested().built().reference();
  } else if (event.has_cloned() && event.cloned().has_settings()) {
    deployment.replicas = std::max(event.cloned().settings().replicas(), 1);
  } else if (event.has_image_pushed()) {
    deployment.image = event.image_pushed().reference();
  } else if (event.has_route_change_requested()) {
    const auto& hostnames = event.route_change_requested().hostnames();
    deployment.hostnames.assign(hostnames.begin(), hostnames.end());
  } else if (event.has_routed()) {
    deployment.routed = true;
  }
  take_wish(deployment, event);
  take_vm(deployment, event);
}

void Rest::take_wish(Deployment& deployment, const pb::Event& event) {
  if (event.has_cancel_requested() || event.has_retirement_requested()) {
    deployment.gives_way = true;
  } else if (event.has_scale_requested()) {
    deployment.replicas = event.scale_requested().replicas();
  } else if (event.has_stop_requested()) {
    deployment.stopped = true;
  } else if (event.has_start_requested()) {
    deployment.stopped = false;
    deployment.given_up.clear();
  }
}

void Rest::take_vm(Deployment& deployment, const pb::Event& event) {
  auto& vms = deployment.vms;
  if (event.has_capacity_exhausted()) {
    deployment.without_room.insert(event.capacity_exhausted().slot());
  } else if (event.has_vm_start_failed() && event.vm_start_failed().no_capacity()) {
    deployment.without_room.insert(event.vm_start_failed().slot());
  } else if (event.has_vm_placed()) {
    deployment.without_room.erase(event.vm_placed().slot());
  } else if (event.has_crash_loop_detected()) {
    deployment.given_up.insert(event.crash_loop_detected().slot());
  } else if (event.has_vm_started()) {
    vms[event.vm_started().vm_id()].slot = event.vm_started().slot();
  } else if (event.has_healthy()) {
    vms[event.healthy().vm_id()].healthy = true;
  } else if (event.has_vm_exited()) {
    vms[event.vm_exited().vm_id()].going = true;
  } else if (event.has_vm_stop_requested()) {
    vms[event.vm_stop_requested().vm_id()].going = true;
  } else if (event.has_drain_requested()) {
    vms[event.drain_requested().vm_id()].going = true;
  } else if (event.has_vm_stopped()) {
    vms.erase(event.vm_stopped().vm_id());
  } else if (event.has_vm_host_lost()) {
    vms.erase(event.vm_host_lost().vm_id());
  }
}

std::string Rest::unrest_of(const std::string& id, const Deployment& deployment, const World& world,
                            const std::map<std::string, std::string>& routes) {
  if (!deployment.routed || deployment.gives_way) {
    return fmt::format("deployment {} of {} is still under way after {}", id,
                       deployment.environment, deployment.newest_event);
  }
  std::set<std::int32_t> served;
  for (const auto& [vm, what] : deployment.vms) {
    if (what.going || deployment.stopped || what.slot >= deployment.replicas) {
      return fmt::format("VM {} of deployment {} is still to go", vm, id);
    }
    const auto running = world.vms.find(VmId{vm});
    if (!what.healthy || running == world.vms.end() || !running->second.running) {
      return fmt::format("VM {} of live deployment {} does not run", vm, id);
    }
    if (!served.insert(what.slot).second) {
      return fmt::format("slot {} of deployment {} has two VMs", what.slot, id);
    }
  }
  for (std::int32_t slot = 0; slot < deployment.replicas && !deployment.stopped; ++slot) {
    // What waits for memory waits for as long as there is none.
    if (!served.contains(slot) && !deployment.given_up.contains(slot) &&
        !deployment.without_room.contains(slot)) {
      return fmt::format("slot {} of deployment {} has no VM after {}", slot, id,
                         deployment.newest_event);
    }
  }
  for (const auto& host : deployment.hostnames) {
    const auto route = routes.find(host);
    if (!served.empty() && (route == routes.end() || route->second != id)) {
      return fmt::format("{} does not lead to live deployment {}", host, id);
    }
  }
  if (std::none_of(world.registry.begin(), world.registry.end(),
                   [&](const auto& image) { return image.first.str() == deployment.image; })) {
    return fmt::format("the registry lacks the image of deployment {}", id);
  }
  return "";
}

std::string Rest::unrest(const World& world,
                         const std::map<std::string, std::string>& routes) const {
  std::set<std::string> explained;
  std::map<std::string, std::string> serving;
  for (const auto& [id, deployment] : deployments_) {
    if (auto why = unrest_of(id, deployment, world, routes); !why.empty()) return why;
    const auto [other, only] = serving.emplace(deployment.environment, id);
    if (!only) {
      return fmt::format("deployments {} and {} of {} both serve", other->second, id,
                         deployment.environment);
    }
    for (const auto& [vm, what] : deployment.vms) explained.insert(vm);
  }
  for (const auto& [host, deployment] : routes) {
    if (!deployments_.contains(deployment)) {
      return fmt::format("{} still leads to deployment {}, which has ended", host, deployment);
    }
  }
  for (const auto& [id, vm] : world.vms) {
    if (!explained.contains(id.str())) {
      return fmt::format("VM {} runs, and nothing explains it", id.str());
    }
  }
  for (const auto& checkout : world.checkouts) {
    if (!deployments_.contains(checkout)) {
      return fmt::format("the checkout of deployment {} is left", checkout);
    }
  }
  return "";
}

}  // namespace atlasflow::sim
