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
  Lifetimes(Lifetimes&&) = default;
  Lifetimes& operator=(Lifetimes&&) = default;
  Lifetimes(const Lifetimes&) = delete;
  Lifetimes& operator=(const Lifetimes&) = delete;
  // Of the newest snapshot that is whole, of this log and of that build, and of all that the log
  // has behind it. Nothing: there is none, and whoever asks folds the log.
  [[nodiscard]] static Result<std::optional<Lifetimes>> of(const storage::EventLog& log,
                                                           const SnapshotFolder& snapshots);

  // Those that had begun at the position and had not ended.
  [[nodiscard]] std::vector<DeploymentId> unfinished_at(Position position) const;
  // When those deployments of a project began that did after one position and up to another.
  [[nodiscard]] std::vector<Position> begun_between(const ProjectId& project, Position after,
                                                    Position until) const;
  // Every project that ever had the name.
  [[nodiscard]] std::vector<ProjectId> projects_named(const std::string& name) const;

 private:
  struct Life {
    DeploymentId id;
    Position begun;
    Position ended;  // 0: it has not
  };
  // A project's, as they began. Of each k_part of them it is known when the last one ended, so that
  // of long ago nothing is looked through.
  static constexpr std::size_t k_part = 64;
  struct Lives {
    std::vector<Life> all;
    std::vector<Position> last_ends;  // 0: some has not
  };
  struct Place {
    Lives* lives;
    std::size_t at;
  };
  explicit Lifetimes(const storage::Catalog& catalog);
  void take(const storage::Record& record);
  static void note_ends(Lives& lives, std::size_t part);

  std::map<ProjectId, Lives> lives_;
  std::map<DeploymentId, Place> unfinished_;
  std::map<std::string, std::vector<ProjectId>> projects_;
};

}  // namespace atlasflow::inspect
