#include "storage/log/memory_event_log.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/assert.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/record_codec.hpp"

namespace atlasflow::storage {

// Plain state; MemoryEventLog locks mutex around every use.
class MemoryStore {
 public:
  // What is shared is so for a reader that lets go of the lock.
  struct Entry {
    std::shared_ptr<const std::string> stored;
    // Made of the bytes by the first reader, and the chain checked by the first one in order: they
    // never change, and a simulated server that starts reads the whole log several times.
    std::shared_ptr<const Record> record;
    bool follows = false;
  };

  mutable std::mutex mutex;
  std::vector<Entry> records;                         // index = position - 1
  std::map<StreamId, std::vector<Position>> streams;  // index = version - 1
  std::map<std::string, Duplicate> dedupe;
  ChainHash chain{};
  Epoch epoch;
  RecordCodec codec;

  void apply(BatchPlan& plan) {
    for (PlannedRow& row : plan.rows) {
      ATLAS_ASSERT_EQ(row.position.value(), records.size() + 1);
      ATLAS_ASSERT_EQ(row.version.value(), streams[row.stream].size() + 1);
      add(row.stream, row.dedupe_key, std::move(row.value));
    }
    chain = plan.tip.chain;
  }

  // As the next record and the next version of its stream.
  void add(const StreamId& stream, const std::string& dedupe_key, std::string value) {
    records.push_back({std::make_shared<const std::string>(std::move(value)), nullptr, false});
    const Position position(records.size());
    streams[stream].push_back(position);
    if (!dedupe_key.empty()) dedupe[dedupe_key] = Duplicate{position, stream};
  }

  Result<std::shared_ptr<const Record>> record_at(Position position) {
    auto& entry = records[position.value() - 1];
    if (!entry.record) {
      ATLAS_TRY(auto decoded, RecordCodec::decode(*entry.stored));
      entry.record = std::make_shared<const Record>(std::move(decoded));
    }
    return entry.record;
  }

  // The same, and its hash follows from the one before.
  Result<std::shared_ptr<const Record>> next_record(Position position) {
    auto& entry = records[position.value() - 1];
    if (!entry.follows) {
      ChainHash previous{};
      if (position.value() > 1) {
        auto before = record_at(Position(position.value() - 1));
        if (!before) return before;
        previous = (*before)->chain;
      }
      if (!codec.check_chain(*entry.stored, previous)) {
        return tl::unexpected(damaged(position, "its hash does not follow from the one before"));
      }
      entry.follows = true;
    }
    return record_at(position);
  }
};

namespace {

// Lookups for a caller that holds the lock.
class LockedLookup : public LogLookup {
 public:
  explicit LockedLookup(const MemoryStore& store) : store_(store) {}

  Result<StreamHead> head_of(const StreamId& stream) const override {
    const auto found = store_.streams.find(stream);
    if (found == store_.streams.end()) return StreamHead{};
    return StreamHead{StreamVersion(found->second.size()), found->second.back()};
  }
  Result<std::optional<Duplicate>> find_dedupe_key(const std::string& key) const override {
    const auto found = store_.dedupe.find(key);
    if (found == store_.dedupe.end()) return std::optional<Duplicate>{};
    return std::optional<Duplicate>{found->second};
  }

 private:
  const MemoryStore& store_;
};

class MemoryEventLog final : public EventLog, public LogIndexes {
  template <typename Read>
  auto locked(Read read) const {
    const std::lock_guard lock(store_->mutex);
    return read();
  }

 public:
  MemoryEventLog(std::shared_ptr<MemoryStore> store, std::string build_id)
      : store_(std::move(store)), build_id_(std::move(build_id)) {}

  Result<std::vector<AppendOutcome>> append(const std::vector<AppendRequest>& requests,
                                            TimestampUs now) override {
    const std::lock_guard lock(store_->mutex);
    const WriterIdentity writer{epoch_, store_->epoch, build_id_};
    const LogTip tip{Position(store_->records.size()), store_->chain};
    ATLAS_TRY(auto plan,
              plan_batch(requests, now, writer, tip, LockedLookup(*store_), store_->codec));
    store_->apply(plan);
    return std::move(plan.outcomes);
  }

  Result<Epoch> begin_epoch() override {
    const std::lock_guard lock(store_->mutex);
    store_->epoch = store_->epoch.next();
    epoch_ = store_->epoch;
    return epoch_;
  }

  Result<void> read_all(Position first,
                        const std::function<bool(const Record&)>& visit) const override {
    const Position end = last_position();
    for (auto position = std::max(first, Position(1)); position <= end;
         position = position.next()) {
      ATLAS_TRY(const auto record, locked([&] { return store_->next_record(position); }));
      if (!visit(*record)) break;
    }
    return {};
  }

  Result<void> read_stream(const StreamId& stream, StreamVersion first,
                           const std::function<bool(const Record&)>& visit) const override {
    std::vector<Position> positions;
    {
      const std::lock_guard lock(store_->mutex);
      const auto found = store_->streams.find(stream);
      if (found == store_->streams.end()) return {};
      const std::size_t skipped = first.value() == 0 ? 0 : first.value() - 1;
      if (skipped >= found->second.size()) return {};
      positions.assign(found->second.begin() + static_cast<std::ptrdiff_t>(skipped),
                       found->second.end());
    }
    for (const Position position : positions) {
      ATLAS_TRY(const auto record, locked([&] { return store_->record_at(position); }));
      if (!visit(*record)) break;
    }
    return {};
  }

  Result<std::optional<Record>> read_at(Position position) const override {
    if (position.value() == 0 || position > last_position()) return std::optional<Record>{};
    ATLAS_TRY(const auto record, locked([&] { return store_->record_at(position); }));
    return std::optional<Record>{*record};
  }

  Result<StreamVersion> version_of(const StreamId& stream) const override {
    ATLAS_TRY(auto head, head_of(stream));
    return head.version;
  }

  Position last_position() const override {
    const std::lock_guard lock(store_->mutex);
    return Position(store_->records.size());
  }

  Result<StreamHead> head_of(const StreamId& stream) const override {
    const std::lock_guard lock(store_->mutex);
    return LockedLookup(*store_).head_of(stream);
  }

  Result<std::optional<Duplicate>> find_dedupe_key(const std::string& key) const override {
    const std::lock_guard lock(store_->mutex);
    return LockedLookup(*store_).find_dedupe_key(key);
  }

  Result<std::optional<Position>> find_version(const StreamId& stream,
                                               StreamVersion version) const override {
    const std::lock_guard lock(store_->mutex);
    const auto found = store_->streams.find(stream);
    if (version.value() == 0 || found == store_->streams.end() ||
        version.value() > found->second.size()) {
      return std::optional<Position>{};
    }
    return std::optional<Position>{found->second[version.value() - 1]};
  }

  Result<std::string> stored_at(Position position) const override {
    if (position.value() == 0 || position > last_position()) {
      return tl::unexpected(damaged(position, "the record is missing"));
    }
    return *locked([&] { return store_->records[position.value() - 1].stored; });
  }

  Result<void> scan_stored(
      Position first, const std::function<bool(Position, std::string_view)>& visit) const override {
    const Position end = last_position();
    for (auto position = std::max(first, Position(1)); position <= end;
         position = position.next()) {
      const auto stored = locked([&] { return store_->records[position.value() - 1].stored; });
      if (!visit(position, *stored)) break;
    }
    return {};
  }

  Result<void> scan_versions(const std::function<bool(const VersionEntry&)>& visit) const override {
    const std::lock_guard lock(store_->mutex);
    for (const auto& [stream, positions] : store_->streams) {
      StreamVersion version;
      for (const Position position : positions) {
        version = version.next();
        if (!visit({stream.str(), version, position})) return {};
      }
    }
    return {};
  }

  Result<void> scan_heads(const std::function<bool(const HeadEntry&)>& visit) const override {
    const std::lock_guard lock(store_->mutex);
    for (const auto& [stream, positions] : store_->streams) {
      if (!visit({stream.str(), {StreamVersion(positions.size()), positions.back()}})) break;
    }
    return {};
  }

  Result<void> scan_dedupe_keys(
      const std::function<bool(const DedupeEntry&)>& visit) const override {
    const std::lock_guard lock(store_->mutex);
    for (const auto& [key, known] : store_->dedupe) {
      if (!visit({key, known.position, known.stream.str()})) break;
    }
    return {};
  }

 private:
  const std::shared_ptr<MemoryStore> store_;
  const std::string build_id_;
  Epoch epoch_;  // guarded by the store's mutex
};

}  // namespace

std::shared_ptr<MemoryStore> make_memory_store() { return std::make_shared<MemoryStore>(); }

std::shared_ptr<MemoryStore> fork_memory_store(const MemoryStore& store, Position last) {
  auto fork = make_memory_store();
  const std::lock_guard lock(store.mutex);
  fork->epoch = store.epoch;
  const std::size_t count = std::min<std::size_t>(last.value(), store.records.size());
  fork->records.assign(store.records.begin(),
                       store.records.begin() + static_cast<std::ptrdiff_t>(count));
  for (const auto& [stream, positions] : store.streams) {
    const auto end = std::upper_bound(positions.begin(), positions.end(), last);
    if (end != positions.begin()) fork->streams[stream].assign(positions.begin(), end);
  }
  for (const auto& [key, duplicate] : store.dedupe) {
    if (duplicate.position <= last) fork->dedupe[key] = duplicate;
  }
  if (count > 0) {
    const auto newest = RecordCodec::decode(*fork->records.back().stored);
    ATLAS_ASSERT(newest.has_value(), "a record in memory does not decode");
    fork->chain = newest->chain;
  }
  return fork;
}

Result<std::shared_ptr<MemoryStore>> memory_store_of(const EventLog& log, Position last) {
  const auto* indexes = dynamic_cast<const LogIndexes*>(&log);
  ATLAS_ASSERT(indexes != nullptr, "this event log does not open its records to copies");
  auto store = make_memory_store();
  for (Position position(1); position <= last; position = position.next()) {
    ATLAS_TRY(auto bytes, indexes->stored_at(position));
    if (!store->codec.check_chain(bytes, store->chain)) {
      return tl::unexpected(damaged(position, "its hash does not follow from the one before"));
    }
    ATLAS_TRY(auto record, RecordCodec::decode(bytes));
    const auto version = store->streams[record.stream].size() + 1;
    if (record.position != position || record.stream_version.value() != version) {
      return tl::unexpected(damaged(position, "it is the record of another place"));
    }
    store->add(record.stream, record.dedupe_key, std::move(bytes));
    store->chain = record.chain;
    store->epoch = record.writer_epoch;
  }
  return store;
}

std::unique_ptr<EventLog> open_memory_event_log(std::shared_ptr<MemoryStore> store,
                                                std::string build_id) {
  return std::make_unique<MemoryEventLog>(std::move(store), std::move(build_id));
}

std::unique_ptr<EventLog> open_memory_event_log(std::string build_id) {
  return open_memory_event_log(make_memory_store(), std::move(build_id));
}

}  // namespace atlasflow::storage
