// gRPC as its own library speaks it, at both ends of the edge.
#include <cstdlib>
#include <string>

#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {
namespace {

class GrpcExchange : public EdgeTest {};

TEST_F(GrpcExchange, every_kind_of_call_passes_as_grpcio_makes_it) {
  start([](EdgeConfig& config) { config.timeouts.connect_retry = 500ms; });
  const std::string socket = directory_ + "/app.sock";
  route("grpc.apps.test", {{"vm-1", "unix:" + socket, 0}});
  table_.routes.back().protocol = AppProtocol::h2c;
  publish();
  // Debian's, which is where its library is.
  const std::string command = "/usr/bin/python3 " ATLASFLOW_GRPC_EXCHANGE " '" + socket + "' " +
                              std::to_string(edge_->https_port()) + " '" +
                              edge_->ca_certificate().string() + "' grpc.apps.test";
  EXPECT_EQ(std::system(command.c_str()), 0) << "what failed stands above";
}

}  // namespace
}  // namespace atlasflow::edge
