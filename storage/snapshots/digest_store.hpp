// What states the log's folds had at some of its positions, as digests (fold_digests.hpp), kept
// longer than snapshots are: a later build folds the log and must come to the same
// (actors/runtime/shadow_replay.hpp). Never authoritative: one that is damaged or of another log
// proves nothing, and is passed over. A store belongs to one process; any thread may call it.
//
// A file `<position, 20 digits>.digests` (storage/snapshots/checked_file.hpp) is
//
//   "afdigs1\n" · build · domain · position · chain hash of the record there · how many · of each
//   its field's name, entries, low and high half · SHA-256 of all before
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <rocksdb/env.h>

#include "base/error.hpp"
#include "events/fields.hpp"
#include "storage/log/event_log.hpp"
#include "storage/snapshots/checked_file.hpp"
#include "storage/snapshots/fold_digests.hpp"

namespace atlasflow::storage {

// Whose code folded, and for which domain: what a state depends on beside the log.
struct FoldMaker {
  std::string build;
  std::string domain;
  friend bool operator==(const FoldMaker&, const FoldMaker&) = default;
};
ATLAS_FIELDS(FoldMaker, build, domain)

struct RecordedDigests {
  FoldMaker made_by;
  Position position;
  ChainHash chain{};
  FoldDigests digests;
};
ATLAS_FIELDS(RecordedDigests, made_by, position, chain, digests)

// corrupt or conflict: the record of that chain hash is not in this log.
[[nodiscard]] Result<void> expect_of_log(const EventLog& log, Position position,
                                         const ChainHash& chain);

// With whom such a file begins; not checked. corrupt: with nobody.
[[nodiscard]] Result<FoldMaker> maker_in_head(rocksdb::Env& env, const CheckedFiles& files,
                                              Position position);

class DigestStore {
 public:
  DigestStore(std::string folder, std::shared_ptr<rocksdb::Env> env);

  // So many are kept at most: the newest, and of the others those that lie farthest apart.
  static constexpr std::size_t k_kept = 16;

  // Durable when it returns; takes the place of what is there for the position.
  [[nodiscard]] Result<void> write(const RecordedDigests& recorded) const;

  // Newest first; a folder that is not there has none.
  [[nodiscard]] std::vector<Position> positions() const;
  // Quick, and not checked. corrupt: it does not even begin like one.
  [[nodiscard]] Result<FoldMaker> maker_of(Position position) const;
  [[nodiscard]] Result<RecordedDigests> read(Position position, const EventLog& log) const;
  void drop(Position position, const std::string& why) const;

 private:
  void thin_out() const;

  CheckedFiles files_;
  std::shared_ptr<rocksdb::Env> env_;
};

}  // namespace atlasflow::storage
