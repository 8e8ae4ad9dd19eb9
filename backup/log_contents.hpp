// What an event log comes to: a digest of all states that it folds to, and what else must be there
// for them to be worth anything. Values; any thread.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "backup/manifest.hpp"
#include "backup/object_store.hpp"
#include "base/error.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::backup {

// What the log reaches, as the server's upkeep keeps it (storage/readmodel/retention.hpp).
struct LogNeeds {
  std::set<std::string> sealed;  // values that may still be opened, by their refs
  std::set<ImageRef> images;     // "<registry>/<repository>@sha256:…" that may still be started
};
struct LogContents {
  std::string state;    // SHA-256 over the state of every project and deployment, hex
  LogNeeds needed;      // what serves or is under way, and what projects are set to
  LogNeeds worthwhile;  // and what a rollback may name, unless the server keeps less than usual
};
[[nodiscard]] LogContents contents_of(const storage::Catalog& catalog);

// The state's digest alone, of a whole log.
[[nodiscard]] Result<std::string> state_digest_of(const storage::EventLog& log);

// What of it is in no file, a line each: a value by its ref, an image or its layer by its digest.
// images: whether the images are looked for, which are elsewhere with a registry of one's own.
[[nodiscard]] Result<std::vector<std::string>> missing_of(const LogNeeds& needs,
                                                          const std::vector<SavedFile>& files,
                                                          const ObjectStore& objects, bool images);

}  // namespace atlasflow::backup
