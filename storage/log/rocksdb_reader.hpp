// Everything that reads the event log in RocksDB, shared by its writer and by read-only views. Owns
// the database; reads from any thread.
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <string_view>

#include <rocksdb/db.h>

#include "storage/log/log_indexes.hpp"
#include "storage/log/rocksdb_options.hpp"
#include "storage/log/use_count.hpp"

namespace atlasflow::storage {

// An open database with its families, closed in the right order.
class Database {
 public:
  // outlives: what the database uses until it is closed, such as its file system.
  Database(std::unique_ptr<rocksdb::DB> db,
           const std::vector<rocksdb::ColumnFamilyHandle*>& handles,
           std::shared_ptr<const void> outlives);
  ~Database();
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  [[nodiscard]] rocksdb::DB& db() const { return *db_; }
  [[nodiscard]] rocksdb::ColumnFamilyHandle* family(Family name) const {
    return handles_[static_cast<std::size_t>(name)];
  }

 private:
  std::shared_ptr<const void> outlives_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, k_family_count> handles_{};
};

// A status of RocksDB as our error: corrupt, or internal for a disk that fails.
[[nodiscard]] Error storage_error(const rocksdb::Status& status, const std::string& what);

class RocksdbReader : public EventLog, public LogIndexes {
 public:
  explicit RocksdbReader(std::unique_ptr<Database> database) : database_(std::move(database)) {}

  // Finds the newest record and compares it with the note of it in meta. To be called once, first.
  [[nodiscard]] Result<void> load();

  Result<std::vector<AppendOutcome>> append(const std::vector<AppendRequest>& requests,
                                            TimestampUs now) override;
  Result<Epoch> begin_epoch() override;
  Result<void> read_all(Position first,
                        const std::function<bool(const Record&)>& visit) const override;
  Result<void> read_stream(const StreamId& stream, StreamVersion first,
                           const std::function<bool(const Record&)>& visit) const override;
  Result<std::optional<Record>> read_at(Position position) const override;
  Result<StreamVersion> version_of(const StreamId& stream) const override;
  Position last_position() const override { return Position(last_position_.load()); }

  Result<StreamHead> head_of(const StreamId& stream) const override;
  Result<std::optional<Duplicate>> find_dedupe_key(const std::string& key) const override;
  Result<std::optional<Position>> find_version(const StreamId& stream,
                                               StreamVersion version) const override;
  Result<std::string> stored_at(Position position) const override;
  Result<void> scan_stored(
      Position first, const std::function<bool(Position, std::string_view)>& visit) const override;
  Result<void> scan_versions(const std::function<bool(const VersionEntry&)>& visit) const override;
  Result<void> scan_heads(const std::function<bool(const HeadEntry&)>& visit) const override;
  Result<void> scan_dedupe_keys(
      const std::function<bool(const DedupeEntry&)>& visit) const override;

 protected:
  [[nodiscard]] const Database& database() const { return *database_; }
  // Puts what open() answers in place of the database, which is closed first, and loads it. False:
  // somebody reads just now. After an error there is none, and every read answers that.
  [[nodiscard]] Result<bool> exchange(
      const std::function<Result<std::unique_ptr<Database>>()>& open);
  // As load() found it; the writer keeps its own from then on.
  [[nodiscard]] const LogTip& loaded_tip() const { return tip_; }
  [[nodiscard]] Result<Epoch> stored_epoch() const;
  void publish(Position last) { last_position_.store(last.value()); }

 private:
  // Nothing when there is no such key.
  [[nodiscard]] Result<std::optional<std::string>> get(Family family, std::string_view key) const;
  // Pinned, so that the bytes are not copied before they are parsed. Their absence is damage.
  [[nodiscard]] Result<void> pin_record(Position position, rocksdb::PinnableSlice& bytes) const;
  // The record that an index led to; its absence is damage.
  [[nodiscard]] Result<Record> record_at(Position position) const;
  enum class Scan : std::uint8_t { go_on, stop, unreadable };
  // Over the keys and values of a family.
  [[nodiscard]] Result<void> scan_index(
      Family family, const std::function<Scan(std::string_view, std::string_view)>& visit) const;

  [[nodiscard]] Result<void> is_open() const;

  std::unique_ptr<Database> database_;  // null: it could not be opened again
  UseCount uses_;
  LogTip tip_;
  // What readers see: moved on after a batch is durable, so that they see whole batches only.
  std::atomic<std::uint64_t> last_position_{0};
};

}  // namespace atlasflow::storage
