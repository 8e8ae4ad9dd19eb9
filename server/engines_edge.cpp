#include <algorithm>

#include "server/engines.hpp"

namespace atlasflow::server {

Result<void> LocalEdgeEngine::route_domain_to(const std::string& address, std::uint16_t port) {
  edge::Route own;
  own.host = domain_;
  own.project = "_atlasflow";  // no project's name begins so: nobody else's are its figures
  if (port == 0) {
    own.unavailable_reason = "Atlasflow is starting";
  } else {
    own.upstreams.push_back({"control-plane", address, port});
  }
  return edge_.set_own_route(own);
}

Result<void> LocalEdgeEngine::publish(std::uint64_t generation,
                                      const std::vector<actors::RouteClaim>& table) {
  edge::RouteTable routes;
  routes.generation = generation;
  routes.routes.reserve(table.size());
  for (const auto& claim : table) {
    edge::Route route;
    route.host = claim.host;
    route.project = claim.project;
    route.deployment = claim.deployment;
    route.unavailable_reason = claim.unavailable_reason;
    route.limits = {claim.terms.request_rate, claim.terms.max_concurrent_requests};
    route.unavailable_message = claim.terms.unavailable_message;
    route.redirect_to = claim.redirect_to;
    route.protocol = claim.terms.h2c ? edge::AppProtocol::h2c : edge::AppProtocol::http1;
    for (const auto& upstream : claim.upstreams) {
      route.upstreams.push_back({upstream.vm_id.str(), upstream.location.address,
                                 static_cast<std::uint16_t>(upstream.location.port)});
    }
    routes.routes.push_back(std::move(route));
  }
  return edge_.publish(routes);
}

std::uint64_t LocalEdgeEngine::drain(const VmId& vm_id, std::chrono::microseconds deadline) {
  const auto left = std::max(deadline, std::chrono::microseconds{0});
  return edge_.drain(vm_id.str(), std::chrono::duration_cast<std::chrono::milliseconds>(left));
}

}  // namespace atlasflow::server
