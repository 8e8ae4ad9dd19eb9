// The control plane as its callers outside the actor system see it: commands, each with who asks,
// that block until they are durable, and the read model. Owned by the composition root; every call
// may come from any thread that is not an actor's. The actors behind it: actors/README.md.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "actors/domains/domain_settings.hpp"
#include "actors/runtime/commands.hpp"
#include "actors/runtime/engines.hpp"
#include "base/assert.hpp"
#include "base/error.hpp"
#include "base/secret.hpp"
#include "events/github_reports.hpp"
#include "events/principal.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::actors {

struct ControlPlaneConfig {
  std::string domain = "atlasflow.localhost";
  std::string build_id;
  int builders = 1;
  std::size_t rollbacks = 5;  // earlier images that are kept, and so can be rolled back to
  DomainSettings domains;
  // Where snapshots of the folds are kept and looked for (storage/snapshots/); empty: nowhere, and
  // every start folds the whole log. They are told apart by build_id.
  std::filesystem::path snapshots;
  std::string crash_after;  // tests: kill -9 this process when an event of this name is durable
  std::string throw_after;  // tests: the read model throws when it is told of such an event
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

  // Durable before it returns. The answer is the command's own (actors/runtime/commands.hpp).
  template <typename Command>
  [[nodiscard]] Result<typename Command::Answer> execute(const Principal& by, Command command) {
    ATLAS_TRY(auto answer, carry_out(by, std::move(command)));
    auto* own = std::get_if<typename Command::Answer>(&answer);
    ATLAS_ASSERT(own != nullptr, "a command is answered as it says");
    return std::move(*own);
  }

  // The plain webhook secrets to check a delivery against: the projects', by name. The server's own
  // secret is the API's configuration.
  [[nodiscard]] virtual std::vector<std::pair<std::string, std::string>> webhook_secrets() = 0;

  // What the GitHub App's deliveries are signed with; empty: none is connected, or it does not
  // open.
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

  // What GitHub was still to be told when the control plane started, and the newest record that is
  // in it; once. Nothing: it was not folded, or is taken, and the log says it.
  struct ReportsBegun {
    GitHubReportsOwed owed;
    Position position;
  };
  [[nodiscard]] virtual std::optional<ReportsBegun> take_github_reports() { return std::nullopt; }

  // A domain's name as the log has it, of how a person typed it; the text itself where it is none.
  [[nodiscard]] virtual std::string domain_named(const std::string& typed) const = 0;
  // Of a domain, as the server is configured.
  [[nodiscard]] virtual DomainOutlook outlook_of(const DomainState& state) const = 0;

 protected:
  [[nodiscard]] virtual Result<commands::Answer> carry_out(const Principal& by,
                                                           commands::Command command) = 0;
};

// Starts every actor, replays the log and takes up what is unfinished. The engines, the log and the
// secrets must outlive the control plane.
[[nodiscard]] Result<std::unique_ptr<ControlPlane>> start_control_plane(
    const ControlPlaneConfig& config, storage::EventLog& log, storage::SecretStore& secrets,
    const Engines& engines);

}  // namespace atlasflow::actors
