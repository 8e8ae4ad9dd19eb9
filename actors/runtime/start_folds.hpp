// What the parts of a control plane begin with: every fold of the whole log, brought up in one
// reading of it, or of what came after a snapshot. Free functions; one thread at a time.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "actors/projects/project_histories.hpp"
#include "base/error.hpp"
#include "events/domain_ledger.hpp"
#include "events/fields.hpp"
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

// Brings all of them to the end that the log has now: from the newest snapshot that belongs to it,
// or else from its first record. Snapshots that do not verify are dropped. The catalog must be
// empty. snapshots: null: there are none.
[[nodiscard]] Result<StartFolds> fold_log(const storage::EventLog& log, const std::string& domain,
                                          storage::Catalog& catalog,
                                          const storage::SnapshotStore* snapshots = nullptr);

// Folds the log from its first record to the end that it has now, and stores that. Every snapshot
// is made of the log alone, so none carries on what was wrong in the one before, and a damaged
// record is found however old it is. Changes nothing that is in use, and holds the log for some
// milliseconds at a time. cancelled: stop() said so, in between.
[[nodiscard]] Result<Position> take_snapshot(const storage::EventLog& log,
                                             const std::string& domain,
                                             const storage::SnapshotStore& snapshots,
                                             const std::function<bool()>& stop);

// What a store of snapshots is to be opened with: the build, whose code makes and reads the states,
// and what else they depend on.
[[nodiscard]] std::string snapshot_code(const std::string& build_id, const std::string& domain);

}  // namespace atlasflow::actors
