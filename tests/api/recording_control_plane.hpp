// A control plane for tests of the API: the log is in memory, the catalog is the real one, commands
// are recorded and answered as the test says. Any thread, as the interface wants.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "actors/runtime/control_plane.hpp"

namespace atlasflow::api::testing {

class RecordingControlPlane : public actors::ControlPlane {
 public:
  RecordingControlPlane();

  // ---- what tests set up ----
  void append(const StreamId& stream, const std::vector<pb::Event>& events);
  // A project with a repository; its id is its name.
  void add_project(const std::string& name, const std::string& webhook_secret = {});
  void add_deployment(const std::string& id, const std::string& project);
  void add_preview(const std::string& id, const std::string& project, const std::string& branch);
  void append_to(const std::string& deployment, const pb::Event& event);
  // ...up to the start of the VM, whose id is returned: "<deployment>-v<version>".
  std::string start_vm(const std::string& deployment);
  std::string start_vm(const std::string& deployment, std::int32_t slot);
  std::string start_build(const std::string& deployment);
  void fail_deployment(const std::string& deployment);
  // A VM that is healthy and has the traffic.
  void make_live(const std::string& deployment);
  // What begins without a push.
  void add_rollback(const std::string& id, const std::string& project, const std::string& to,
                    const std::string& by = "user");
  void add_redeployment(const std::string& id, const std::string& project, const std::string& of,
                        pb::Redeployment kind);
  // Runs at the end of the named command ("cancel", "start_app"), after it was recorded.
  std::map<std::string, std::function<void()>> then;

  // What the commands answer with.
  Result<std::vector<actors::PushReceipt>> receipts;
  Result<DeploymentId> deployed = DeploymentId("aaaaaaa2");
  Result<void> env_outcome;
  Result<DeploymentId> made = DeploymentId("aaaaaaa2");  // by rollback, redeploy, promote, restart
  Result<void> life_outcome;                             // of cancel, stop, start
  Result<bool> scaled = true;

  // ---- what they look at ----
  struct Calls {
    std::vector<Push> pushes;
    std::vector<actors::NewProject> projects;
    std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> env_sets;
    std::vector<std::pair<std::string, std::vector<std::string>>> env_unsets;
    std::vector<std::pair<std::string, std::vector<std::pair<std::string, std::string>>>> settings;
    std::vector<std::string> deleted;
    struct Deploy {
      std::string project;
      std::optional<std::string> sha;
      std::string command_id;
    };
    std::vector<Deploy> deploys;
    // "rollback shop abcdefg2 cmd-1", "cancel abcdefg2", "scale shop 3", as they came.
    std::vector<std::string> life;
    std::vector<std::pair<std::string, std::string>> notify_secrets;
  };
  [[nodiscard]] Calls calls() const;

  // ---- ControlPlane ----
  Result<std::vector<actors::PushReceipt>> receive_push(const Push& push) override;
  Result<ProjectId> create_project(const actors::NewProject& project) override;
  Result<void> delete_project(const std::string& name) override;
  Result<void> change_settings(
      const std::string& project,
      const std::vector<std::pair<std::string, std::string>>& settings) override;
  Result<void> set_env(const std::string& project,
                       const std::vector<std::pair<std::string, std::string>>& entries) override;
  Result<void> unset_env(const std::string& project,
                         const std::vector<std::string>& names) override;
  Result<DeploymentId> deploy(const std::string& project, const std::optional<std::string>& sha,
                              const std::string& command_id) override;
  Result<DeploymentId> rollback(const std::string& project, const std::optional<DeploymentId>& to,
                                const std::string& command_id) override;
  Result<DeploymentId> redeploy(const std::string& project, const std::optional<DeploymentId>& of,
                                const std::string& command_id) override;
  Result<DeploymentId> promote(const DeploymentId& deployment,
                               const std::string& command_id) override;
  Result<DeploymentId> restart(const std::string& project, const std::string& command_id) override;
  Result<void> cancel(const DeploymentId& deployment) override;
  Result<void> stop_app(const std::string& project) override;
  Result<void> start_app(const std::string& project) override;
  Result<bool> scale(const std::string& project, std::int32_t replicas) override;
  Result<void> set_notify_secret(const std::string& project, const std::string& secret) override;
  std::vector<std::pair<std::string, std::string>> webhook_secrets() override;
  Result<void> connect_github_app(const actors::NewGitHubApp& app) override;
  Result<void> disconnect_github_app() override;
  Secret github_webhook_secret() override;
  const storage::Catalog& catalog() const override { return catalog_; }
  const storage::EventLog& log() const override { return *log_; }
  std::vector<PartStatus> parts() override;

 private:
  static pb::PushReceived push_to(const std::string& project);
  void record(const std::string& verb, const std::string& rest);

  mutable std::mutex mutex_;
  Calls calls_;
  std::vector<std::pair<std::string, std::string>> webhook_secrets_;
  Secret github_webhook_secret_;
  std::unique_ptr<storage::EventLog> log_;
  storage::Catalog catalog_;
  TimestampUs now_ = 1'700'000'000'000'000;
};

}  // namespace atlasflow::api::testing
