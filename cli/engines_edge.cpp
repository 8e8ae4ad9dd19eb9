#include <algorithm>

#include "cli/engines.hpp"

namespace atlasflow::cli {

Result<void> LocalEdgeEngine::publish_locked(const std::vector<edge::Route>& routes) {
  edge::RouteTable table;
  table.generation = edge_.generation() + 1;
  table.routes = routes;
  edge::Route own;
  own.host = domain_;
  own.project = "atlasflow";
  if (webhook_.port == 0) {
    own.unavailable_reason = "Atlasflow is starting";
  } else {
    own.upstreams.push_back(webhook_);
  }
  table.routes.push_back(std::move(own));
  return edge_.publish(table);
}

Result<void> LocalEdgeEngine::route_domain_to(const std::string& address, std::uint16_t port) {
  const std::lock_guard lock(mutex_);
  webhook_ = {"control-plane", address, port};
  return publish_locked(routes_);
}

Result<void> LocalEdgeEngine::publish(std::uint64_t generation,
                                      const std::vector<actors::RouteClaim>& table) {
  const std::lock_guard lock(mutex_);
  if (generation <= generation_) {
    return fail(ErrorCode::conflict, "route table " + std::to_string(generation) +
                                         " is not newer than " + std::to_string(generation_));
  }
  std::vector<edge::Route> routes;
  routes.reserve(table.size() + 1);
  for (const auto& claim : table) {
    edge::Route route;
    route.host = claim.host;
    route.project = claim.project;
    route.deployment = claim.deployment;
    route.unavailable_reason = claim.unavailable_reason;
    for (const auto& upstream : claim.upstreams) {
      route.upstreams.push_back({upstream.vm_id, upstream.location.address,
                                 static_cast<std::uint16_t>(upstream.location.port)});
    }
    routes.push_back(std::move(route));
  }
  if (auto published = publish_locked(routes); !published) return published;
  routes_ = std::move(routes);
  generation_ = generation;
  return {};
}

std::uint64_t LocalEdgeEngine::drain(const std::string& vm_id, std::chrono::microseconds deadline) {
  const auto left = std::max(deadline, std::chrono::microseconds{0});
  return edge_.drain(vm_id, std::chrono::duration_cast<std::chrono::milliseconds>(left));
}

std::uint64_t LocalEdgeEngine::generation() const {
  const std::lock_guard lock(mutex_);
  return generation_;
}

std::string LocalEdgeEngine::describe() const {
  const std::lock_guard lock(mutex_);
  return "https on port " + std::to_string(edge_.https_port()) + ", http on port " +
         std::to_string(edge_.http_port()) + ", " + std::to_string(routes_.size()) +
         " hostnames of deployments";
}

}  // namespace atlasflow::cli
