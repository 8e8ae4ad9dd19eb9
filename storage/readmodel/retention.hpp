// What the log still reaches: which deployments may run or be rolled back to, and so which images
// and logs must stay. Functions over the read model; any thread. An error: what it reads from the
// log can't be read, and nothing may be taken for needless. The read model may be behind the log:
// who deletes by this asks only once it has caught up (actors/upkeep/janitor.hpp).
#pragma once

#include <cstddef>
#include <set>
#include <string>
#include <vector>

#include "events/ids.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::storage {

inline constexpr std::size_t k_rollbacks_default = 5;

struct Retention {
  std::set<DeploymentId> deployments;  // unfinished, or fit to be rolled back to
  std::set<DeploymentId> unfinished;   // of those: what they make has no name in the log yet
  std::set<ImageRef> image_references;
  std::set<std::string> image_ids;  // "sha256:…"
  std::set<std::string> projects;   // names of those that have not been deleted
};

// Of one project: all deployments that have not reached their end, whatever their environment, and
// those that were Routed in production with one of the newest `rollbacks` images beside the live
// one (without a live one, of the newest rollbacks + 1, so that an image does not come back into
// reach after it went): at least what rollback_targets() offers (events/project_history.hpp). A
// project that was deleted keeps only what is unfinished. newest_first: of its deployments at least
// all that have not ended or are kept.
[[nodiscard]] Retention retention_of(const ProjectView& project,
                                     const std::vector<DeploymentView>& newest_first,
                                     std::size_t rollbacks);
// Of all projects.
[[nodiscard]] Result<Retention> retention_of(const Catalog& catalog, std::size_t rollbacks);

// What the log says of the values in storage/secrets, by their refs. (An empty one is none.)
struct SealedValues {
  // What may still be opened: what a project has now, the variables as they were when a deployment
  // was made that has not ended or is within reach of a rollback, and the build secrets of one that
  // has yet to be built. What is named and not needed never is again.
  std::set<std::string> needed;
  std::set<std::string> named;  // by any event
};
[[nodiscard]] Result<SealedValues> sealed_values_of(const Catalog& catalog, std::size_t rollbacks);

// Whether its image and its logs are kept: it can be rolled back to, or still runs.
[[nodiscard]] Result<bool> is_retained(const Catalog& catalog, const DeploymentId& id,
                                       std::size_t rollbacks);

// How many of a project's newest deployments keep their logs although they failed.
inline constexpr std::size_t k_failed_logs_kept = 20;

// Whose logs stay whatever the quota says: the retained ones' and those of the newest failures.
[[nodiscard]] Result<std::set<DeploymentId>> deployments_with_kept_logs(const Catalog& catalog,
                                                                        std::size_t rollbacks);

}  // namespace atlasflow::storage
