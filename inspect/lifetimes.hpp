// Which deployments there were at any position, known from a snapshot of the log's folds
// (storage/snapshots/) and the records behind it: the states of those few are then folded from
// their own streams, and nothing from the log's begin. What is made of it is what a fold of the
// whole log would make; a snapshot only says where to look. One thread.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"
#include "storage/readmodel/catalog.hpp"

namespace atlasflow::inspect {

// Where snapshots may lie, and the build whose are believed: this one's.
struct SnapshotFolder {
  std::filesystem::path path;          // empty: there are none
  std::function<std::string()> build;  // asked once there is one
};

class Lifetimes {
 public:
  // Of the newest snapshot that is whole, of this log and of that build, and of all that the log
  // has behind it. Nothing: there is none, and whoever asks folds the log.
  [[nodiscard]] static Result<std::optional<Lifetimes>> of(const storage::EventLog& log,
                                                           const SnapshotFolder& snapshots);

  // Those that had begun at the position and had not ended.
  [[nodiscard]] std::vector<DeploymentId> unfinished_at(Position position) const;
  // Every project that ever had the name.
  [[nodiscard]] std::vector<ProjectId> projects_named(const std::string& name) const;

 private:
  struct Life {
    DeploymentId id;
    Position begun;
    Position ended;  // 0: it has not
  };
  explicit Lifetimes(const storage::Catalog& catalog);
  void take(const storage::Record& record);

  std::vector<Life> lives_;
  std::map<DeploymentId, std::size_t> unfinished_;  // where they stand
  std::map<std::string, std::vector<ProjectId>> projects_;
};

}  // namespace atlasflow::inspect
