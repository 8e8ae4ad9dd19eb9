#include "events/reuse.hpp"

#include <algorithm>

#include "base/probe.hpp"
#include "events/environment.hpp"

namespace atlasflow {
namespace {

std::string list_of(const std::vector<const DeploymentState*>& targets) {
  if (targets.empty()) return "there is none yet";
  std::string list;
  for (const auto* target : targets) list += (list.empty() ? "" : ", ") + target->id.str();
  return "it is one of " + list;
}

// It was live, and its image is kept: that of what serves, or of one to roll back to.
bool can_go_back_to(const DeploymentState& of, const DeploymentState* live,
                    const std::vector<const DeploymentState*>& targets) {
  if (!of.routed || of.image.empty()) return false;
  return (live != nullptr && live->image == of.image) ||
         std::ranges::any_of(targets,
                             [&](const auto* target) { return target->image == of.image; });
}

struct Chooser {
  const ProjectHistory& history;
  const Reuse& reuse;
  const Principal& by;
  std::size_t rollbacks;
  const DeploymentState* live;  // what serves production; or null
  const DeploymentState* of = reuse.of.get();

  // Whether the janitor leaves it: that of a deployment that goes on, and those to roll back to.
  [[nodiscard]] bool keeps_image_of(const DeploymentState& state) const {
    for (const auto& [label, environment] : history.environments) {
      for (const auto& [id, going_on] : environment.deployments) {
        if (id == state.id || going_on.image == state.image) return true;
      }
    }
    return std::ranges::any_of(rollback_targets(history, rollbacks),
                               [&](const auto* target) { return target->image == state.image; });
  }

  [[nodiscard]] Result<DeploymentCommand> roll_back() const {
    const auto targets = rollback_targets(history, rollbacks);
    if (of != nullptr && live != nullptr &&
        (of->id == live->id || runs_the_same(history, *of, *live))) {
      return fail(ErrorCode::conflict,
                  "what deployment " + of->id.str() +
                      " runs is live already; roll back to another one: " + list_of(targets));
    }
    // Its image may be there again, built anew; the values of its variables are not.
    const auto kept = of != nullptr && can_go_back_to(*of, live, targets) &&
                      is_within_reach(history, of->id, rollbacks);
    if (of == nullptr ? targets.empty() : !kept) {
      ATLAS_PROBE(of != nullptr, "a rollback was refused, its image being gone");
      return fail(ErrorCode::conflict,
                  (of == nullptr ? "there is no earlier deployment to roll back to; "
                                 : "deployment " + of->id.str() +
                                       " can't be rolled back to: of those that were live, the "
                                       "newest " +
                                       std::to_string(rollbacks) + " images are kept; ") +
                      list_of(targets));
    }
    ATLAS_TRY(auto command, rollback_of(of == nullptr ? *targets.front() : *of, by));
    command.request.mutable_push()->set_delivery_id(reuse.command_id);
    return command;
  }

  [[nodiscard]] Result<DeploymentCommand> deploy_again(const DeploymentState& source,
                                                       pb::Redeployment kind) const {
    ATLAS_TRY(auto command, redeployment_of(source, history.project, kind, by));
    command.request.mutable_push()->set_delivery_id(reuse.command_id);
    return command;
  }

  [[nodiscard]] Result<DeploymentCommand> restart() const {
    if (live == nullptr) {
      return fail(ErrorCode::conflict, "project '" + history.project.name +
                                           "' has nothing live to restart; atlasflow deploy "
                                           "deploys it");
    }
    return deploy_again(*live, pb::REDEPLOYMENT_RESTART);
  }

  [[nodiscard]] Result<DeploymentCommand> redeploy() const {
    if (of == nullptr) {
      return fail(ErrorCode::conflict, "project '" + history.project.name +
                                           "' has no deployment to redeploy; deploy the branch's "
                                           "head with atlasflow deploy");
    }
    ATLAS_TRY(auto command, deploy_again(*of, pb::REDEPLOYMENT_REDEPLOY));
    std::get<RequestRedeploy>(command).request.mutable_push()->set_no_cache(reuse.no_cache);
    return command;
  }

  [[nodiscard]] Result<DeploymentCommand> promote() const {
    if (of == nullptr) return fail(ErrorCode::invalid_argument, "name a deployment to promote");
    if (live != nullptr && live->id == of->id) {
      return fail(ErrorCode::conflict, "deployment " + of->id.str() + " is in production");
    }
    if (of->push.pull_request().from_fork()) {
      return fail(ErrorCode::conflict,
                  "deployment " + of->id.str() +
                      " is of a fork's pull request, and production has the project's variables; "
                      "merge it, and what is merged is deployed");
    }
    if (!keeps_image_of(*of)) {
      ATLAS_PROBE(true, "a promotion was refused, its image being gone");
      return fail(ErrorCode::conflict, "deployment " + of->id.str() +
                                           " has ended, so its image is not kept; deploy its "
                                           "commit with atlasflow deploy " +
                                           history.project.name + " --sha " + of->push.after());
    }
    return deploy_again(*of, pb::REDEPLOYMENT_PROMOTE);
  }
};

}  // namespace

Result<DeploymentCommand> decide(const ProjectHistory& history, const Reuse& reuse,
                                 const Principal& by, std::size_t rollbacks) {
  if (!history.project.exists()) return fail(ErrorCode::not_found, "there is no such project");
  const auto production = history.environments.find(k_production);
  const auto* live =
      production == history.environments.end() ? nullptr : serving(production->second);
  const Chooser chooser{history, reuse, by, rollbacks, live};
  switch (reuse.kind) {
    case ReuseKind::rollback:
      return chooser.roll_back();
    case ReuseKind::redeploy:
      return chooser.redeploy();
    case ReuseKind::promote:
      return chooser.promote();
    case ReuseKind::restart:
      return chooser.restart();
  }
  return fail(ErrorCode::internal, "an unknown kind of reuse");
}

}  // namespace atlasflow
