// The control plane as its callers outside the actor system see it: commands that block until they
// are durable, and the read model. Owned by the composition root; every call may come from any
// thread that is not an actor's. The actors behind it: actors/README.md.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/runtime/engines.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"
#include "events/ids.hpp"
#include "events/push.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::actors {

// What a push came to, for one project.
struct PushReceipt {
  enum class Verdict : std::uint8_t { deployed, duplicate, ignored };
  Verdict verdict = Verdict::ignored;
  std::string project;
  DeploymentId deployment;  // of deployed and duplicate
  std::string reason;       // of ignored
};

struct NewProject {
  std::string name;
  std::string repository_url;
  std::string branch;                         // empty: the repository's default branch
  std::optional<std::string> webhook_secret;  // unset: the server's
};

// A GitHub App whose id and key GitHub has confirmed.
struct NewGitHubApp {
  std::int64_t app_id = 0;
  std::string slug;
  std::string base_url;
  std::string key_fingerprint;
  Secret private_key;  // PEM
  Secret webhook_secret;
};

struct ControlPlaneConfig {
  std::string domain = "atlasflow.localhost";
  std::string build_id;
  int builders = 1;
  std::size_t rollbacks = 5;  // earlier images that are kept, and so can be rolled back to
  std::string crash_after;    // tests: kill -9 this process when an event of this name is durable
  std::string throw_after;    // tests: the read model throws when it is told of such an event
  // A part died of an exception that can't be started again by itself: whoever owns the process is
  // to start it anew. Called by an actor's thread, once at least; must return soon. Unset: the
  // process ends with exit code 70.
  std::function<void(const Error&)> part_died;
  // When that happened to the processes before, and why; for parts().
  std::vector<std::pair<TimestampUs, std::string>> earlier_restarts;
};

class ControlPlane {
 public:
  virtual ~ControlPlane() = default;  // stops in order: intake, deployments, supervisors, log

  // Durable before it returns. An empty list: no project is connected to the repository.
  [[nodiscard]] virtual Result<std::vector<PushReceipt>> receive_push(const Push& push) = 0;

  [[nodiscard]] virtual Result<ProjectId> create_project(const NewProject& project) = 0;
  // Retires what is live and cancels what is under way, then forgets the name.
  [[nodiscard]] virtual Result<void> delete_project(const std::string& name) = 0;

  // Changes settings by name and text (events/settings.hpp); all of them or none. They apply from
  // the next deployment on.
  [[nodiscard]] virtual Result<void> change_settings(
      const std::string& project,
      const std::vector<std::pair<std::string, std::string>>& settings) = 0;

  // Seals the values; all of the names or none.
  [[nodiscard]] virtual Result<void> set_env(
      const std::string& project,
      const std::vector<std::pair<std::string, std::string>>& entries) = 0;
  [[nodiscard]] virtual Result<void> unset_env(const std::string& project,
                                               const std::vector<std::string>& names) = 0;

  // Deploys the commit, or the head of the project's branch as the remote tells it now. command_id
  // makes a repeated command one deployment.
  [[nodiscard]] virtual Result<DeploymentId> deploy(const std::string& project,
                                                    const std::optional<std::string>& sha,
                                                    const std::string& command_id) = 0;

  // Each of the following makes a new deployment of an earlier one and returns its id; command_id
  // makes a repeated command one deployment. not_found: no such project or deployment; conflict:
  // what was named can't be run again, with the reason and what to do.
  //
  // Image, settings and environment of an earlier deployment of production; unset: the one before
  // the one that is live. Nothing is built.
  [[nodiscard]] virtual Result<DeploymentId> rollback(const std::string& project,
                                                      const std::optional<DeploymentId>& to,
                                                      const std::string& command_id) = 0;
  // The same commit once more, built anew, with the settings and environment of now; unset: what is
  // live, else the newest deployment.
  [[nodiscard]] virtual Result<DeploymentId> redeploy(const std::string& project,
                                                      const std::optional<DeploymentId>& of,
                                                      const std::string& command_id) = 0;
  // A deployment's image into production, with the environment of now.
  [[nodiscard]] virtual Result<DeploymentId> promote(const DeploymentId& deployment,
                                                     const std::string& command_id) = 0;
  // What is live on new VMs, without a failed request.
  [[nodiscard]] virtual Result<DeploymentId> restart(const std::string& project,
                                                     const std::string& command_id) = 0;

  // Ends a deployment that is queued or under way; it has ended when its stream says so, which may
  // be after this returns. conflict: it is live or has ended.
  [[nodiscard]] virtual Result<void> cancel(const DeploymentId& deployment) = 0;
  // Stops what is live until start; its hostnames answer 503 and say why.
  [[nodiscard]] virtual Result<void> stop_app(const std::string& project) = 0;
  [[nodiscard]] virtual Result<void> start_app(const std::string& project) = 0;
  // How many instances run, from now on and for later deployments. True: a live deployment changes
  // now; false: there is none.
  [[nodiscard]] virtual Result<bool> scale(const std::string& project, std::int32_t replicas) = 0;

  // What signs the notifications to the project's notify_url (X-Atlasflow-Signature-256).
  [[nodiscard]] virtual Result<void> set_notify_secret(const std::string& project,
                                                       const std::string& secret) = 0;

  // The plain webhook secrets to check a delivery against: the projects', by name. The server's own
  // secret is the API's configuration.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> webhook_secrets() = 0;

  // The App as whom GitHub is asked from now on, in the place of the one before; key and secret are
  // sealed. Disconnecting none is conflict.
  [[nodiscard]] virtual Result<void> connect_github_app(const NewGitHubApp& app) = 0;
  [[nodiscard]] virtual Result<void> disconnect_github_app() = 0;
  // What the App's deliveries are signed with; empty: none is connected, or it does not open.
  [[nodiscard]] virtual Secret github_webhook_secret() = 0;

  [[nodiscard]] virtual const storage::Catalog& catalog() const = 0;
  [[nodiscard]] virtual const storage::EventLog& log() const = 0;

  // Lines about the parts for `atlasflow status`: name, state ("ok", "degraded", "down"), detail.
  struct PartStatus {
    std::string name;
    std::string state;
    std::string detail;
  };
  [[nodiscard]] virtual std::vector<PartStatus> parts() = 0;
};

// Starts every actor, replays the log and takes up what is unfinished. The engines, the log and the
// secrets must outlive the control plane.
[[nodiscard]] Result<std::unique_ptr<ControlPlane>> start_control_plane(
    const ControlPlaneConfig& config, storage::EventLog& log, storage::SecretStore& secrets,
    const Engines& engines);

}  // namespace atlasflow::actors
