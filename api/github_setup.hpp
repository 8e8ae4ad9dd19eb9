// Connecting and disconnecting a GitHub App, and what stands in its way: asks GitHub before
// anything is recorded. What is recorded is what is connected; nothing else is kept here but the
// pages that make an App. Owned by the Api; any thread, calls block for as long as GitHub takes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "actors/runtime/control_plane.hpp"
#include "api/json.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"
#include "github/app_client.hpp"
#include "github/connected_app.hpp"
#include "github/manifest.hpp"

namespace atlasflow::api {

struct AppCredentials {
  std::int64_t app_id = 0;
  Secret private_key;
  Secret webhook_secret;
  std::string base_url;  // empty: github.com
};

// What the log knows of how a project stands with GitHub and that somebody should mend, as a
// sentence that says how; empty: nothing.
[[nodiscard]] std::string known_problem(const ProjectState& project, const KnownHead& head);

class GitHubSetup {
 public:
  // connected: as whom GitHub is asked for the status; null: nobody. Both outlive it.
  GitHubSetup(actors::ControlPlane& control, github::ConnectedApp* connected, PublicAddress address)
      : control_(control), connected_(connected), address_(std::move(address)) {}

  // Recorded only when GitHub confirms the id and the key. invalid_argument says what is wrong.
  [[nodiscard]] Result<github::AppIdentity> connect(const Principal& by,
                                                    const AppCredentials& credentials);
  [[nodiscard]] Result<void> disconnect(const Principal& by);

  // {"app","problem","webhook","projects"} of docs/api.md, as GitHub says it within time_max.
  [[nodiscard]] Json status(std::chrono::milliseconds time_max = k_status_time_max);
  static constexpr std::chrono::milliseconds k_status_time_max{20'000};

  // ---- by a manifest ----

  struct Page {
    std::string state;  // a secret: whoever has it can connect an App
    std::string url;
  };
  // The page to open, valid for an hour and until the server ends.
  [[nodiscard]] Result<Page> begin(const std::string& base_url, const std::string& organization);
  // The page; not_found when the state is none or too old, or its App was made.
  [[nodiscard]] Result<std::string> page(const std::string& state);
  // GitHub has sent the browser back. A state is good for one App. Once GitHub has given its key
  // away, which it does once, the key is held until it is recorded: calling again tries that again.
  [[nodiscard]] Result<github::AppIdentity> finish(const std::string& state,
                                                   const std::string& code);

  struct Progress {
    std::optional<github::AppIdentity> app;  // that is connected
    bool over = false;                       // none will be
    std::string problem;                     // of the last try
  };
  // What became of a page, without asking GitHub; not_found as page().
  [[nodiscard]] Result<Progress> progress(const std::string& state);

 private:
  struct Flow {
    github::Address address;
    std::string organization;
    std::chrono::steady_clock::time_point ends;
    std::optional<github::NewApp> made;  // and not recorded yet
    Progress progress;

    // Whether the user can do nothing with it any more, but read how it ended.
    [[nodiscard]] bool is_done() const { return progress.app.has_value() || progress.over; }
  };
  [[nodiscard]] std::string origin() const { return address_.url_of_host(address_.domain); }
  [[nodiscard]] std::optional<Flow> find_flow(const std::string& state);
  void keep_flow(const std::string& state, Flow flow);
  [[nodiscard]] Result<github::AppIdentity> finish(Flow& flow, const std::string& code);
  [[nodiscard]] Result<void> record(const Principal& by, const github::AppIdentity& identity,
                                    const github::AppClient& client,
                                    const AppCredentials& credentials);
  [[nodiscard]] Json webhook_json(github::AppClient& app, const std::stop_token& stop) const;
  // problem: why not all of them were asked for.
  [[nodiscard]] Json projects_json(github::AppClient& app, const std::stop_token& stop,
                                   std::string& problem) const;

  actors::ControlPlane& control_;
  github::ConnectedApp* const connected_;
  const PublicAddress address_;
  std::mutex finish_mutex_;            // one code at a time
  std::mutex flows_mutex_;             // guards what follows
  std::map<std::string, Flow> flows_;  // by state
};

}  // namespace atlasflow::api
