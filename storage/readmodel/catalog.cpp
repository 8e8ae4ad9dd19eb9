#include "storage/readmodel/catalog.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "base/assert.hpp"
#include "base/buggify.hpp"
#include "base/probe.hpp"
#include "events/deployment_events.hpp"
#include "events/environment.hpp"
#include "events/project_history.hpp"
#include "events/serving.hpp"
#include "storage/log/fingerprint.hpp"

namespace atlasflow::storage {
namespace {

tl::unexpected<Error> no_deployment(const DeploymentId& id) {
  return fail(ErrorCode::not_found, "there is no deployment '" + id.str().substr(0, 60) + "'");
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
    case pb::Event::kWebhookSecretSet:
      return SealedChange{{}, Use::signature, "", event.webhook_secret_set().sealed_ref()};
    case pb::Event::kDeployKeySet:
      return SealedChange{{}, Use::signature, "", event.deploy_key_set().sealed_ref()};
    case pb::Event::kRepositoryLoginSet:
      return SealedChange{{}, Use::signature, "", event.repository_login_set().sealed_ref()};
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

std::uint64_t hash_of(const ImageRef& image) {
  return std::max<std::uint64_t>(Fingerprint::hash(image.str(), 0), 1);
}

bool could_serve_again(const DeploymentState& state) {
  return state.routed && !is_preview(state.push.environment()) && !state.image.empty();
}

void Catalog::read_finished_from(const EventLog& log, std::size_t newest_in_memory) {
  const std::unique_lock lock(mutex_);
  ATLAS_ASSERT_EQ(position_, Position{});
  log_ = &log;
  newest_in_memory_ = newest_in_memory;
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
  auto found = recent_.find(id);
  if (found == recent_.end()) {
    // It ended and has left memory: nothing follows.
    if (record.stream_version != StreamVersion{1}) return;
    found = recent_.try_emplace(id).first;
  }
  auto& view = found->second;
  if (is_terminal(view.state.status)) return;
  take(view, record);
  const bool ended = is_terminal(view.state.status);
  if (ended) {
    active_.erase(id);
  } else {
    active_.insert(id);
  }
  const ProjectId project_id{view.state.push.project_id()};
  auto& project = projects_[project_id];
  project.state.id = project_id;
  auto& list = lists_[project_id];
  if (const auto* push = push_of(record.event)) {
    enter(list, view, *push);
    if (push->has_pull_request() && record.event.has_push_received()) {
      note_deployed(project.state, *push);
    }
  } else if (record.event.has_routed() && view.state.push.environment() == k_production) {
    const auto* live = project.live ? &recent_.at(*project.live) : nullptr;
    ATLAS_PROBE(live != nullptr && claims_before(live->state, view.state),
                "an older deployment's route was recorded after a newer one's");
    if (live == nullptr || !claims_before(live->state, view.state)) project.live = id;
  } else if (ended && project.live == id) {
    project.live.reset();
  }
  if (ended && view.number > 0) {
    auto& entry = list.entries[view.number - 1];
    entry.ended = record.position;
    entry.failed = view.state.status == DeploymentStatus::failed;
    if (could_serve_again(view.state)) entry.served_image = hash_of(view.state.image);
    let_go(list, view.number);
  }
}

// Of what began with that push. Those that it pushes out of the newest leave memory.
void Catalog::enter(DeploymentList& list, DeploymentView& view, const pb::PushReceived& push) {
  if (view.number != 0) return;  // it was begun already
  list.entries.push_back({view.state.id, view.first_position, {}, false, 0});
  view.number = list.entries.size();
  take_newer(list.heads, push);
  if (!is_preview(push.environment())) {
    const auto before = std::exchange(list.newest_of_production, view.state.id);
    if (const auto old = recent_.find(before); old != recent_.end()) {
      let_go(list, old->second.number);
    }
  }
  if (view.number > newest_in_memory_) let_go(list, view.number - newest_in_memory_);
}

void Catalog::let_go(DeploymentList& list, std::uint64_t number) {
  const auto& entry = list.entries[number - 1];
  const bool stays = log_ == nullptr || entry.ended == Position{} ||
                     number + newest_in_memory_ > list.entries.size() ||
                     entry.id == list.newest_of_production;
  ATLAS_PROBE(!stays, "a deployment that had ended left the read model's memory");
  if (!stays) recent_.erase(entry.id);
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

std::vector<const DeploymentView*> Catalog::unfinished_of(const ProjectId& id) const {
  std::vector<const DeploymentView*> views;
  for (const auto& active : active_) {
    const auto& view = recent_.at(active);
    if (view.state.push.project_id() == id.str()) views.push_back(&view);
  }
  std::ranges::sort(views, {}, &DeploymentView::number);
  return views;
}

std::optional<DeploymentId> Catalog::serving_production(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  DeploymentStates states;  // what has ended serves nobody
  for (const auto* view : unfinished_of(id)) states.push_back(&view->state);
  const auto* found = atlasflow::serving_production(states);
  return found == nullptr ? std::nullopt : std::optional(found->id);
}

std::optional<DeploymentId> Catalog::newest_of_production(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  const auto list = lists_.find(id);
  if (list == lists_.end() || list->second.newest_of_production.empty()) return std::nullopt;
  return list->second.newest_of_production;
}

std::optional<DeploymentId> Catalog::redeployed_by_default(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  DeploymentStates states;
  for (const auto* view : unfinished_of(id)) states.push_back(&view->state);
  if (const auto list = lists_.find(id); list != lists_.end()) {
    const auto newest = recent_.find(list->second.newest_of_production);
    if (newest != recent_.end()) states.push_back(&newest->second.state);
  }
  const auto* found = atlasflow::redeployed_by_default(states);
  return found == nullptr ? std::nullopt : std::optional(found->id);
}

KnownHead Catalog::known_head(const ProjectId& id, std::string_view environment) const {
  const std::shared_lock lock(mutex_);
  const auto list = lists_.find(id);
  if (list == lists_.end()) return {};
  const auto head = list->second.heads.find(environment);
  return head == list->second.heads.end() ? KnownHead{} : head->second;
}

std::vector<DeploymentEntry> Catalog::entries_of(const ProjectId& id) const {
  const std::shared_lock lock(mutex_);
  const auto list = lists_.find(id);
  if (list == lists_.end()) return {};
  return {list->second.entries.begin(), list->second.entries.end()};
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

std::optional<HeldOrder> Catalog::held_order(const DomainState& state, const DomainRules& rules,
                                             const std::string& registered, TimestampUs now) const {
  const std::shared_lock lock(mutex_);
  return domains_.held_order(state, rules, registered, now);
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

std::optional<DeploymentView> Catalog::recent(const DeploymentId& id) const {
  const std::shared_lock lock(mutex_);
  const auto found = recent_.find(id);
  return found == recent_.end() ? std::nullopt : std::optional(found->second);
}

Result<DeploymentView> Catalog::deployment(const DeploymentId& id) const {
  if (auto view = recent(id)) return *std::move(view);
  if (log_ == nullptr || id.empty()) return no_deployment(id);
  ATLAS_TRY(auto view, finished_in(*log_, id));
  const std::shared_lock lock(mutex_);
  // It may have come in the meantime.
  if (const auto found = recent_.find(id); found != recent_.end()) return found->second;
  if (!view) return no_deployment(id);
  const auto list = lists_.find(ProjectId{view->state.push.project_id()});
  if (list == lists_.end()) return no_deployment(id);
  const auto& entries = list->second.entries;
  const auto entry =
      std::ranges::lower_bound(entries, view->first_position, {}, &DeploymentEntry::made);
  // The log may be ahead.
  if (entry == entries.end() || entry->id != id || entry->ended == Position{}) {
    return no_deployment(id);
  }
  view->number = static_cast<std::uint64_t>(entry - entries.begin()) + 1;
  return *std::move(view);
}

Result<std::vector<DeploymentView>> Catalog::deployments_of(const ProjectId& id,
                                                            std::size_t limit) const {
  std::vector<DeploymentView> views;
  std::vector<std::size_t> finished;  // of those, what is to be read from the log
  {
    const std::shared_lock lock(mutex_);
    const auto list = lists_.find(id);
    if (list == lists_.end()) return views;
    const auto& entries = list->second.entries;
    views.resize(std::min(limit, entries.size()));
    for (std::size_t i = 0; i < views.size(); ++i) {
      const auto& entry = entries[entries.size() - 1 - i];
      if (const auto found = recent_.find(entry.id); found != recent_.end()) {
        views[i] = found->second;
      } else {
        views[i].state.id = entry.id;
        views[i].number = entries.size() - i;
        finished.push_back(i);
      }
    }
  }
  for (const auto i : finished) {
    ATLAS_TRY(auto view, finished_in(*log_, views[i].state.id));
    if (!view) return fail(ErrorCode::corrupt, "the log ends earlier than it did");
    view->number = views[i].number;
    views[i] = *std::move(view);
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
  for (const auto& id : active_) views.push_back(recent_.at(id));
  return views;
}

}  // namespace atlasflow::storage
