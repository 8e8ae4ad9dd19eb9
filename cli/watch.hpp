// What the verbs that begin or change a deployment share: sending the command so that a repetition
// is harmless, watching what becomes of it, and saying how it ended. One thread; calls block.
#pragma once

#include <functional>
#include <ostream>
#include <set>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "cli/client.hpp"
#include "cli/verbs.hpp"

namespace atlasflow::cli {

// 32 hex digits. The same command sent twice is one deployment.
[[nodiscard]] std::string new_command_id();

// POST of a body with a command_id. A connection that broke may have delivered it, so it is sent
// again a few times.
[[nodiscard]] Result<nlohmann::json> send_command(ApiClient& api, const std::string& path,
                                                  const nlohmann::json& body);

// Every status at which nothing follows any more.
[[nodiscard]] bool has_ended(const nlohmann::json& deployment);

class DeploymentWatch {
 public:
  // Milestones that `deployment` has already are not printed unless it is all new.
  DeploymentWatch(ApiClient& api, const Terminal& terminal, std::ostream& progress,
                  const nlohmann::json& deployment, bool is_new);

  // Prints each milestone and each wait once; the deployment as it stands when `done` holds of it.
  // A server that is away is waited for, up to two minutes.
  [[nodiscard]] Result<nlohmann::json> until(
      const std::function<bool(const nlohmann::json&)>& done);

 private:
  void print_new_milestones(const nlohmann::json& deployment);
  void print_new_waits(const nlohmann::json& deployment);
  // What an app's owner can do something about, as soon as it is known.
  void print_new_notices(const nlohmann::json& deployment);
  void print_new_problems(const nlohmann::json& deployment);

  ApiClient& api_;
  const Terminal& terminal_;
  std::ostream& progress_;
  std::string id_;
  std::size_t printed_;                  // milestones
  TimestampUs since_;                    // what their times are told from; 0: the next one
  std::string waits_;                    // as printed last
  std::size_t notices_ = 0;              // printed
  std::set<std::string> problems_ = {};  // printed
};

struct Follow {
  bool wait = false;
  bool json = false;
};

// Of a deployment that a command has just made: what it is, and with `wait` how it goes until it is
// live or has ended. Answers the exit code.
[[nodiscard]] int follow_new(const nlohmann::json& deployment, const Follow& follow, ApiClient& api,
                             const Terminal& terminal);

// Says on stderr why it ended without going live; 0 when that is as it should be (skipped), else 1.
[[nodiscard]] int report_end(const nlohmann::json& deployment, ApiClient& api,
                             const Terminal& terminal, std::ostream& progress);

// The last 50 lines of the deployment's log of that kind ("run", "build", "release"), to stderr.
// `instance`: of a run log, "0"; empty: the first.
void print_log_tail(const nlohmann::json& deployment, const std::string& kind,
                    const std::string& instance, ApiClient& api, const Terminal& terminal);

}  // namespace atlasflow::cli
