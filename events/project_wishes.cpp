// wishes: the order between a project's deployments.
#include <algorithm>

#include "base/probe.hpp"
#include "events/environment.hpp"
#include "events/project_history.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

// One environment's wishes, given that of the whole project.
struct Order {
  const ProjectHistory& history;
  const std::string& name;
  const EnvironmentHistory& environment;
  const Starting& starting;
  TimestampUs now;
  Wishes& wishes;

  void tell(const DeploymentId& id, DeploymentCommand command) const {
    wishes.tell.push_back({id, std::move(command)});
  }
  void look_at(TimestampUs due) const {
    if (!wishes.look_again || *wishes.look_again > due) wishes.look_again = due;
  }
  [[nodiscard]] bool has_actor(const DeploymentId& id) const {
    return !history.quarantined.contains(id);
  }

  // Everything goes, for the reason.
  void end_all(const Principal& by, const std::string& reason) const {
    for (const auto& [id, state] : environment.deployments) {
      if (is_serving(state.status)) {
        tell(id, Retire{by, {}, reason});
      } else if (state.status == DeploymentStatus::queued ||
                 (is_under_way(state.status) && state.status != DeploymentStatus::failing &&
                  state.status != DeploymentStatus::cancelling)) {
        tell(id, Cancel{by, reason});
      }
    }
  }

  // The newest that is under way. There is one at most, unless a project's actor died between two
  // words; then the older ones give way.
  [[nodiscard]] const DeploymentState* under_way() const {
    const DeploymentState* newest = nullptr;
    for (const auto& id : environment.order) {
      const auto& state = environment.deployments.at(id);
      ATLAS_PROBE(!has_actor(id), "a quarantined deployment does not hold its environment's turn");
      if (!is_under_way(state.status) || !has_actor(id)) continue;
      if (newest != nullptr && newest->status != DeploymentStatus::failing &&
          newest->status != DeploymentStatus::cancelling) {
        ATLAS_PROBE(true, "two deployments of one environment were under way at once");
        tell(newest->id, Override{id});
      }
      newest = &state;
    }
    return newest;
  }

  // A preview that nobody has pushed to for its time to live.
  [[nodiscard]] bool has_outlived(const DeploymentState& served) const {
    const auto ttl = history.project.settings.preview_ttl_us();
    if (!is_preview(name) || ttl == 0) return false;
    const auto due = environment.made_at.at(served.id) + ttl;
    if (now < due) look_at(due);
    ATLAS_PROBE(now >= due, "a preview outlived its time");
    return now >= due;
  }

  // Whether the queued one may end the running one. A deployment that builds nothing need not wait
  // for a build; a push waits for a bounded time, and what came out of such an override is spared.
  [[nodiscard]] bool may_override(const DeploymentState& queued,
                                  const DeploymentState& running) const {
    switch (running.status) {
      case DeploymentStatus::cloning:
      case DeploymentStatus::building:
      case DeploymentStatus::pushing:
        break;
      default:
        return false;
    }
    ATLAS_PROBE(!queued.image.empty(), "a deployment with an image does not wait for a build");
    if (!queued.image.empty()) return true;
    const auto bound = history.project.settings.supersede_after_us();
    ATLAS_PROBE(running.id == environment.spared,
                "a deployment under way is spared though a newer one waits");
    if (bound == 0 || running.id == environment.spared) return false;
    const auto due = environment.made_at.at(queued.id) + bound;
    if (now < due) look_at(due);
    ATLAS_PROBE(now >= due, "a push waited so long that it ends the build before it");
    return now >= due;
  }

  // What watched paths are compared with. A person who commands a deployment wants it whatever
  // changed; only a push may be skipped.
  static std::string base_for(const DeploymentState& queued, const DeploymentState* served) {
    const bool pushed = queued.push.trigger() == pb::TRIGGER_WEBHOOK;
    return pushed && served != nullptr ? served->push.after() : "";
  }

  [[nodiscard]] Start start_of(const DeploymentState& queued, const DeploymentState* served) const {
    return {base_for(queued, served), history.builds};
  }

  [[nodiscard]] bool waits(const DeploymentState& state) const {
    return state.status == DeploymentStatus::queued && has_actor(state.id);
  }
  // It goes on or serves: what is older has missed its own turn.
  [[nodiscard]] bool has_its_turn(const DeploymentState& state) const {
    if (is_serving(state.status)) return true;
    return is_under_way(state.status) && state.status != DeploymentStatus::failing &&
           state.status != DeploymentStatus::cancelling && has_actor(state.id);
  }

  void take_turns(const DeploymentState* served) const {
    if (const auto told = starting.find(name); told != starting.end()) {
      const auto found = environment.deployments.find(told->second);
      if (found != environment.deployments.end() &&
          found->second.status == DeploymentStatus::queued && has_actor(told->second)) {
        // Said again, in case its actor died before it could: a second Start is refused.
        return tell(told->second, start_of(found->second, served));
      }
    }
    const DeploymentState* newest = nullptr;
    for (const auto& id : environment.order) {
      const auto& state = environment.deployments.at(id);
      if (waits(state) || has_its_turn(state)) newest = &state;
    }
    if (newest == nullptr) return;
    for (const auto& id : environment.order) {
      const auto& state = environment.deployments.at(id);
      if (!waits(state) || &state == newest) continue;
      ATLAS_PROBE(!waits(*newest), "one was not known when a newer one had its turn");
      tell(id, Supersede{newest->id});
    }
    if (!waits(*newest)) return;
    const auto* running = under_way();
    if (running == nullptr) {
      tell(newest->id, start_of(*newest, served));
    } else if (may_override(*newest, *running)) {
      tell(running->id, Override{newest->id});
    }
  }

  void roll_back_from(const DeploymentState& served) const {
    if (is_preview(name) || !served.crashed_early || !served.rollback_to.empty()) return;
    for (const auto& [id, state] : environment.deployments) {
      if (state.status == DeploymentStatus::queued || is_under_way(state.status)) return;
    }
    const auto* good = good_before(history, served);
    ATLAS_PROBE(good == nullptr,
                "an app crashed soon after its first going live: there is nothing to roll back to");
    ATLAS_PROBE(good != nullptr, "an automatic rollback is wished for");
    if (good != nullptr) wishes.roll_back.push_back({served.id, good->id});
  }

  void decide() const {
    ATLAS_PROBE(history.project.deleted && !environment.deployments.empty(),
                "a deleted project has deployments that must end");
    if (history.project.deleted)
      return end_all(history.project.deleted_by, "the project was deleted");
    ATLAS_PROBE(environment.pushes.deleted && !environment.deployments.empty(),
                "a deleted branch has deployments that must end");
    if (environment.pushes.deleted)
      return end_all(environment.pushes.deleted_by, "the branch was deleted");
    const auto pull_request = history.pull_requests.find(pull_request_of(name));
    if (pull_request != history.pull_requests.end() && pull_request->second.closed) {
      ATLAS_PROBE(!environment.deployments.empty(),
                  "a closed pull request has deployments that must end");
      return end_all(pull_request->second.closed_by, "the pull request was closed");
    }
    const auto* served = serving(environment);
    for (const auto& [id, state] : environment.deployments) {
      if (is_serving(state.status) && &state != served) {
        tell(id, Retire{Principal::system("project"), served->id, "a newer deployment took over"});
      }
    }
    if (served != nullptr) {
      if (has_outlived(*served))
        tell(served->id, Retire{Principal::system("project"), {}, "the preview's time is over"});
      roll_back_from(*served);
    }
    take_turns(served);
  }
};

}  // namespace

Wishes wishes(const ProjectHistory& history, const Starting& starting, TimestampUs now) {
  Wishes all;
  for (const auto& [name, environment] : history.environments) {
    Order{history, name, environment, starting, now, all}.decide();
  }
  return all;
}

std::string reason_against_preview(const ProjectHistory& history, const std::string& environment) {
  std::int32_t previews = 0;
  for (const auto& [name, other] : history.environments) {
    if (!is_preview(name) || other.deployments.empty()) continue;
    if (name == environment) return "";
    ++previews;
  }
  const auto limit = history.project.settings.preview_limit();
  ATLAS_PROBE(previews >= limit, "a preview was refused, there being too many");
  if (previews < limit) return "";
  return "there are " + std::to_string(previews) +
         " previews already; delete a branch, close a pull request, or raise preview_limit";
}

}  // namespace atlasflow
