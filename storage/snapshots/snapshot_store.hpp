// Snapshots of folds beside the log: what the state was at a position, so that a start folds only
// what came after it. None is ever authoritative: one that does not verify, or does not belong to
// this log or this build, is dropped, and the log is folded from its first event. The folder may be
// removed at any time. A store belongs to one process; any thread may call it.
//
// A file `<position, 20 digits>.snapshot` is
//
//   "afsnap1\n" · code · position · chain hash of the record there (32 bytes) · size · state
//   · SHA-256 of all before (32 bytes)
//
// where code is a text, position and size are varints, as in events/fold_codec.hpp. It is written
// under another name, synced and renamed, and so is whole or not there.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "storage/log/event_log.hpp"

namespace rocksdb {
class Env;
}  // namespace rocksdb

namespace atlasflow::storage {

struct Snapshot {
  Position position;  // of the newest record that is in the state
  ChainHash chain{};  // of that record: it stands for all before it
  std::string state;
};

class SnapshotStore {
 public:
  // code: says who may read the state; whatever differs in how it was folded differs here. Two
  // files are kept, so that a damaged one leaves another.
  SnapshotStore(std::filesystem::path folder, std::string code);
  // On another file system.
  SnapshotStore(std::filesystem::path folder, std::string code, std::shared_ptr<rocksdb::Env> env);

  // Durable when it returns, and older ones are gone then. disk_full: it would leave too little
  // room for those who need it.
  [[nodiscard]] Result<void> write(const Snapshot& snapshot) const;

  // Newest first; a folder that is not there has none.
  [[nodiscard]] std::vector<Position> positions() const;
  // The one at that position when it is whole, of this code and of this log. The error says what it
  // is instead.
  [[nodiscard]] Result<Snapshot> read(Position position, const EventLog& log) const;
  // Removes it, as far as that can be done.
  void drop(Position position, const std::string& why) const;

 private:
  [[nodiscard]] std::string path_of(Position position) const;
  [[nodiscard]] Result<void> expect_room(std::uint64_t bytes) const;
  [[nodiscard]] Result<void> write_file(const std::string& path, const Snapshot& snapshot) const;
  [[nodiscard]] Result<std::string> read_file(const std::string& path) const;
  void remove_older() const;
  void remove_half_made() const;

  std::filesystem::path folder_;
  std::string code_;
  std::shared_ptr<rocksdb::Env> env_;
};

}  // namespace atlasflow::storage
