#include "edge/control/lone_edge.hpp"

#include <utility>

#include "edge/control/route_file.hpp"

namespace atlasflow::edge {

Result<std::unique_ptr<LoneEdge>> LoneEdge::start(LoneConfig config) {
  EdgeInheritance inheritance;
  inheritance.table.generation = 1;
  ATLAS_TRY(inheritance.table.routes, load_routes(config.routes));
  if (!config.certificates.empty()) {
    ATLAS_TRY(inheritance.certificates, load_certificates(config.certificates));
  }
  ATLAS_TRY(auto edge, start_edge(config.edge, std::move(inheritance)));
  return std::unique_ptr<LoneEdge>(new LoneEdge(std::move(config), std::move(edge)));
}

Result<void> LoneEdge::reload() {
  RouteTable table;
  table.generation = edge_->generation() + 1;
  ATLAS_TRY(table.routes, load_routes(config_.routes));
  ATLAS_TRYV(reload_certificates());
  return edge_->publish(table);
}

Result<void> LoneEdge::reload_certificates() {
  if (config_.certificates.empty()) return {};
  ATLAS_TRY(const auto shown, load_certificates(config_.certificates));
  auto gone = edge_->certificates();
  for (const HostCertificate& certificate : shown) gone.erase(certificate.host);
  std::vector<std::string> removed;
  for (const auto& [host, fingerprint] : gone) removed.push_back(host);
  return edge_->change_certificates(shown, removed);
}

}  // namespace atlasflow::edge
