// A server over a temporary state folder, a repository beside it, and what a user and a visitor do
// with them. One per test; everything that it started is gone when it is destroyed. What the user,
// GitHub and the visitor do may come from any thread, the rest from the test's own.
#pragma once

#include <atomic>
#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/http_client.hpp"
#include "tests/end_to_end/git_repository.hpp"
#include "tests/end_to_end/process.hpp"

namespace atlasflow::end_to_end {

struct HttpAnswer {
  int status = 0;  // 0: no answer
  std::string body;
  std::string error;
};

class ServerFixture : public testing::Test {
 public:
  inline static const std::vector<std::string> k_seven = {
      "PushReceived", "Cloned", "Built", "ImagePushed", "VMStarted", "Healthy", "Routed"};
  inline static const std::string k_webhook_secret = "It's a Secret to Everybody";
  inline static const std::string k_domain = "atlasflow.localhost";

 protected:
  void SetUp() override;
  void TearDown() override;

  // ---- the server ----
  void start_server(const Environment& environment = {});
  void launch_server(const Environment& environment = {});  // and does not wait until it answers
  void stop_server();  // SIGTERM; fails the test when it does not exit with 0
  void kill_server();  // SIGKILL
  // The server ends by itself within a minute; by which signal.
  [[nodiscard]] int signal_that_ended_server();

  // ---- the user ----
  [[nodiscard]] Ran atlasflow(std::vector<std::string> arguments, const std::string& input = "");
  [[nodiscard]] nlohmann::json atlasflow_json(std::vector<std::string> arguments);
  void create_project(const std::string& name);
  // Of another repository than the fixture's, without a webhook secret of its own.
  void create_project(const std::string& name, const std::string& repository_url);
  [[nodiscard]] std::vector<nlohmann::json> events(const std::string& project);
  // Those of the seven that the deployment's stream has, in its order.
  [[nodiscard]] std::vector<std::string> seven_of(const std::string& project,
                                                  const std::string& deployment);
  // Empty while the read model does not show it yet: a webhook is answered once the event is
  // durable.
  [[nodiscard]] nlohmann::json deployment(const std::string& project, const std::string& id);

  // ---- the developer and GitHub ----
  // A busybox web server with this page, and /cgi-bin/env that prints GREETING.
  void write_app(const std::string& page);
  // Signed as GitHub does, through the edge at https://<domain>/webhooks/github. Empty when the
  // answer was lost, else what it says.
  // url: where the repository is cloned from; the fixture's own when it is empty.
  [[nodiscard]] HttpAnswer push(const std::string& before, const std::string& after,
                                const std::string& url = "");
  // Any other delivery; guid: its name.
  [[nodiscard]] HttpAnswer deliver(const std::string& event, const std::string& guid,
                                   const nlohmann::json& payload);
  // What whoever has no such host says to https://<domain>/webhooks/git/PROJECT, signed.
  [[nodiscard]] HttpAnswer tell_by_hand(const std::string& project, const nlohmann::json& payload);
  // The deployment that the answer names.
  [[nodiscard]] static std::string deployment_in(const HttpAnswer& answer);

  // ---- the visitor ----
  [[nodiscard]] HttpAnswer get(const std::string& host, const std::string& path = "/");

  // ---- the machine ----
  // Pids of this server's microVMs, whoever remembers them.
  [[nodiscard]] std::vector<pid_t> vm_processes() const;
  // The pid of this server's edge, 0 when it has none.
  [[nodiscard]] pid_t edge_process() const;
  [[nodiscard]] std::string server_log() const { return read_file(folder_ / "server.log"); }

  // Looks until it holds; false after the limit.
  [[nodiscard]] static bool eventually(std::chrono::seconds limit,
                                       const std::function<bool()>& holds);
  // The deployment is live and has nothing of the older ones left beside it.
  void expect_only_vm_of(const std::string& project, const std::string& id);

  bool accept_loss_ = false;  // the server is started with --accept-loss
  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path state_dir() const { return folder_ / "state"; }
  GitRepository& repository() { return *repository_; }

 public:
  [[nodiscard]] int https_port() const { return https_port_.load(); }
  [[nodiscard]] std::filesystem::path ca_certificate() const { return state_dir() / "ca/ca.pem"; }

 private:
  [[nodiscard]] HttpAnswer request(const std::string& host, const std::string& path,
                                   const std::string* body, const std::vector<HttpField>& fields);

  std::filesystem::path folder_;
  std::optional<Process> server_;
  std::unique_ptr<GitRepository> repository_;
  std::atomic<int> https_port_{0};
  std::atomic<int> runs_{0};
  std::vector<std::string> projects_;
};

}  // namespace atlasflow::end_to_end
