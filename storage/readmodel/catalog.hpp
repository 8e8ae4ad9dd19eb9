// The read model of projects and deployments: a fold of the whole log. In memory is what has not
// ended, with the newest of each project and the newest of its production; of every other
// deployment a line of a few dozen bytes, and its view is read from its stream when it is asked for
// (storage/readmodel/deployment_view.hpp). One projector applies records in position order; any
// thread reads. Readers get copies as of one position.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <shared_mutex>
#include <string>
#include <vector>

#include "events/deployment.hpp"
#include "events/domain_ledger.hpp"
#include "events/fields.hpp"
#include "events/github_app.hpp"
#include "events/missed_push.hpp"
#include "events/project.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/deployment_view.hpp"

namespace atlasflow::storage {

struct ProjectView {
  ProjectState state;
  TimestampUs created_at = 0;
  TimestampUs updated_at = 0;
  std::optional<DeploymentId> live;  // what its default hostname answers with
  std::map<std::string, TimestampUs> env_set_at;
  std::map<std::string, TimestampUs> build_secret_set_at;
};

// What a webhook's signature may be made with.
struct WebhookSecretRef {
  std::string project;  // its name
  std::string ref;      // in storage/secrets; empty: it has none of its own
};

// A change of what a project refers to in storage/secrets.
struct SealedChange {
  // signature: of webhooks and notifications, and what a remote is opened with
  enum class Use : std::uint8_t { signature, variable, build_secret };
  StreamVersion version;  // of the project's stream
  Use use = Use::signature;
  std::string name;  // of the variable or the build secret
  std::string ref;   // empty: it was unset
};

// The GitHub App as it is now, and every value that any was sealed with.
struct GitHubAppView {
  GitHubAppState state;
  TimestampUs connected_at = 0;
  std::vector<std::string> sealed_refs;
};

// What is in memory of every deployment.
struct DeploymentEntry {
  DeploymentId id;
  Position made;   // of what began it
  Position ended;  // 0: it has not
  bool failed = false;
  // 64 bits of its image's reference, of one that has ended and could be rolled back to; else 0.
  std::uint64_t served_image = 0;
};

// A project's deployments.
struct DeploymentList {
  std::deque<DeploymentEntry> entries;  // oldest first: number 1 is the first
  DeploymentId newest_of_production;    // empty: none
  KnownHeads heads;
};

ATLAS_FIELDS(ProjectView, state, created_at, updated_at, live, env_set_at, build_secret_set_at)
ATLAS_FIELDS(DeploymentEntry, id, made, ended, failed, served_image)
ATLAS_FIELDS(DeploymentList, entries, newest_of_production, heads)

// It was routed in production: a rollback may go back to it, while its image is kept.
[[nodiscard]] bool could_serve_again(const DeploymentState& state);
// Never 0.
[[nodiscard]] std::uint64_t hash_of(const ImageRef& image);

ATLAS_FIELDS(SealedChange, version, use, name, ref)
ATLAS_FIELDS(GitHubAppView, state, connected_at, sealed_refs)

// What the catalog has folded so far, as one value.
class CatalogFold {
 private:
  friend class Catalog;
  ATLAS_OWN_FIELDS(CatalogFold, position, projects, recent, active, lists, sealed, quarantined,
                   github_app, domains)

  Position position_;
  std::map<ProjectId, ProjectView> projects_;
  std::map<DeploymentId, DeploymentView> recent_;
  std::set<DeploymentId> active_;  // of those, the ones that are not terminal
  std::map<ProjectId, DeploymentList> lists_;
  std::map<ProjectId, std::vector<SealedChange>> sealed_;
  std::map<std::string, std::string> quarantined_;
  GitHubAppView github_app_;
  DomainLedger domains_;
};

// How many of a project's newest deployments stay in memory although they have ended.
inline constexpr std::size_t k_newest_in_memory = 8;

class Catalog : private CatalogFold {
 public:
  // From now on what has ended leaves memory, and is read from there. The log must outlive this and
  // be the one whose records are applied. Before the first record; without it all stay.
  void read_finished_from(const EventLog& log, std::size_t newest_in_memory = k_newest_in_memory);
  // Records must come in position order without a gap.
  void apply(const Record& record);
  // Goes on from there, whatever it had before.
  void restore(CatalogFold fold);
  // For whoever knows that nothing is applied meanwhile.
  [[nodiscard]] const CatalogFold& fold() const { return *this; }

  [[nodiscard]] Position position() const;
  // Waits until the record at position has been applied; false after the timeout.
  [[nodiscard]] bool wait_for(Position position, std::chrono::milliseconds timeout) const;

  // Projects that exist, by name.
  [[nodiscard]] std::vector<ProjectView> projects() const;
  // The same without the rest of each.
  [[nodiscard]] std::vector<WebhookSecretRef> webhook_secret_refs() const;
  // Of those that exist.
  [[nodiscard]] std::size_t project_count() const;
  [[nodiscard]] std::optional<ProjectView> project_named(const std::string& name) const;
  [[nodiscard]] std::optional<ProjectView> project(const ProjectId& id) const;
  // not_found: there is none; another error: the log can't be read.
  [[nodiscard]] Result<DeploymentView> deployment(const DeploymentId& id) const;
  // The same of those in memory: what has not ended, the newest, the newest of production.
  [[nodiscard]] std::optional<DeploymentView> recent(const DeploymentId& id) const;
  // Newest first, at most limit.
  [[nodiscard]] Result<std::vector<DeploymentView>> deployments_of(const ProjectId& id,
                                                                   std::size_t limit) const;
  // Of every one, oldest first.
  [[nodiscard]] std::vector<DeploymentEntry> entries_of(const ProjectId& id) const;
  // Of a project's production: what serves, the newest, and what a redeployment takes that names
  // none (events/serving.hpp).
  [[nodiscard]] std::optional<DeploymentId> serving_production(const ProjectId& id) const;
  [[nodiscard]] std::optional<DeploymentId> newest_of_production(const ProjectId& id) const;
  [[nodiscard]] std::optional<DeploymentId> redeployed_by_default(const ProjectId& id) const;
  // What is known of the head of its production's branch, or of a preview's.
  [[nodiscard]] KnownHead known_head(const ProjectId& id,
                                     std::string_view environment = k_production) const;
  // Every domain of a user's own that ever was claimed, by name.
  [[nodiscard]] std::vector<DomainState> domains() const;
  [[nodiscard]] std::optional<DomainState> domain(const std::string& name) const;
  // As DomainLedger::held_order().
  [[nodiscard]] std::optional<HeldOrder> held_order(const DomainState& state,
                                                    const DomainRules& rules,
                                                    const std::string& registered,
                                                    TimestampUs now) const;
  // Streams that a violated invariant has stopped since the last start, with the reason.
  [[nodiscard]] std::map<std::string, std::string> quarantined() const;
  // Every project that ever was, deleted ones too.
  [[nodiscard]] std::vector<ProjectView> every_project() const;
  // Every one of a project, in order.
  [[nodiscard]] std::vector<SealedChange> sealed_changes_of(const ProjectId& id) const;
  [[nodiscard]] GitHubAppView github_app() const;
  // Not terminal, over all projects.
  [[nodiscard]] std::vector<DeploymentView> active_deployments() const;

 private:
  void apply_to_deployment(const DeploymentId& id, const Record& record);
  void apply_to_project(const ProjectId& id, const Record& record);
  void apply_to_node(const Record& record);
  void apply_to_github_app(const Record& record);
  void enter(DeploymentList& list, DeploymentView& view, const pb::PushReceived& push);
  void let_go(DeploymentList& list, std::uint64_t number);
  // Of those that have not ended, by number.
  [[nodiscard]] std::vector<const DeploymentView*> unfinished_of(const ProjectId& id) const;

  const EventLog* log_ = nullptr;  // null: all stay in memory
  std::size_t newest_in_memory_ = 0;
  mutable std::shared_mutex mutex_;
  mutable std::condition_variable_any applied_;
};

}  // namespace atlasflow::storage
