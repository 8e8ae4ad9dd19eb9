#include "storage/readmodel/retention.hpp"

#include <algorithm>
#include <limits>
#include <map>

#include "events/environment.hpp"
#include "events/project_history.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::size_t k_all = std::numeric_limits<std::size_t>::max();

bool could_serve_again(const DeploymentState& state) {
  return state.routed && !is_preview(state.push.environment()) && !state.image.empty();
}

// When it ended; nothing of one that has not.
Position end_of(const DeploymentView& view) {
  if (!is_terminal(view.state.status) || view.milestones.empty()) return {};
  return view.milestones.back().position;
}

// What was live, in the order in which rollback_targets() offers it: what has not ended, the newest
// first, then what has, the latest end first; as far as a rollback may reach.
std::vector<const DeploymentState*> reachable(const std::vector<DeploymentView>& newest_first,
                                              std::size_t rollbacks) {
  std::vector<const DeploymentView*> in_order;
  for (const auto& view : newest_first) {
    if (could_serve_again(view.state)) in_order.push_back(&view);
  }
  std::stable_sort(in_order.begin(), in_order.end(), [](const auto* a, const auto* b) {
    const bool a_ended = is_terminal(a->state.status);
    const bool b_ended = is_terminal(b->state.status);
    return a_ended == b_ended ? end_of(*a) > end_of(*b) : b_ended;
  });
  std::vector<const DeploymentState*> states;
  states.reserve(in_order.size());
  for (const auto* view : in_order) states.push_back(&view->state);
  states.resize(within_reach(states, rollbacks));
  return states;
}

// Without the one that serves these are `rollbacks` images; so rollbacks + 1 hold them, whichever
// serves.
std::set<ImageRef> images_to_keep(const std::vector<DeploymentView>& newest_first,
                                  std::size_t rollbacks) {
  std::set<ImageRef> images;
  for (const auto* state : reachable(newest_first, rollbacks)) images.insert(state->image);
  return images;
}

// Adds the values for that use as they were at those versions of the project's stream.
void add_values_at(const std::set<StreamVersion>& versions,
                   const std::vector<SealedChange>& changes, SealedChange::Use use,
                   std::set<std::string>& refs) {
  std::map<std::string, std::string> values;
  auto change = changes.begin();
  for (const auto version : versions) {
    for (; change != changes.end() && change->version <= version; ++change) {
      if (change->use == use) values[change->name] = change->ref;
    }
    for (const auto& [name, ref] : values) refs.insert(ref);
  }
}

}  // namespace

Retention retention_of(const ProjectView& project, const std::vector<DeploymentView>& newest_first,
                       std::size_t rollbacks) {
  const auto images =
      project.state.exists() ? images_to_keep(newest_first, rollbacks) : std::set<ImageRef>{};
  Retention kept;
  if (project.state.exists()) kept.projects.insert(project.state.name);
  for (const auto& view : newest_first) {
    const auto& state = view.state;
    const bool unfinished = !is_terminal(state.status);
    if (!unfinished && !(could_serve_again(state) && images.contains(state.image))) continue;
    kept.deployments.insert(state.id);
    if (unfinished) kept.unfinished.insert(state.id);
    if (!state.image.empty()) kept.image_references.insert(state.image);
    if (!state.image_id.empty()) kept.image_ids.insert(state.image_id);
    if (!unfinished) continue;
    // Its build may take one of these at any moment.
    for (const auto& build : state.earlier) kept.image_ids.insert(build.image_id());
  }
  return kept;
}

Retention retention_of(const Catalog& catalog, std::size_t rollbacks) {
  Retention all;
  for (const auto& project : catalog.every_project()) {
    auto kept = retention_of(project, catalog.deployments_of(project.state.id, k_all), rollbacks);
    all.deployments.merge(kept.deployments);
    all.unfinished.merge(kept.unfinished);
    all.image_references.merge(kept.image_references);
    all.image_ids.merge(kept.image_ids);
    all.projects.merge(kept.projects);
  }
  return all;
}

SealedValues sealed_values_of(const Catalog& catalog, std::size_t rollbacks) {
  SealedValues values;
  const auto app = catalog.github_app();
  values.named.insert(app.sealed_refs.begin(), app.sealed_refs.end());
  values.needed.insert({app.state.private_key_ref, app.state.webhook_secret_ref});
  for (const auto& known : catalog.every_project()) {
    // What is named is read first: the read model goes on meanwhile, and a value whose event comes
    // after that must not look like one that nothing needs.
    const auto changes = catalog.sealed_changes_of(known.state.id);
    for (const auto& change : changes) values.named.insert(change.ref);
    const auto project = catalog.project(known.state.id)->state;
    const auto deployments = catalog.deployments_of(project.id, k_all);
    // A deployment keeps the variables that it was made with, and hands them on when it is
    // restarted or rolled back to.
    std::set<StreamVersion> versions;
    std::set<StreamVersion> building;  // what has its image is built no more
    for (const auto& view : deployments) {
      if (is_terminal(view.state.status)) continue;
      versions.emplace(view.state.push.settings_version());
      if (view.state.image_id.empty()) building.emplace(view.state.push.settings_version());
    }
    if (project.exists()) {
      values.needed.insert(project.webhook_secret_ref);
      values.needed.insert(project.notify_secret_ref);
      for (const auto& [variable, entry] : project.env) values.needed.insert(entry.sealed_ref);
      for (const auto& [name, entry] : project.build_secrets) {
        values.needed.insert(entry.sealed_ref);
      }
      for (const auto* state : reachable(deployments, rollbacks)) {
        versions.emplace(state->push.settings_version());
      }
    }
    add_values_at(versions, changes, SealedChange::Use::variable, values.needed);
    add_values_at(building, changes, SealedChange::Use::build_secret, values.needed);
  }
  return values;
}

bool is_retained(const Catalog& catalog, const DeploymentId& id, std::size_t rollbacks) {
  const auto view = catalog.deployment(id);
  if (!view) return false;
  const auto project = catalog.project(ProjectId{view->state.push.project_id()});
  if (!project) return false;
  const auto all = catalog.deployments_of(project->state.id, k_all);
  return retention_of(*project, all, rollbacks).deployments.contains(id);
}

std::set<DeploymentId> deployments_with_kept_logs(const Catalog& catalog, std::size_t rollbacks) {
  std::set<DeploymentId> kept;
  for (const auto& project : catalog.every_project()) {
    const auto all = catalog.deployments_of(project.state.id, k_all);
    kept.merge(retention_of(project, all, rollbacks).deployments);
    if (!project.state.exists()) continue;
    for (std::size_t i = 0; i < std::min(all.size(), k_failed_logs_kept); ++i) {
      if (all[i].state.status == DeploymentStatus::failed) kept.insert(all[i].state.id);
    }
  }
  return kept;
}

}  // namespace atlasflow::storage
