#include "storage/log/rocksdb_reader.hpp"

#include <algorithm>
#include <utility>

#include <rocksdb/iterator.h>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/read_stored.hpp"

#ifdef __SANITIZE_THREAD__
// The distribution's RocksDB is not instrumented, so ThreadSanitizer cannot see how its threads
// synchronise and takes every memtable for a race: where RocksDB is in the report, and in the pure
// functions that parse bytes in RocksDB's memory (their report may have lost RocksDB's half). Here
// because whoever links RocksDB's reader links this file.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:librocksdb.so\n"
         "race:rocksdb::\n"
         "race:atlasflow::storage::get_u64\n"
         "race:atlasflow::storage::RecordCodec::check_chain\n"
         "race:atlasflow::storage::view_of_plain\n"
         "race:atlasflow::storage::kind_of_plain_event\n"
         "race:atlasflow::storage::Fingerprint::add\n"
         "race:decode_envelope\n";
}
#endif

namespace atlasflow::storage {
namespace {

rocksdb::Slice slice_of(std::string_view bytes) { return {bytes.data(), bytes.size()}; }
std::string_view view_of(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// A status of reading an index.
Error index_error(const rocksdb::Status& status, const std::string& what) {
  if (!status.IsCorruption()) return storage_error(status, what);
  auto error = damaged_index(std::nullopt, what);
  error.cause = status.ToString();
  return error;
}

}  // namespace

Database::Database(std::unique_ptr<rocksdb::DB> db,
                   const std::vector<rocksdb::ColumnFamilyHandle*>& handles,
                   std::shared_ptr<const void> outlives)
    : outlives_(std::move(outlives)), db_(std::move(db)) {
  ATLAS_ASSERT_EQ(handles.size(), handles_.size());
  std::copy(handles.begin(), handles.end(), handles_.begin());
}

Database::~Database() {
  for (auto* handle : handles_) {
    const auto status = db_->DestroyColumnFamilyHandle(handle);
    if (!status.ok())
      log_event(LogLevel::warn, "log", "close_failed", {{"reason", status.ToString()}});
  }
  const auto status = db_->Close();
  // A secondary has nothing to close and says so.
  if (!status.ok() && !status.IsNotSupported()) {
    log_event(LogLevel::warn, "log", "close_failed", {{"reason", status.ToString()}});
  }
}

Error storage_error(const rocksdb::Status& status, const std::string& what) {
  if (status.IsCorruption()) {
    return Error{ErrorCode::corrupt,
                 "the event log is damaged (" + what +
                     "); nothing was changed: restore it from a backup, and check the disk",
                 status.ToString()};
  }
  if (status.IsNoSpace()) {
    return Error{
        ErrorCode::disk_full,
        "the disk is full (" + what + "): free some room. Nothing that was acknowledged is lost",
        status.ToString()};
  }
  return Error{ErrorCode::internal,
               "the disk failed (" + what + "); check its space and health, then start again",
               status.ToString()};
}

Result<void> RocksdbReader::load() {
  const std::unique_ptr<rocksdb::Iterator> newest(
      database_->db().NewIterator(scan_read(), database_->family(Family::events)));
  newest->SeekToLast();
  if (!newest->status().ok()) {
    return tl::unexpected(storage_error(newest->status(), "finding the newest record"));
  }
  if (newest->Valid()) {
    const Position position(get_u64(view_of(newest->key())));
    auto record = RecordCodec::decode(view_of(newest->value()));
    if (!record) return tl::unexpected(at_position(position, std::move(record.error())));
    if (record->position != position) {
      return tl::unexpected(damaged(position, "its key and its record disagree"));
    }
    tip_ = {position, record->chain};
  }
  ATLAS_TRY(auto noted, get(Family::meta, k_tip_key));
  if (noted.value_or(tip_value(LogTip{})) != tip_value(tip_)) {
    ATLAS_PROBE(true, "a log's newest record was not the one that it had noted");
    return tl::unexpected(damaged(tip_.last, "the newest record is not the one that was noted"));
  }
  publish(tip_.last);
  return {};
}

Result<void> RocksdbReader::is_open() const {
  if (database_) return {};
  return fail(ErrorCode::internal,
              "the event log could not be opened again; start the server anew");
}

Result<bool> RocksdbReader::exchange(
    const std::function<Result<std::unique_ptr<Database>>()>& open) {
  if (!uses_.try_claim()) return false;
  database_.reset();
  auto opened = open();
  auto loaded = opened ? Result<void>() : tl::unexpected(opened.error());
  if (opened) {
    database_ = std::move(*opened);
    tip_ = LogTip{};
    loaded = load();
    if (!loaded) database_.reset();
  }
  uses_.release();
  if (!loaded) return tl::unexpected(std::move(loaded.error()));
  return true;
}

Result<std::vector<AppendOutcome>> RocksdbReader::append(
    const std::vector<AppendRequest>& /*requests*/, TimestampUs /*now*/) {
  return fail(ErrorCode::conflict,
              "this event log is open for reading only; ask the server to write");
}

Result<Epoch> RocksdbReader::begin_epoch() {
  return fail(ErrorCode::conflict,
              "this event log is open for reading only; ask the server to write");
}

Result<void> RocksdbReader::read_all(Position first,
                                     const std::function<bool(const Record&)>& visit) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  return read_stored(*this, first,
                     [&](const Record& record, std::string_view) { return visit(record); });
}

Result<void> RocksdbReader::scan_stored(
    Position first, const std::function<bool(Position, std::string_view)>& visit) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  const Position end = last_position();
  Position position = std::max(first, Position(1));
  if (position > end) return {};

  const std::string upper_key = u64_bytes(end.value() + 1);
  const rocksdb::Slice upper = slice_of(upper_key);
  rocksdb::ReadOptions options = scan_read();
  options.iterate_upper_bound = &upper;
  const std::unique_ptr<rocksdb::Iterator> rows(
      database_->db().NewIterator(options, database_->family(Family::events)));
  for (rows->Seek(slice_of(u64_bytes(position.value()))); rows->Valid(); rows->Next()) {
    if (rows->key().size() != 8 || get_u64(view_of(rows->key())) != position.value()) {
      return tl::unexpected(damaged(position, "the record is missing"));
    }
    if (!visit(position, view_of(rows->value()))) return {};
    position = position.next();
  }
  if (!rows->status().ok()) {
    return tl::unexpected(
        storage_error(rows->status(), "reading position " + std::to_string(position.value())));
  }
  if (position <= end) return tl::unexpected(damaged(position, "the record is missing"));
  return {};
}

Result<void> RocksdbReader::read_stream(const StreamId& stream, StreamVersion first,
                                        const std::function<bool(const Record&)>& visit) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  ATLAS_TRY(const auto head, head_of(stream));
  StreamVersion version = std::max(first, StreamVersion(1));
  if (version > head.version) return {};

  const std::string upper_key = stream_key(stream, head.version.next());
  const rocksdb::Slice upper = slice_of(upper_key);
  rocksdb::ReadOptions options = point_read();
  options.iterate_upper_bound = &upper;
  options.prefix_same_as_start = true;
  const std::unique_ptr<rocksdb::Iterator> rows(
      database_->db().NewIterator(options, database_->family(Family::streams)));
  const auto gap = [&](const std::string& what) {
    return tl::unexpected(damaged_index(
        std::nullopt,
        "version " + std::to_string(version.value()) + " of stream " + stream.str() + " " + what));
  };
  for (rows->Seek(slice_of(stream_key(stream, version))); rows->Valid(); rows->Next()) {
    if (view_of(rows->key()) != stream_key(stream, version) || rows->value().size() != 8) {
      return gap("is missing");
    }
    ATLAS_TRY(auto record, record_at(Position(get_u64(view_of(rows->value())))));
    if (record.stream != stream || record.stream_version != version) {
      return gap("leads to a record of another stream or version");
    }
    if (!visit(record)) return {};
    version = version.next();
  }
  if (!rows->status().ok()) {
    return tl::unexpected(index_error(rows->status(), "reading stream " + stream.str()));
  }
  if (version <= head.version) return gap("is missing");
  return {};
}

Result<std::optional<Record>> RocksdbReader::read_at(Position position) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  if (position.value() == 0 || position > last_position()) return std::optional<Record>{};
  ATLAS_TRY(auto record, record_at(position));
  return std::optional<Record>{std::move(record)};
}

Result<void> RocksdbReader::pin_record(Position position, rocksdb::PinnableSlice& bytes) const {
  const auto status = database_->db().Get(point_read(), database_->family(Family::events),
                                          slice_of(u64_bytes(position.value())), &bytes);
  if (status.IsNotFound()) return tl::unexpected(damaged(position, "the record is missing"));
  if (!status.ok()) {
    return tl::unexpected(
        storage_error(status, "reading position " + std::to_string(position.value())));
  }
  return {};
}

Result<std::string> RocksdbReader::stored_at(Position position) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  rocksdb::PinnableSlice bytes;
  ATLAS_TRYV(pin_record(position, bytes));
  return bytes.ToString();
}

Result<Record> RocksdbReader::record_at(Position position) const {
  rocksdb::PinnableSlice bytes;
  ATLAS_TRYV(pin_record(position, bytes));
  auto record = RecordCodec::decode(view_of(bytes));
  if (!record) return tl::unexpected(at_position(position, std::move(record.error())));
  if (record->position != position) {
    return tl::unexpected(damaged(position, "its key and its record disagree"));
  }
  return record;
}

Result<StreamVersion> RocksdbReader::version_of(const StreamId& stream) const {
  ATLAS_TRY(const auto head, head_of(stream));
  return head.version;
}

Result<StreamHead> RocksdbReader::head_of(const StreamId& stream) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  ATLAS_TRY(const auto value, get(Family::heads, stream.str()));
  if (!value) return StreamHead{};
  if (const auto head = parse_head(*value)) return *head;
  return tl::unexpected(damaged_index(std::nullopt, "the head of stream " + stream.str()));
}

Result<std::optional<Duplicate>> RocksdbReader::find_dedupe_key(const std::string& key) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  ATLAS_TRY(const auto value, get(Family::dedupe, key));
  if (!value) return std::optional<Duplicate>{};
  if (auto duplicate = parse_dedupe(*value)) return duplicate;
  return tl::unexpected(damaged_index(std::nullopt, "an entry of the dedupe keys"));
}

Result<std::optional<Position>> RocksdbReader::find_version(const StreamId& stream,
                                                            StreamVersion version) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  ATLAS_TRY(const auto value, get(Family::streams, stream_key(stream, version)));
  if (!value) return std::optional<Position>{};
  if (value->size() != 8) {
    return tl::unexpected(damaged_index(std::nullopt, "an entry of stream " + stream.str()));
  }
  return std::optional<Position>{Position(get_u64(*value))};
}

Result<void> RocksdbReader::scan_versions(
    const std::function<bool(const VersionEntry&)>& visit) const {
  return scan_index(Family::streams, [&](std::string_view key, std::string_view value) {
    const auto entry = parse_stream_key(key);
    if (!entry || value.size() != 8) return Scan::unreadable;
    return visit({entry->stream, entry->version, Position(get_u64(value))}) ? Scan::go_on
                                                                            : Scan::stop;
  });
}

Result<void> RocksdbReader::scan_heads(const std::function<bool(const HeadEntry&)>& visit) const {
  return scan_index(Family::heads, [&](std::string_view key, std::string_view value) {
    const auto head = parse_head(value);
    if (!head) return Scan::unreadable;
    return visit({key, *head}) ? Scan::go_on : Scan::stop;
  });
}

Result<void> RocksdbReader::scan_dedupe_keys(
    const std::function<bool(const DedupeEntry&)>& visit) const {
  return scan_index(Family::dedupe, [&](std::string_view key, std::string_view value) {
    if (value.size() <= 8) return Scan::unreadable;
    return visit({key, Position(get_u64(value)), value.substr(8)}) ? Scan::go_on : Scan::stop;
  });
}

Result<void> RocksdbReader::scan_index(
    Family family, const std::function<Scan(std::string_view, std::string_view)>& visit) const {
  const UseCount::User user(uses_);
  ATLAS_TRYV(is_open());
  const std::unique_ptr<rocksdb::Iterator> rows(
      database_->db().NewIterator(scan_read(), database_->family(family)));
  for (rows->SeekToFirst(); rows->Valid(); rows->Next()) {
    const auto next = visit(view_of(rows->key()), view_of(rows->value()));
    if (next == Scan::stop) return {};
    if (next == Scan::unreadable) {
      return tl::unexpected(damaged_index(std::nullopt, "an entry cannot be read"));
    }
  }
  if (!rows->status().ok()) {
    return tl::unexpected(index_error(rows->status(), "reading its entries"));
  }
  return {};
}

Result<Epoch> RocksdbReader::stored_epoch() const {
  ATLAS_TRY(const auto value, get(Family::meta, k_epoch_key));
  if (!value) return Epoch{};
  if (value->size() != 8) {
    return tl::unexpected(damaged(last_position(), "the note of the writer epoch"));
  }
  return Epoch(get_u64(*value));
}

Result<std::optional<std::string>> RocksdbReader::get(Family family, std::string_view key) const {
  std::string value;
  const auto status =
      database_->db().Get(point_read(), database_->family(family), slice_of(key), &value);
  if (status.IsNotFound()) return std::optional<std::string>{};
  if (!status.ok()) {
    // The notes of meta are not made from the records, so no rebuild helps them.
    const bool is_index = family != Family::events && family != Family::meta;
    return tl::unexpected((is_index ? index_error : storage_error)(status, "looking up a key"));
  }
  return std::optional<std::string>{std::move(value)};
}

}  // namespace atlasflow::storage
