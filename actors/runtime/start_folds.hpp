// What the parts of a control plane begin with: every fold of the whole log, brought up in one
// reading of it, or of what came after a snapshot. One thread at a time.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "actors/projects/project_histories.hpp"
#include "base/error.hpp"
#include "events/deployment.hpp"
#include "events/domain_ledger.hpp"
#include "events/fields.hpp"
#include "events/fold_shape.hpp"
#include "events/github_reports.hpp"
#include "events/notifications.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::actors {

// Beside these the read model is such a fold.
struct StartFolds {
  std::shared_ptr<ProjectHistories> histories = std::make_shared<ProjectHistories>();
  std::shared_ptr<NotificationsOwed> owed;
  std::shared_ptr<DomainLedger> domains = std::make_shared<DomainLedger>();
  std::shared_ptr<GitHubReportsOwed> reports;
  Position position;           // the newest record that is in them
  storage::ChainHash chain{};  // of that record
};
ATLAS_FIELDS(StartFolds, histories, owed, domains, reports, position, chain)

// What deployments still owe the world, by the effects' keys: no fold, but what every fold is for.
using EffectsOwed = std::map<DeploymentId, std::map<std::string, Effect>>;

// The folds of a log beside those in use: brought up to a position, and written down there. One
// thread.
class ScratchFolds {
 public:
  // The log must outlive it.
  ScratchFolds(const storage::EventLog& log, const std::string& domain);

  // From where it is. Holds the log for some milliseconds at a time. cancelled: stop() said so, in
  // between; it may be null.
  [[nodiscard]] Result<void> fold_to(Position end, const std::function<bool()>& stop);

  [[nodiscard]] Position position() const { return folds_.position; }
  // As bytes, with what is owed there.
  [[nodiscard]] storage::Snapshot written_down() const;

 private:
  const storage::EventLog& log_;
  StartFolds folds_;
  storage::Catalog catalog_;
};

// Of the states that are written down.
[[nodiscard]] const Shape& shape_of_folds();

// Brings all of them to the end that the log has now: from the newest snapshot that belongs to it,
// or else from its first record. Snapshots that do not verify are dropped. The catalog must be
// empty. snapshots: null: there are none.
[[nodiscard]] Result<StartFolds> fold_log(const storage::EventLog& log, const std::string& domain,
                                          storage::Catalog& catalog,
                                          const storage::SnapshotStore* snapshots = nullptr);

// Folds the log from its first record to the end that it has now, and stores that, with its digests
// for the builds to come (storage/snapshots/digest_store.hpp). Every snapshot is made of the log
// alone, so none carries on what was wrong in the one before, and a damaged
// record is found however old it is. Changes nothing that is in use, and holds the log for some
// milliseconds at a time. cancelled: stop() said so, in between.
[[nodiscard]] Result<Position> take_snapshot(const storage::EventLog& log,
                                             const storage::SnapshotStore& snapshots,
                                             const std::function<bool()>& stop);

}  // namespace atlasflow::actors
