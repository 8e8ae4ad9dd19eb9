#include "storage/readmodel/catalog.hpp"

#include <algorithm>
#include <mutex>

#include "base/assert.hpp"
#include "base/buggify.hpp"
#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/environment.hpp"
#include "events/project_history.hpp"
#include "events/serving.hpp"

namespace atlasflow::storage {
namespace {

bool is_milestone(const pb::Event& event) {
  switch (event.kind_case()) {
    case pb::Event::kPushReceived:
    case pb::Event::kRollbackRequested:
    case pb::Event::kRedeployRequested:
    case pb::Event::kReleaseSucceeded:
    case pb::Event::kCloned:
    case pb::Event::kBuilt:
    case pb::Event::kImagePushed:
    case pb::Event::kVmStarted:
    case pb::Event::kHealthy:
    case pb::Event::kRouted:
      return true;
    default:
      return ends_deployment(event);
  }
}

// What the event changes of that, without a version; nothing of most events.
std::optional<SealedChange> sealed_change(const pb::Event& event) {
  using Use = SealedChange::Use;
  switch (event.kind_case()) {
    case pb::Event::kRepositoryConnected:
      return SealedChange{
          {}, Use::signature, "", event.repository_connected().webhook_secret_ref()};
    case pb::Event::kNotifySecretSet:
      return SealedChange{{}, Use::signature, "", event.notify_secret_set().sealed_ref()};
    case pb::Event::kEnvSet:
      return SealedChange{{}, Use::variable, event.env_set().name(), event.env_set().sealed_ref()};
    case pb::Event::kEnvUnset:
      return SealedChange{{}, Use::variable, event.env_unset().name(), ""};
    case pb::Event::kBuildSecretSet:
      return SealedChange{{},
                          Use::build_secret,
                          event.build_secret_set().name(),
                          event.build_secret_set().sealed_ref()};
    case pb::Event::kBuildSecretUnset:
      return SealedChange{{}, Use::build_secret, event.build_secret_unset().name(), ""};
    default:
      return std::nullopt;
  }
}

}  // namespace

std::string event_name(const pb::Event& event) {
  const auto* field =
      pb::Event::descriptor()->FindFieldByNumber(static_cast<int>(event.kind_case()));
  return field == nullptr ? "Unknown" : field->message_type()->name();
}

void Catalog::apply(const Record& record) {
  {
    const std::unique_lock lock(mutex_);
    ATLAS_ASSERT_EQ(record.position, position_.next());
    if (const auto id = deployment_of(record.stream); !id.empty()) {
      apply_to_deployment(id, record);
    } else if (const auto project = project_of(record.stream); !project.empty()) {
      apply_to_project(project, record);
    } else if (record.stream == node_stream()) {
      apply_to_node(record);
    } else if (record.stream == github_stream()) {
      apply_to_github_app(record);
    }
    domains_.apply(record.stream, record.event, record.recorded_at);
    position_ = record.position;
  }
  applied_.notify_all();
}

void Catalog::restore(CatalogFold fold) {
  {
    const std::unique_lock lock(mutex_);
    static_cast<CatalogFold&>(*this) = std::move(fold);
  }
  applied_.notify_all();
}

void Catalog::apply_to_deployment(const DeploymentId& id, const Record& record) {
  auto& view = deployments_[id];
  if (view.first_position == Position{}) {
    view.state.id = id;
    view.created_at = record.recorded_at;
    view.first_position = record.position;
  }
  evolve(view.state, record.event);
  ATLAS_ASSERT_EQ(view.state.version, record.stream_version);
  if (is_terminal(view.state.status)) {
    active_.erase(id);
  } else {
    active_.insert(id);
  }
  view.updated_at = record.recorded_at;
  if (is_milestone(record.event)) {
    view.milestones.push_back({event_name(record.event), record.recorded_at, record.position});
  }
  const ProjectId project_id{view.state.push.project_id()};
  auto& project = projects_[project_id];
  project.state.id = project_id;
  if (push_of(record.event) != nullptr) {
    project.deployments.push_back(id);
    view.number = project.deployments.size();
    const auto& push = record.event.push_received();
    if (push.has_pull_request()) note_deployed(project.state, push);
  } else if (record.event.has_routed() && view.state.push.environment() == k_production) {
    const auto* live = project.live ? &deployments_.at(*project.live) : nullptr;
    ATLAS_PROBE(live != nullptr && claims_before(live->state, view.state),
                "an older deployment's route was recorded after a newer one's");
    if (live == nullptr || !claims_before(live->state, view.state)) project.live = id;
  } else if (is_terminal(view.state.status) && project.live == id) {
    project.live.reset();
  }
}

void Catalog::apply_to_node(const Record& record) {
  if (record.event.has_node_started()) quarantined_.clear();
  if (record.event.has_invariant_violated()) {
    const auto& violated = record.event.invariant_violated();
    quarantined_[violated.stream()] = violated.reason();
  }
}

void Catalog::apply_to_github_app(const Record& record) {
  evolve(github_app_.state, record.event);
  if (!record.event.has_github_app_connected()) return;
  github_app_.connected_at = record.recorded_at;
  github_app_.sealed_refs.push_back(github_app_.state.private_key_ref);
  github_app_.sealed_refs.push_back(github_app_.state.webhook_secret_ref);
}

GitHubAppView Catalog::github_app() const {
  const std::shared_lock lock(mutex_);
  return github_app_;
}

std::optional<DeploymentId> Catalog::chosen(
    const ProjectId& id,
    const DeploymentState* (*choose)(const std::vector<const DeploymentState*>&)) const {
  const std::shared_lock lock(mutex_);
  const auto project = projects_.find(id);
  if (project == projects_.end()) return std::nullopt;
  DeploymentStates states;
  states.reserve(project->second.deployments.size());
  for (const auto& deployment : project->second.deployments) {
    states.push_back(&deployments_.at(deployment).state);
  }
  const auto* found = choose(states);
  return found == nullptr ? std::nullopt : std::optional(found->id);
}

std::optional<DeploymentId> Catalog::serving_production(const ProjectId& id) const {
  return chosen(id, atlasflow::serving_production);
}

std::optional<DeploymentId> Catalog::newest_of_production(const ProjectId& id) const {
  return chosen(id, atlasflow::newest_of_production);
}

std::optional<DeploymentId> Catalog::redeployed_by_default(const ProjectId& id) const {
  return chosen(id, atlasflow::redeployed_by_default);
}

KnownHead Catalog::known_head(const ProjectId& id, std::string_view environment) const {
  KnownHead known;
  const std::shared_lock lock(mutex_);
  const auto project = projects_.find(id);
  if (project == projects_.end()) return known;
  const auto& ids = project->second.deployments;
  for (auto it = ids.rbegin(); it != ids.rend(); ++it) {
    if (take_older(known, deployments_.at(*it).state.push, environment)) break;
  }
  return known;
}

std::vector<DomainState> Catalog::domains() const {
  const std::shared_lock lock(mutex_);
  std::vector<DomainState> states;
  for (const auto& [name, state] : domains_.domains()) states.push_back(state);
  return states;
}

std::optional<DomainState> Catalog::domain(const std::string& name) const {
  const std::shared_lock lock(mutex_);
  const auto* state = domains_.find(name);
  return state == nullptr ? std::nullopt : std::optional(*state);
}

std::map<std::string, std::string> Catalog::quarantined() const {
  const std::shared_lock lock(mutex_);
  return quarantined_;
}

void Catalog::apply_to_project(const ProjectId& id, const Record& record) {
  auto& view = projects_[id];
  if (record.event.has_project_created()) view.created_at = record.recorded_at;
  if (record.event.has_env_set()) {
    view.env_set_at[record.event.env_set().name()] = record.recorded_at;
  }
  if (record.event.has_env_unset()) view.env_set_at.erase(record.event.env_unset().name());
  if (record.event.has_build_secret_set()) {
    view.build_secret_set_at[record.event.build_secret_set().name()] = record.recorded_at;
  }
  if (record.event.has_build_secret_unset()) {
    view.build_secret_set_at.erase(record.event.build_secret_unset().name());
  }
  view.state.id = id;
  evolve(view.state, record.event);
  ATLAS_ASSERT_EQ(view.state.version, record.stream_version);
  view.updated_at = record.recorded_at;
  if (auto change = sealed_change(record.event)) {
    change->version = record.stream_version;
    sealed_[id].push_back(*std::move(change));
  }
}

Position Catalog::position() const {
  const std::shared_lock lock(mutex_);
  return position_;
}

bool Catalog::wait_for(Position position, std::chrono::milliseconds timeout) const {
  if (ATLAS_BUGGIFY("who waits for the read model gives up at once")) return false;
  std::shared_lock lock(mutex_);
  return applied_.wait_for(lock, timeout, [&] { return position_ >= position; });
}

std::vector<ProjectView> Catalog::projects() const {
  std::map<std::string, ProjectView> by_name;
  const std::shared_lock lock(mutex_);
  for (const auto& [id, view] : projects_) {
    if (view.state.exists()) by_name.emplace(view.state.name, view);
  }
  std::vector<ProjectView> views;
  views.reserve(by_name.size());
  for (auto& [name, view] : by_name) views.push_back(std::move(view));
  return views;
}

std::vector<WebhookSecretRef> Catalog::webhook_secret_refs() const {
  std::vector<WebhookSecretRef> refs;
  {
    const std::shared_lock lock(mutex_);
    for (const auto& [id, view] : projects_) {
      if (view.state.exists()) refs.push_back({view.state.name, view.state.webhook_secret_ref});
    }
  }
  std::sort(refs.begin(), refs.end(),
            [](const auto& a, const auto& b) { return a.project < b.project; });
  return refs;
}

std::size_t Catalog::project_count() const {
  const std::shared_lock lock(mutex_);
  return static_cast<std::size_t>(
      std::count_if(projects_.begin(), projects_.end(),
                    [](const auto& item) { return item.second.state.exists(); }));
}

std::vector<ProjectView> Catalog::every_project() const {
  std::vector<ProjectView> views;
  const std::shared_lock lock(mutex_);
  views.reserve(projects_.size());
  for (const auto& [id, view] : projects_) views.push_back(view);
  return views;
}

std::optional<ProjectView> Catalog::project_named(const std::string& name) const {
  const std::shared_lock lock(mutex_);
  for (const auto& [id, view] : projects_) {
    if (view.state.exists() && view.state.name == name) return view;
  }
  return std::nullopt;
}

std::optional<ProjectView> Catalog::project(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  const auto found = projects_.find(id);
  if (found == projects_.end()) return std::nullopt;
  return found->second;
}

std::optional<DeploymentView> Catalog::deployment(const DeploymentId& id) const {
  const std::shared_lock lock(mutex_);
  const auto found = deployments_.find(id);
  if (found == deployments_.end()) return std::nullopt;
  return found->second;
}

std::vector<DeploymentView> Catalog::deployments_of(const ProjectId& id, std::size_t limit) const {
  std::vector<DeploymentView> views;
  const std::shared_lock lock(mutex_);
  const auto found = projects_.find(id);
  if (found == projects_.end()) return views;
  const auto& ids = found->second.deployments;
  for (auto it = ids.rbegin(); it != ids.rend() && views.size() < limit; ++it) {
    views.push_back(deployments_.at(*it));
  }
  return views;
}

std::vector<SealedChange> Catalog::sealed_changes_of(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  const auto found = sealed_.find(id);
  return found == sealed_.end() ? std::vector<SealedChange>{} : found->second;
}

std::vector<DeploymentView> Catalog::active_deployments() const {
  std::vector<DeploymentView> views;
  const std::shared_lock lock(mutex_);
  views.reserve(active_.size());
  for (const auto& id : active_) views.push_back(deployments_.at(id));
  return views;
}

}  // namespace atlasflow::storage
