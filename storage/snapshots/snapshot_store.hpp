// Snapshots of folds beside the log: what the state was at a position, so that a start folds only
// what came after it. None is ever authoritative: one that does not verify, or does not belong to
// this log or this build, is dropped, and the log is folded from its first event. The folder may be
// removed at any time. A store belongs to one process; any thread may call it.
//
// A file `<position, 20 digits>.snapshot` (storage/snapshots/checked_file.hpp) is
//
//   "afsnap2\n" · build · domain · position · chain hash of the record there (32 bytes) · shape
//   · size · state · SHA-256 of all before (32 bytes)
//
// where texts and numbers are as in events/fold_codec.hpp, and the shape says what the state's
// bytes mean (events/fold_shape.hpp), so that a later build can still look into it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "events/fold_shape.hpp"
#include "storage/log/event_log.hpp"
#include "storage/snapshots/checked_file.hpp"
#include "storage/snapshots/digest_store.hpp"

namespace atlasflow::storage {

struct Snapshot {
  Position position;  // of the newest record that is in the state
  ChainHash chain{};  // of that record: it stands for all before it
  std::string state;
  Shape shape;        // of the state
  FoldMaker made_by;  // of one that was read
};

class SnapshotStore {
 public:
  // Only the same maker may take up a state. Two files are kept, so that a damaged one leaves
  // another.
  SnapshotStore(std::filesystem::path folder, FoldMaker maker);
  // On another file system.
  SnapshotStore(std::filesystem::path folder, FoldMaker maker, std::shared_ptr<rocksdb::Env> env);

  // Durable when it returns, and older ones are gone then. disk_full: it would leave too little
  // room for those who need it.
  [[nodiscard]] Result<void> write(const Snapshot& snapshot) const;

  // Newest first; a folder that is not there has none.
  [[nodiscard]] std::vector<Position> positions() const;
  // The one at that position when it is whole, of this maker and of this log. The error says what
  // it is instead.
  [[nodiscard]] Result<Snapshot> read(Position position, const EventLog& log) const;
  // Of this log, and whoever's: not to be taken up, but to be looked into by its shape.
  [[nodiscard]] Result<Snapshot> read_of_anyone(Position position, const EventLog& log) const;
  // Quick, and not checked. corrupt: it does not even begin like one.
  [[nodiscard]] Result<FoldMaker> maker_of(Position position) const;
  // Removes it, as far as that can be done.
  void drop(Position position, const std::string& why) const;

  [[nodiscard]] const FoldMaker& maker() const { return maker_; }
  // What becomes of the states' digests, in the same folder.
  [[nodiscard]] DigestStore digests() const { return {files_.folder, env_}; }

 private:
  void remove_older() const;

  CheckedFiles files_;
  FoldMaker maker_;
  std::shared_ptr<rocksdb::Env> env_;
};

}  // namespace atlasflow::storage
