// The edge as a process of its own, attached to as the control plane does it.
#pragma once

#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "edge/control/edge_process.hpp"
#include "edge/control/remote_edge.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::edge {

class RemoteEdgeTest : public EdgeTest {
 protected:
  ~RemoteEdgeTest() override {
    edge_.reset();
    const auto ended = end_edge(directory_);
    EXPECT_TRUE(ended.has_value()) << to_string(ended.error());
    // A sanitizer in the other process has nowhere else to speak.
    std::ifstream log(EdgeFolder{directory_}.log());
    const std::string text{std::istreambuf_iterator<char>(log), {}};
    EXPECT_EQ(text.find("Sanitizer"), std::string::npos) << text;
  }

  AttachConfig config(const std::string& build = "build-1") const {
    AttachConfig config;
    config.edge.domain = "apps.test";
    config.edge.ca_dir = directory_ + "/ca";
    config.edge.redirect_http = false;
    config.edge.workers = 2;
    config.edge.limits.handshakes_per_address = 0;  // all of them are one address's
    config.state = directory_;
    config.build_id = build;
    config.program = ATLASFLOW_EDGE_PROCESS;
    config.arguments = {"edge_process", "--state-dir", directory_};
    return config;
  }

  void attach(const AttachConfig& config) {
    edge_.reset();  // as if the control plane had died: it says no goodbye
    auto attached = attach_edge(config);
    ASSERT_TRUE(attached.has_value()) << to_string(attached.error());
    edge_ = std::move(*attached);
  }
  void attach() { attach(config()); }

  [[nodiscard]] pid_t pid() const {
    const auto process = recorded_process({directory_});
    return process ? process->pid : 0;
  }

  ClientResponse get(const std::string& host) {
    Client client;
    if (!client.connect(edge_->http_port())) return {};
    return client.get(host);
  }
};

}  // namespace atlasflow::edge
