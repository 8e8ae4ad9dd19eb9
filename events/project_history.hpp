// A project together with its deployments, and what should happen to them next: the law of order
// between deployments. A fold of the project's stream and its deployments' streams. Pure.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "events/deployment.hpp"
#include "events/project.hpp"
#include "events/pull_request.hpp"
#include "events/push_order.hpp"

namespace atlasflow {

// Production or one preview: its deployments take turns.
struct EnvironmentHistory {
  std::map<DeploymentId, DeploymentState> deployments;  // those that have not reached their end
  std::vector<DeploymentId> order;                      // of the same, as they were made
  std::map<DeploymentId, TimestampUs> made_at;          // of the same
  std::deque<DeploymentState> past;  // ended ones that had been live, newest last; bounded
  PushOrder pushes;
  // A newer push may end a running build that it has waited for too long, but not the one that came
  // out of that: a stream of pushes shall not starve the environment.
  bool protect_next = false;
  DeploymentId spared;
};

struct ProjectHistory {
  ProjectState project;
  std::map<std::string, EnvironmentHistory> environments;
  // Of those that find() finds: what ended and was never live, or long ago, is without number.
  std::map<DeploymentId, std::string> environment_by_id;
  // Of the record that began the newest deployment. They are folded in the log's order, so what is
  // told of a second time is known by it, though that deployment is forgotten. The answers to a
  // project's own appends may be ahead of what the log tells: its actor sees to the order.
  Position newest_made;
  std::set<DeploymentId> quarantined;  // they have no actor, so nobody waits for them
  // Versions of the project's stream at which a variable was set or unset, ascending.
  std::vector<StreamVersion> env_changes;
  // By number; of those that are no more than known of, too.
  std::map<std::int64_t, PullRequestState> pull_requests;
  std::vector<pb::EarlierBuild> builds;  // what a next one may take; see events/earlier_builds.hpp
  std::set<DeploymentId> building;       // what may come to stand there, once it is built

  [[nodiscard]] const DeploymentState* find(const DeploymentId& id) const;
};

// What is deployed, of an event that begins a deployment; null of any other.
[[nodiscard]] const pb::PushReceived* push_of(const pb::Event& event);
// Whether it is such an event.
[[nodiscard]] bool begins_deployment(pb::Event::KindCase kind);

// Folds an event of the project's stream, or of the deployment's.
void evolve(ProjectHistory& history, const pb::Event& event);
void evolve(ProjectHistory& history, const DeploymentId& id, const pb::Event& event,
            TimestampUs recorded_at);

// What serves the environment: of those that serve, the one whose claim is the newest; or null.
[[nodiscard]] const DeploymentState* serving(const EnvironmentHistory& environment);

// A deployment is a commit with its image, settings and variables: whether these two differ in
// none of them, so that going from one to the other would change nothing.
[[nodiscard]] bool runs_the_same(const ProjectHistory& history, const DeploymentState& one,
                                 const DeploymentState& other);

// What can be rolled back to: deployments of production that were live, newest first, of those that
// run the same one, and none that runs what serves now; at most `limit`.
[[nodiscard]] std::vector<const DeploymentState*> rollback_targets(const ProjectHistory& history,
                                                                   std::size_t limit);

// Of deployments that were live in production, in the order in which they are gone back to, how
// many are within reach, at least what rollback_targets() offers: those up to where the image of
// one would be the one too many, `rollbacks` being kept beside what serves. What is out of reach
// never comes back into it, so what only such a deployment needs, its variables' values, can go for
// good.
[[nodiscard]] std::size_t within_reach(const std::vector<const DeploymentState*>& in_order,
                                       std::size_t rollbacks);
// Whether the deployment is one of them.
[[nodiscard]] bool is_within_reach(const ProjectHistory& history, const DeploymentId& id,
                                   std::size_t rollbacks);

// What the automatic rollback of `served` goes back to: the newest that was live before it and did
// not crash soon after that itself. Null when there is none, or when it runs the same: then the app
// crashes for a reason that no rollback cures, and an older commit is not to blame for it.
[[nodiscard]] const DeploymentState* good_before(const ProjectHistory& history,
                                                 const DeploymentState& served);

struct Tell {
  DeploymentId id;
  DeploymentCommand command;
};
struct RollBack {  // by itself, since `from` crashed soon after it went live
  DeploymentId from;
  DeploymentId to;
};
struct Wishes {
  std::vector<Tell> tell;
  std::vector<RollBack> roll_back;
  std::optional<TimestampUs> look_again;  // when time alone may change the wishes
};

// Told to start by environment, whether or not the log shows it yet.
using Starting = std::map<std::string, DeploymentId>;

// What is to be done, by comparing what is with what should be. Nothing but `starting` is
// remembered of what was wished before, so a wish may be repeated and must do no harm then.
// While a started one is still queued in the history, its environment starts nothing else.
[[nodiscard]] Wishes wishes(const ProjectHistory& history, const Starting& starting,
                            TimestampUs now);

// Why no further preview may be made for the environment, as a sentence; empty when it may.
[[nodiscard]] std::string reason_against_preview(const ProjectHistory& history,
                                                 const std::string& environment);

// The command that makes a new deployment of an earlier one. `from` is what is restored or deployed
// again; conflict: it has nothing that could be run. why: of what nobody asked for, a sentence.
[[nodiscard]] Result<RequestRollback> rollback_of(const DeploymentState& from, const Principal& by,
                                                  const std::string& why = {});
// A restart keeps settings and environment variables, a promotion takes the variables of now, a
// redeployment both and is built anew.
[[nodiscard]] Result<RequestRedeploy> redeployment_of(const DeploymentState& from,
                                                      const ProjectState& project,
                                                      pb::Redeployment kind, const Principal& by);

}  // namespace atlasflow
