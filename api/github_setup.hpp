// Connecting and disconnecting a GitHub App, and what stands in its way: asks GitHub before
// anything is recorded, and hands the App on to those who clone as it. Owned by the Api; any
// thread, calls block for as long as GitHub takes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "actors/runtime/control_plane.hpp"
#include "api/json.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"
#include "github/app_client.hpp"
#include "github/clone_login.hpp"

namespace atlasflow::api {

// The App's client for what the log says is connected, its key opened by the caller.
[[nodiscard]] Result<std::shared_ptr<github::AppClient>> make_app_client(
    std::int64_t app_id, const Secret& private_key, const std::string& base_url);

struct AppCredentials {
  std::int64_t app_id = 0;
  Secret private_key;
  Secret webhook_secret;
  std::string base_url;  // empty: github.com
};

class GitHubSetup {
 public:
  GitHubSetup(actors::ControlPlane& control, github::ConnectedApp& connected, PublicAddress address)
      : control_(control), connected_(connected), address_(std::move(address)) {}

  // Recorded only when GitHub confirms the id and the key. invalid_argument says what is wrong.
  [[nodiscard]] Result<github::AppIdentity> connect(const Principal& by,
                                                    const AppCredentials& credentials);
  [[nodiscard]] Result<void> disconnect(const Principal& by);

  // {"app","problem","webhook","projects"} of docs/api.md, as GitHub says it now.
  [[nodiscard]] Json status();

  // ---- by a manifest ----

  // The URL of the page to open, valid for an hour and until the server ends.
  [[nodiscard]] Result<std::string> begin(const std::string& base_url,
                                          const std::string& organization);
  // The page; not_found when the state is none or too old.
  [[nodiscard]] Result<std::string> page(const std::string& state);
  // GitHub has sent the browser back. A state is good for one code.
  [[nodiscard]] Result<github::AppIdentity> finish(const std::string& state,
                                                   const std::string& code);

 private:
  struct Flow {
    github::Address address;
    std::string organization;
    std::chrono::steady_clock::time_point ends;
  };
  [[nodiscard]] std::string origin() const { return address_.url_of_host(address_.domain); }
  [[nodiscard]] std::optional<Flow> find_flow(const std::string& state, bool take);
  [[nodiscard]] Json webhook_json(github::AppClient& app) const;
  [[nodiscard]] Json projects_json(github::AppClient& app) const;

  actors::ControlPlane& control_;
  github::ConnectedApp& connected_;
  const PublicAddress address_;
  std::mutex connect_mutex_;  // what is recorded last is what is connected
  std::mutex flows_mutex_;
  std::map<std::string, Flow> flows_;  // by state
};

}  // namespace atlasflow::api
