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

// Both files are read before anything changes. A certificate that is none is told by the edge when
// the routes are in force already: what it shows then are the certificates of before.
Result<void> LoneEdge::reload() {
  RouteTable table;
  table.generation = edge_->generation() + 1;
  ATLAS_TRY(table.routes, load_routes(config_.routes));
  std::vector<HostCertificate> shown;
  if (!config_.certificates.empty()) {
    ATLAS_TRY(shown, load_certificates(config_.certificates));
  }
  ATLAS_TRYV(edge_->publish(table));
  if (config_.certificates.empty()) return {};
  auto gone = edge_->certificates();
  for (const HostCertificate& certificate : shown) gone.erase(certificate.host);
  std::vector<std::string> removed;
  for (const auto& [host, fingerprint] : gone) removed.push_back(host);
  return edge_->change_certificates(shown, removed);
}

}  // namespace atlasflow::edge
