// From refs that a push moved to commands: what the pusher is told of each, and the deployments
// that came of it. Everything that was pushed is recorded once, also when this process dies
// meanwhile or the log is full: receive/pending_push.hpp. Blocking; any thread, with the project's
// turn.
#pragma once

#include <stop_token>
#include <string>
#include <vector>

#include "api/context.hpp"
#include "receive/pending_push.hpp"
#include "receive/repositories.hpp"

namespace atlasflow::api {

struct PushOutcome {
  std::vector<std::string> lines;         // for the pusher, a sentence each
  std::vector<DeploymentId> deployments;  // production's first
};

class PushIntake {
 public:
  // Both must outlive it.
  PushIntake(const Context& context, receive::Repositories& repositories)
      : context_(context), repositories_(repositories) {}

  // The project as it stands; not_found: it was deleted.
  [[nodiscard]] Result<ProjectState> project(const ProjectId& id) const;
  // Writes down how the repository stands, before a push changes anything.
  [[nodiscard]] Result<void> begin(const ProjectState& project, const std::string& pusher,
                                   const std::stop_token& stop) const;
  // Records what the pending push of the project moved; nothing when there is none. not_found: the
  // project was deleted. An error: it is pending still.
  [[nodiscard]] Result<PushOutcome> settle(const ProjectId& id, const std::stop_token& stop) const;

  // Of all projects: settles what is pending and removes the repositories of those that are gone.
  // False: something is left to do.
  [[nodiscard]] bool look_after(const std::stop_token& stop) const;

 private:
  [[nodiscard]] Result<void> record(const ProjectState& project,
                                    const receive::PendingPush& pending,
                                    const receive::RefChange& change, PushOutcome& outcome) const;
  [[nodiscard]] Result<receive::RefsSeen> look_at(const ProjectState& project, std::string& only,
                                                  const std::stop_token& stop) const;
  [[nodiscard]] Result<std::vector<receive::RefChange>> changes_of(
      const ProjectState& project, receive::PendingPush pending, PushOutcome& outcome,
      const std::stop_token& stop) const;
  [[nodiscard]] bool look_after(const std::string& id, const std::stop_token& stop) const;

  const Context& context_;
  receive::Repositories& repositories_;
};

}  // namespace atlasflow::api
