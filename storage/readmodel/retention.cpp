#include "storage/readmodel/retention.hpp"

#include <algorithm>
#include <limits>

#include "events/environment.hpp"

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

// The images to roll back to, in the order in which rollback_targets() offers them: those of what
// has not ended, the newest first, then of what has, the latest end first. Without the one that
// serves these are `rollbacks` images; so the first rollbacks + 1 hold them, whichever serves.
std::set<std::string> images_to_keep(const std::vector<DeploymentView>& newest_first,
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
  std::set<std::string> images;
  for (const auto* view : in_order) {
    if (images.size() > rollbacks) break;
    images.insert(view->state.image);
  }
  return images;
}

}  // namespace

Retention retention_of(const ProjectView& project, const std::vector<DeploymentView>& newest_first,
                       std::size_t rollbacks) {
  const auto images =
      project.state.exists() ? images_to_keep(newest_first, rollbacks) : std::set<std::string>{};
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
