// A control plane for tests of the API: the log is in memory, the catalog is the real one, commands
// are recorded and answered as the test says. Any thread, as the interface wants.
#pragma once

#include <atomic>
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
  // When the next events are recorded, each a second after the one before; in 2023 by default.
  void set_now(TimestampUs now) { now_ = now; }
  // A project with a repository; its id is its name.
  // repository_url: empty for one of https://.
  void add_project(const std::string& name, const std::string& webhook_secret = {},
                   const std::string& repository_url = {});
  // One whose repository the server keeps; its branch is main.
  void add_own_project(const std::string& name);
  // A domain of the project, whose records are missing.
  void add_domain(const std::string& domain, const std::string& project);
  void append_to_domain(const std::string& domain, const std::vector<pb::Event>& events);
  void add_deployment(const std::string& id, const std::string& project);
  void add_preview(const std::string& id, const std::string& project, const std::string& branch);
  // Of a fork.
  void add_pull_request(const std::string& id, const std::string& project, std::int64_t number);
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
  // Runs at the end of the command of that name ("cancel", "start_app"), after it was recorded.
  std::map<std::string, std::function<void()>> then;

  // What the commands answer with.
  Result<std::vector<actors::PushReceipt>> receipts;
  // The same while commands may come.
  void set_receipts(Result<std::vector<actors::PushReceipt>> next) {
    const std::lock_guard lock(mutex_);
    receipts = std::move(next);
  }
  Result<DeploymentId> deployed = DeploymentId("aaaaaaa2");
  Result<commands::Done> env_outcome;
  Result<DeploymentId> made = DeploymentId("aaaaaaa2");  // by rollback, redeploy, promote, restart
  Result<commands::Done> life_outcome;                   // of cancel, stop, start, notify secret
  Result<bool> scaled = true;
  Result<commands::Done> report_outcome;  // an error: it is not recorded either
  Result<commands::Done> app_outcome;     // of connecting and disconnecting an App...
  bool app_is_recorded = true;            // ...which may be recorded all the same
  std::optional<HeldOrder> held_order;    // of every domain of which one is due
  std::optional<Error> domain_error;      // of the commands for domains; unset: they work
  // The log's index of streams can't be read; its records can.
  std::atomic<bool> index_is_damaged = false;

  // ---- what they look at ----
  struct Call {
    Principal by;
    commands::Command command;
  };
  [[nodiscard]] std::vector<Call> calls() const;
  [[nodiscard]] Secret github_private_key() const;
  // The commands of one kind, as they came.
  template <typename Command>
  [[nodiscard]] std::vector<Command> asked() const {
    std::vector<Command> found;
    for (const auto& call : calls()) {
      if (const auto* command = std::get_if<Command>(&call.command)) found.push_back(*command);
    }
    return found;
  }
  void forget_calls() {
    const std::lock_guard lock(mutex_);
    calls_.clear();
  }

  // ---- ControlPlane ----
  std::vector<std::pair<std::string, std::string>> webhook_secrets() override;
  Secret github_webhook_secret() override;
  const storage::Catalog& catalog() const override { return catalog_; }
  const storage::EventLog& log() const override { return *log_; }
  std::vector<PartStatus> parts() override;
  std::string domain_named(const std::string& typed) const override;
  actors::DomainOutlook outlook_of(const DomainState& state) const override;

 protected:
  Result<commands::Answer> carry_out(const Principal& by, commands::Command command) override;

 private:
  struct Effect;
  static pb::PushReceived push_to(const std::string& project);

  mutable std::mutex mutex_;
  std::vector<Call> calls_;
  std::vector<std::pair<std::string, std::string>> webhook_secrets_;
  Secret github_webhook_secret_;
  Secret github_private_key_;
  std::unique_ptr<storage::EventLog> log_;
  storage::Catalog catalog_;
  TimestampUs now_ = 1'700'000'000'000'000;
};

}  // namespace atlasflow::api::testing
