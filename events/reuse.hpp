// A new deployment of an earlier one: what a rollback, a redeployment, a promotion or a restart
// takes, and why it is refused. Pure.
#pragma once

#include <memory>
#include <string>

#include "events/project_history.hpp"

namespace atlasflow {

enum class ReuseKind : std::uint8_t { rollback, redeploy, promote, restart };

struct Reuse {
  ReuseKind kind = ReuseKind::rollback;
  std::shared_ptr<const DeploymentState> of =
      nullptr;                  // null: of a rollback or a restart, the project chooses
  std::string command_id = {};  // what is asked for twice under one of them is one deployment
  bool no_cache = false;        // of a redeployment: its build takes no layer of an earlier one
};

// rollbacks: how many earlier images are kept. conflict: with what can be had instead.
[[nodiscard]] Result<DeploymentCommand> decide(const ProjectHistory& history, const Reuse& reuse,
                                               const Principal& by, std::size_t rollbacks);

}  // namespace atlasflow
