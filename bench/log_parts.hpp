// What benchmarks of the event log share: a log, the bare database that it is compared with, and an
// event. For one thread, but for RawDatabase::put() and write().
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/write_batch.h>

#include "base/assert.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/log/rocksdb_options.hpp"

namespace atlasflow::bench {

inline std::unique_ptr<storage::EventLog> open_log(const std::filesystem::path& folder) {
  auto log = storage::open_event_log({folder, "bench", false});
  ATLAS_ASSERT(log.has_value(), log ? "" : to_string(log.error()));
  return std::move(*log);
}

// About 300 bytes, like the pushes and builds of a real log.
inline pb::Event sample_event() {
  pb::Event event;
  auto* built = event.mutable_built();
  built->set_image_id("sha256:" + std::string(64, 'a'));
  built->set_stack("node");
  built->set_stack_reason("package.json in the root folder; " + std::string(180, 'r'));
  built->set_duration_us(61'000'000);
  return event;
}

// RocksDB as the log opens it, for the same synced writes with nothing thought about.
class RawDatabase {
 public:
  explicit RawDatabase(const std::filesystem::path& folder) {
    rocksdb::DB* opened = nullptr;
    const auto status =
        rocksdb::DB::Open(storage::database_options(rocksdb::Env::Default()), folder.string(),
                          storage::family_descriptors(), &handles_, &opened);
    ATLAS_ASSERT(status.ok(), status.ToString());
    db_.reset(opened);
  }
  ~RawDatabase() {
    for (auto* handle : handles_) (void)db_->DestroyColumnFamilyHandle(handle);
  }
  RawDatabase(const RawDatabase&) = delete;
  RawDatabase& operator=(const RawDatabase&) = delete;

  void put(rocksdb::WriteBatch& batch, storage::Family family, const std::string& key,
           const std::string& value) const {
    (void)batch.Put(handles_[static_cast<std::size_t>(family)], key, value);
  }
  // With the note of the newest record, which ends each batch.
  void write(rocksdb::WriteBatch& batch) const {
    put(batch, storage::Family::meta, "tip", std::string(40, 't'));
    const auto status = db_->Write(storage::synced_write(), &batch);
    ATLAS_ASSERT(status.ok(), status.ToString());
  }

 private:
  std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  std::unique_ptr<rocksdb::DB> db_;
};

}  // namespace atlasflow::bench
