// Carries out the commands of threads outside the actor system: reads what it needs, seals what is
// secret, asks an actor and waits until the read model shows the answer. Owned by the control
// plane, which outlives every call; any thread that is not an actor's.
#pragma once

#include <mutex>

#include <caf/all.hpp>

#include "actors/runtime/branch_look.hpp"
#include "actors/runtime/commands.hpp"
#include "actors/runtime/parts.hpp"
#include "events/reuse.hpp"

namespace atlasflow::actors {

// Asks an actor and waits for its answer. disk_full: at once, whatever the actor waits for.
template <typename Reply, typename Handle, typename Message>
Result<Reply> ask(caf::actor_system& system, const storage::EventLog& log, const Handle& handle,
                  Message message) {
  ATLAS_TRYV(log.has_room());
  caf::scoped_actor self{system};
  Result<Reply> result = fail(ErrorCode::internal, "no answer");
  self->request(handle, k_request_timeout, std::move(message))
      .receive([&](Reply& reply) { result = std::move(reply); },
               [&](const caf::error& error) { result = tl::unexpected(from_caf(error)); });
  return result;
}

class CommandRunner {
 public:
  CommandRunner(caf::actor_system& system, const Parts& parts, const storage::EventLog& log,
                const storage::Catalog& catalog, storage::SecretStore& secrets,
                const Engines& engines, const std::string& domain, const DomainSettings& domains)
      : system_(system),
        parts_(parts),
        log_(log),
        catalog_(catalog),
        secrets_(secrets),
        engines_(engines),
        domain_(domain),
        domains_(domains) {}

  [[nodiscard]] Result<commands::Answer> run(const Principal& by, commands::Command command);

 private:
  struct Run;

  template <typename Reply, typename Handle, typename Message>
  Result<Reply> answered(const Handle& handle, Message message) {
    ATLAS_TRY(auto reply, ask<Reply>(system_, log_, handle, std::move(message)));
    ATLAS_TRYV(wait_for_catalog(reply.position));
    return reply;
  }
  // Of a stream that has no actor; one thread at a time.
  [[nodiscard]] Result<void> record(const StreamId& stream, const Principal& by, pb::Event event);
  [[nodiscard]] Result<void> wait_for_catalog(Position position) const;
  [[nodiscard]] Result<storage::ProjectView> known_project(const std::string& name) const;
  // The name that was typed, as the log has it.
  [[nodiscard]] Result<DomainName> domain_name(const std::string& typed) const;
  [[nodiscard]] Result<storage::DeploymentView> known_deployment(const DeploymentId& id) const;

  caf::actor_system& system_;
  const Parts& parts_;
  const storage::EventLog& log_;
  const storage::Catalog& catalog_;
  storage::SecretStore& secrets_;
  const Engines& engines_;
  const std::string& domain_;  // the server's own
  const DomainSettings& domains_;
  std::mutex env_mutex_;
  std::mutex app_mutex_;
  std::mutex report_mutex_;
  BranchLooks looks_;
};

}  // namespace atlasflow::actors
