#include "storage/readmodel/retention.hpp"

#include <algorithm>
#include <map>

#include "events/project_history.hpp"

namespace atlasflow::storage {
namespace {

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

namespace {

// Of a project's deployments, newest first: all that have not ended, and of those that have at
// least what retention_of() keeps. Whoever keeps nothing of the others need not read them.
Result<std::vector<DeploymentView>> worth_a_look(const Catalog& catalog,
                                                 const ProjectState& project,
                                                 std::size_t rollbacks) {
  const auto entries = catalog.entries_of(project.id);
  std::vector<DeploymentView> views;
  std::set<std::uint64_t> images;
  std::vector<const DeploymentEntry*> ended;
  for (const auto& entry : entries) {
    if (entry.ended != Position{}) {
      // Of a project that was deleted nothing is rolled back to.
      if (entry.served_image != 0 && project.exists()) ended.push_back(&entry);
      continue;
    }
    ATLAS_TRY(auto view, catalog.deployment(entry.id));
    views.push_back(std::move(view));
  }
  // What is within reach are rollbacks + 1 images at most, of what has not ended or ended last. One
  // more shows where it ends: without it what lies beyond would seem to be within.
  std::ranges::sort(ended, std::greater<>{}, &DeploymentEntry::ended);
  for (const auto* entry : ended) {
    if (images.size() > rollbacks + 1) break;
    images.insert(entry->served_image);
  }
  for (const auto& view : views) {
    if (could_serve_again(view.state)) images.insert(hash_of(view.state.image));
  }
  for (const auto* entry : ended) {
    if (!images.contains(entry->served_image)) continue;
    ATLAS_TRY(auto view, catalog.deployment(entry->id));
    views.push_back(std::move(view));
  }
  std::ranges::sort(views, std::greater<>{}, &DeploymentView::number);
  return views;
}

}  // namespace

Result<Retention> retention_of(const Catalog& catalog, std::size_t rollbacks) {
  Retention all;
  for (const auto& project : catalog.every_project()) {
    ATLAS_TRY(const auto views, worth_a_look(catalog, project.state, rollbacks));
    auto kept = retention_of(project, views, rollbacks);
    all.deployments.merge(kept.deployments);
    all.unfinished.merge(kept.unfinished);
    all.image_references.merge(kept.image_references);
    all.image_ids.merge(kept.image_ids);
    all.projects.merge(kept.projects);
  }
  return all;
}

Result<SealedValues> sealed_values_of(const Catalog& catalog, std::size_t rollbacks) {
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
    ATLAS_TRY(const auto deployments, worth_a_look(catalog, project, rollbacks));
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
      values.needed.insert(project.deploy_key_ref);
      values.needed.insert(project.login_ref);
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

Result<bool> is_retained(const Catalog& catalog, const DeploymentId& id, std::size_t rollbacks) {
  const auto view = catalog.deployment(id);
  if (!view && view.error().code == ErrorCode::not_found) return false;
  if (!view) return tl::unexpected(view.error());
  const auto project = catalog.project(ProjectId{view->state.push.project_id()});
  if (!project) return false;
  ATLAS_TRY(const auto views, worth_a_look(catalog, project->state, rollbacks));
  return retention_of(*project, views, rollbacks).deployments.contains(id);
}

Result<std::set<DeploymentId>> deployments_with_kept_logs(const Catalog& catalog,
                                                          std::size_t rollbacks) {
  std::set<DeploymentId> kept;
  for (const auto& project : catalog.every_project()) {
    ATLAS_TRY(const auto views, worth_a_look(catalog, project.state, rollbacks));
    kept.merge(retention_of(project, views, rollbacks).deployments);
    if (!project.state.exists()) continue;
    const auto entries = catalog.entries_of(project.state.id);
    const auto newest = std::min(entries.size(), k_failed_logs_kept);
    for (auto entry = entries.end() - static_cast<std::ptrdiff_t>(newest); entry != entries.end();
         ++entry) {
      if (entry->failed) kept.insert(entry->id);
    }
  }
  return kept;
}

}  // namespace atlasflow::storage
