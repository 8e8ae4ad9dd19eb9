// Whether this build makes of the log what the builds before it made: folds it in a shadow, beside
// everything that is in use, and compares the digests of the state, and of what deployments owe the
// world, at every position where an earlier build wrote them down (storage/snapshots/). So an
// upgrade is proven against the log's own history, before it serves. Changes nothing but in
// settle(). One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "actors/runtime/start_folds.hpp"
#include "base/error.hpp"
#include "storage/log/event_log.hpp"
#include "storage/snapshots/fold_digests.hpp"
#include "storage/snapshots/snapshot_store.hpp"

namespace atlasflow::actors {

// The earliest position at which this build has another state.
struct FoldDifference {
  Position position;
  std::string earlier_build;
  std::vector<std::string> fields;  // all that differ there (storage/snapshots/fold_digests.hpp)
  // One of their values, where a snapshot of the earlier build still has what it was.
  std::optional<storage::ValueDifference> value;
  Position value_position;
};

struct ShadowReport {
  std::vector<Position> compared;  // ascending
  std::set<std::string> earlier_builds;
  Position log_end;
  // Of the newest of them: how many fields both builds know, and those that one of them knows.
  std::size_t fields = 0;
  std::vector<std::string> only_before;
  std::vector<std::string> only_now;
  // What proves nothing, and why.
  struct PassedOver {
    Position position;
    std::string reason;
  };
  std::vector<PassedOver> passed_over;
  std::optional<FoldDifference> difference;
};

// One sentence: what differs, where, from which build.
[[nodiscard]] std::string sentence_of(const FoldDifference& difference);

class ShadowReplay {
 public:
  enum class Of : std::uint8_t { every_build, other_builds };
  // Both must outlive it. The store's maker is this build.
  ShadowReplay(const storage::EventLog& log, const storage::SnapshotStore& snapshots, Of of);

  // Whether another build than the store's wrote anything down: a few short readings.
  [[nodiscard]] static bool is_due(const storage::SnapshotStore& snapshots);

  // Told as it goes: folded up to a position, the last one that it goes to.
  using Progress = std::function<void(Position folded, Position last)>;
  // A log that can't be read is an error, a difference is none.
  [[nodiscard]] Result<ShadowReport> run(const Progress& progress = {});

  // Takes over: at the positions that were compared this build's digests stand from now on; what
  // proves nothing goes, and so do other builds' snapshots; a snapshot of this build at the log's
  // end is what a start goes on from. A kill in the middle of it leaves the rest to the next start.
  [[nodiscard]] Result<void> settle();

 private:
  // What is known of one position.
  struct Known {
    std::optional<storage::RecordedDigests> digests;
    bool has_snapshot = false;
  };
  void look_for_known();
  void look_at_digests();
  void look_at_snapshots();
  void keep_one_domain();
  void pass_over(Position position, const std::string& what, const std::string& reason);
  Result<void> compare_at(Position position, const Known& known, ShadowReport& report);
  void show_value(const storage::Snapshot& now, const storage::DigestComparison& comparison,
                  FoldDifference& difference) const;

  const storage::EventLog& log_;
  const storage::SnapshotStore& snapshots_;
  const storage::DigestStore digests_;
  const Of of_;
  std::map<Position, Known> known_;
  std::string domain_;
  std::optional<ScratchFolds> folds_;
  std::vector<storage::RecordedDigests> own_;  // this build's, at the positions that were compared
  std::vector<ShadowReport::PassedOver> passed_over_;
};

}  // namespace atlasflow::actors
