// The verbs that talk to a running server: each does what its command says and returns the exit
// code. Any thread; they block.
#pragma once

#include <istream>
#include <ostream>

#include "cli/client.hpp"
#include "cli/command_line.hpp"
#include "events/ids.hpp"

namespace atlasflow::cli {

inline constexpr int k_exit_ok = 0;
inline constexpr int k_exit_failed = 1;
inline constexpr int k_exit_usage = 2;
inline constexpr int k_exit_disk_full = 75;  // EX_TEMPFAIL of sysexits.h: later it may work

struct Terminal {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
};

// Prints the sentence; 2 when the input was wrong or does not fit what is there, else 1.
int report(const Terminal& terminal, const Error& error);

int run(const ProjectCreateCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectListCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectShowCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectSetCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectDeleteCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectNotifySecretCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectDeployKeyCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectHostKeyCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectLoginCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectWebhookSecretCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ProjectPushTokenCommand& command, ApiClient& api, const Terminal& terminal);
int run(const GitHubConnectCommand& command, ApiClient& api, const Terminal& terminal);
int run(const GitHubStatusCommand& command, ApiClient& api, const Terminal& terminal);
int run(const GitHubDisconnectCommand& command, ApiClient& api, const Terminal& terminal);
int run(const EnvSetCommand& command, ApiClient& api, const Terminal& terminal);
int run(const EnvListCommand& command, ApiClient& api, const Terminal& terminal);
int run(const EnvUnsetCommand& command, ApiClient& api, const Terminal& terminal);
int run(const BuildSecretSetCommand& command, ApiClient& api, const Terminal& terminal);
int run(const BuildSecretListCommand& command, ApiClient& api, const Terminal& terminal);
int run(const BuildSecretUnsetCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainAddCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainListCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainCheckCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainCertCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainRetryCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainRemoveCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainCertUploadCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainCertRemoveCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainRedirectCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DomainAccountRolloverCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DeployCommand& command, ApiClient& api, const Terminal& terminal);
int run(const RollbackCommand& command, ApiClient& api, const Terminal& terminal);
int run(const RedeployCommand& command, ApiClient& api, const Terminal& terminal);
int run(const PromoteCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ApproveCommand& command, ApiClient& api, const Terminal& terminal);
int run(const RestartCommand& command, ApiClient& api, const Terminal& terminal);
int run(const CancelCommand& command, ApiClient& api, const Terminal& terminal);
int run(const StopCommand& command, ApiClient& api, const Terminal& terminal);
int run(const StartCommand& command, ApiClient& api, const Terminal& terminal);
int run(const ScaleCommand& command, ApiClient& api, const Terminal& terminal);
int run(const DeploymentsCommand& command, ApiClient& api, const Terminal& terminal);
int run(const StatusCommand& command, ApiClient& api, const Terminal& terminal);
int run(const LogsCommand& command, ApiClient& api, const Terminal& terminal);
int run(const EventsCommand& command, ApiClient& api, const Terminal& terminal);

// Microseconds since 1970, from the machine's clock.
[[nodiscard]] TimestampUs wall_clock();

// The heading and one row per deployment.
[[nodiscard]] std::string deployments_table(const nlohmann::json& deployments, TimestampUs now,
                                            bool with_project);

// The whole of a file, or of `in` for "-". At most 1 MiB.
[[nodiscard]] Result<std::string> read_input(const std::string& file, std::istream& in);
// The same without the line break at its end that editors and `openssl rand` leave; what:
// "webhook". invalid_argument: it is empty.
[[nodiscard]] Result<std::string> read_secret(const std::string& file, const std::string& what,
                                              std::istream& in);

}  // namespace atlasflow::cli
