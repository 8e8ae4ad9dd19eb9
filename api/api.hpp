// The HTTP API: everything on the unix socket for the CLI, and GitHub's webhook on TCP for the edge
// to forward to. Owned by the composition root; its threads call the control plane, which must
// outlive it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "base/error.hpp"
#include "github/connected_app.hpp"

namespace atlasflow::receive {
class Repositories;
}

namespace atlasflow::api {

struct ApiConfig {
  std::filesystem::path socket;  // whoever may open it may do all: mode 0600
  std::string webhook_address = "127.0.0.1";
  std::uint16_t webhook_port = 0;  // 0: the kernel chooses
  std::filesystem::path log_dir;   // of build and run logs
  std::string webhook_secret;      // the server's; empty: only projects have one
  std::string version;
  std::string build_id;
  std::string domain = "atlasflow.localhost";
  std::uint16_t http_port = 80;
  std::uint16_t https_port = 443;
  std::filesystem::path ca_certificate;  // of the edge's own authority; empty: none
  // As whom GitHub is asked; it outlives the API. Null: nobody is.
  github::ConnectedApp* connected_app = nullptr;
  // What the status shows beside the control plane's parts. Any thread; unset: nothing.
  std::function<std::vector<actors::ControlPlane::PartStatus>()> other_parts;
  // The edge's figures in Prometheus' text format; unset: there are none.
  std::function<std::string()> edge_metrics;
  // Where the requests to a project are logged; unset: nowhere.
  std::function<std::filesystem::path(const std::string& project)> access_log;
  // That are pushed to here; they outlive the API. Null: nobody pushes here.
  receive::Repositories* repositories = nullptr;
};

class Api {
 public:
  // Ends streams, lets the requests that run finish, and joins every thread.
  virtual ~Api() = default;
  [[nodiscard]] virtual std::uint16_t webhook_port() const = 0;
};

// conflict: another server runs on the socket, or the port is taken.
[[nodiscard]] Result<std::unique_ptr<Api>> start_api(const ApiConfig& config,
                                                     actors::ControlPlane& control);

}  // namespace atlasflow::api
