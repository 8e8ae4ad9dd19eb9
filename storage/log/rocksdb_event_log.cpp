#include "storage/log/rocksdb_event_log.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <utility>

#include <rocksdb/write_batch.h>
#include <stdlib.h>

#include "base/buggify.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "storage/log/anchor.hpp"
#include "storage/log/first_look.hpp"
#include "storage/log/log_keys.hpp"
#include "storage/log/rocksdb_reader.hpp"
#include "storage/log/room.hpp"
#include "storage/log/wal_check.hpp"

namespace atlasflow::storage {
namespace {

constexpr TimestampUs k_anchor_interval_us = 1'000'000;
// With less free the reserve is given back; with less than the second nothing is appended. A batch
// is far smaller; the rest is for the anchor, and for a start after a crash just then.
constexpr std::uint64_t k_room_wanted_bytes = 8ULL << 20U;
constexpr std::uint64_t k_room_needed_bytes = 2ULL << 20U;
// Beside what is in the write-ahead logs, which an open writes into tables: the files that RocksDB
// makes at each open.
constexpr std::uint64_t k_room_to_open_bytes = 4ULL << 20U;
// RocksDB takes the room of a whole file in advance: some 8 MiB for a write-ahead log, some 70 for
// each table that it merges. On a disk with less than a few of these that would leave nothing for
// what is written.
constexpr std::uint64_t k_room_to_allocate_bytes = 512ULL << 20U;

std::filesystem::path database_path(const std::filesystem::path& folder) { return folder / "db"; }

rocksdb::Slice slice_of(std::string_view bytes) { return {bytes.data(), bytes.size()}; }

// What an open may have to write.
std::uint64_t bytes_to_open(rocksdb::Env& env, const std::filesystem::path& folder) {
  std::uint64_t bytes = k_room_to_open_bytes;
  std::vector<std::string> names;
  static_cast<void>(env.GetChildren(database_path(folder).string(), &names));
  for (const auto& name : names) {
    std::uint64_t size = 0;
    if (name.ends_with(".log") &&
        env.GetFileSize((database_path(folder) / name).string(), &size).ok()) {
      bytes += size;
    }
  }
  return bytes;
}

Error open_error(const rocksdb::Status& status, const std::filesystem::path& folder) {
  const std::string said = status.ToString();
  if (status.IsIOError() && said.find("LOCK") != std::string::npos) {
    return Error{ErrorCode::unavailable,
                 "the event log in " + folder.string() +
                     " is held by another Atlasflow server; stop it, or use another data folder",
                 said};
  }
  return storage_error(status, "opening " + folder.string());
}

// RocksDB 7.8 aborts when the disk fills up while it opens: a failed write leaves its file's writer
// in a state that the next call takes for a bug (sync_without_flush_called_). So there must be room
// before it is asked.
Result<std::unique_ptr<Database>> open_database(const std::filesystem::path& folder,
                                                const std::shared_ptr<rocksdb::Env>& env,
                                                const DatabaseTuning& tuning, Room& room,
                                                bool may_create) {
  ATLAS_TRYV(room.make(bytes_to_open(*env, folder), "opening the event log"));
  // RocksDB makes the folder too, but calls it an error first that it is not there.
  if (const auto made = env->CreateDirIfMissing(database_path(folder).string()); !made.ok()) {
    return tl::unexpected(open_error(made, folder));
  }
  auto options = database_options(env.get(), tuning);
  options.allow_fallocate = room.is_there(k_room_to_allocate_bytes);
  options.create_if_missing = options.create_missing_column_families = may_create;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::Open(options, database_path(folder).string(),
                                        family_descriptors(tuning), &handles, &opened);
  if (!status.ok()) return tl::unexpected(open_error(status, folder));
  return std::make_unique<Database>(std::unique_ptr<rocksdb::DB>(opened), handles, env);
}

class RocksdbEventLog final : public RocksdbReader {
 public:
  RocksdbEventLog(std::unique_ptr<Database> database, EventLogConfig config,
                  std::shared_ptr<rocksdb::Env> env, DatabaseTuning tuning)
      : RocksdbReader(std::move(database)),
        config_(std::move(config)),
        env_(std::move(env)),
        tuning_(std::move(tuning)),
        room_(env_, config_.folder, config_.reserve_bytes) {}

  ~RocksdbEventLog() override {
    const std::lock_guard lock(mutex_);
    // A log that was refused at the start keeps the anchor that it was refused for.
    if (!started_ || failed_ || anchored_ == tip_.last) return;
    if (auto anchored = anchor(); !anchored) {
      log_event(LogLevel::error, "log", "anchor_failed", {{"reason", to_string(anchored.error())}});
    }
  }

  // After load(): the log against its anchor.
  Result<void> start(TimestampUs now) {
    const std::lock_guard lock(mutex_);
    auto checked = check_anchor(now);
    started_ = checked.has_value();
    if (started_) room_.restore(now);
    return checked;
  }

  Result<std::vector<AppendOutcome>> append(const std::vector<AppendRequest>& requests,
                                            TimestampUs now) override {
    const std::lock_guard lock(mutex_);
    return append_as(epoch_, requests, now);
  }

  Result<Epoch> begin_epoch() override {
    const std::lock_guard lock(mutex_);
    if (failed_) return tl::unexpected(*failed_);
    ATLAS_TRYV(get_ready());
    const Epoch next = newest_epoch_.next();
    rocksdb::WriteBatch batch;
    (void)batch.Put(database().family(Family::meta), slice_of(k_epoch_key),
                    slice_of(u64_bytes(next.value())));
    ATLAS_TRYV(write(batch));
    newest_epoch_ = next;
    // In the anchor too: a lost tail must not let two starts have the same epoch.
    ATLAS_TRYV(anchor());
    epoch_ = next;
    return epoch_;
  }

  Result<void> note_end(TimestampUs now) override {
    const std::lock_guard lock(mutex_);
    if (failed_) return tl::unexpected(*failed_);
    if (torn_.load() || anchored_ == tip_.last) return {};
    auto anchored = anchor();
    if (anchored) anchored_at_ = now;
    // Without room for it the anchor stays behind the log, as it may be.
    return anchored || anchored.error().code != ErrorCode::disk_full ? anchored : Result<void>{};
  }

  Result<void> has_room() const override {
    const bool torn = torn_.load();
    const auto needed = torn ? bytes_to_open(*env_, config_.folder) : k_room_needed_bytes;
    if (!refusing_.load() || room_.could_make(needed)) return {};
    return fail(ErrorCode::disk_full, "the disk of " + config_.folder.string() +
                                          " is full, so nothing can be recorded: free some room, "
                                          "then try again. Nothing that was acknowledged is lost");
  }

 private:
  // Room for an append, and a database that takes one.
  Result<void> get_ready() {
    auto ready = torn_.load() ? reopen() : Result<void>();
    if (ready && !room_.is_there(k_room_wanted_bytes)) {
      ready = room_.make(k_room_needed_bytes, "the event log");
    }
    refusing_.store(!ready);
    return ready;
  }

  // After a write found no room its file ends with a part of it, and RocksDB takes no other. What
  // an open makes of that is what it makes of a crash: the whole batch or nothing of it.
  Result<void> reopen() {
    if (auto made = room_.make(bytes_to_open(*env_, config_.folder), "the event log"); !made)
      return made;
    auto exchanged = exchange([this]() -> Result<std::unique_ptr<Database>> {
      ATLAS_TRYV(check_wals(*env_, database_path(config_.folder)));
      return open_database(config_.folder, env_, tuning_, room_, false);
    });
    if (exchanged && !*exchanged) {
      return fail(ErrorCode::disk_full,
                  "the disk was full, and the log is read just now; try again");
    }
    if (exchanged && loaded_tip().last < tip_.last) {
      exchanged = fail(ErrorCode::corrupt,
                       "the event log has lost acknowledged events on a full "
                       "disk: restore it from a backup, and check the disk");
    }
    if (!exchanged) {
      failed_ = exchanged.error();
      // Whoever starts anew finds out what is missing.
      if (failed_->code == ErrorCode::disk_full) failed_->code = ErrorCode::internal;
      return tl::unexpected(*failed_);
    }
    ATLAS_PROBE(loaded_tip().last > tip_.last, "a batch that was refused on a full disk was whole");
    tip_ = loaded_tip();
    torn_.store(false);
    log_event(LogLevel::warn, "log", "goes_on",
              {{"position", tip_.last.value()}, {"advice", "the disk had been full"}});
    return {};
  }

  Result<void> check_anchor(TimestampUs now) {
    tip_ = loaded_tip();
    ATLAS_TRY(newest_epoch_, stored_epoch());
    ATLAS_TRY(const auto known, anchor_to_hold(*env_, config_));
    if (!known) {
      if (tip_.last.value() > 0)
        log_event(LogLevel::warn, "log", "anchor_missing", {{"last", tip_.last.value()}});
      return {};
    }
    ATLAS_PROBE(newest_epoch_ < known->epoch, "an anchor knew a newer epoch than its log");
    newest_epoch_ = std::max(newest_epoch_, known->epoch);
    ATLAS_PROBE(known->position < tip_.last, "a log was opened whose anchor was behind it");
    anchored_ = known->position;
    ATLAS_TRY(const auto lost, missing_since(*known, *this));
    return lost.empty() ? Result<void>{} : accept_loss(*known, now);
  }

  Result<void> accept_loss(const Anchor& anchor, TimestampUs now) {
    log_event(LogLevel::warn, "log", "tail_lost",
              {{"anchor_position", anchor.position.value()}, {"log_position", tip_.last.value()}});
    ATLAS_TRY(const auto head, head_of(node_stream()));
    AppendRequest request;
    request.stream = node_stream();
    request.expected_version = head.version;
    request.actor = Principal::system("event_log");
    auto* lost = request.events.emplace_back().mutable_log_tail_lost();
    lost->set_anchor_position(anchor.position.value());
    lost->set_log_position(tip_.last.value());
    // Nobody has taken an epoch yet, so this record is the last of the one that lost its tail.
    // Being the first append, it moves the anchor back as well.
    ATLAS_TRYV(append_as(newest_epoch_, {request}, now));
    return {};
  }

  Result<std::vector<AppendOutcome>> append_as(Epoch own,
                                               const std::vector<AppendRequest>& requests,
                                               TimestampUs now) {
    ATLAS_PROBE(failed_.has_value(), "an append was asked of a log that had failed");
    if (failed_) return tl::unexpected(*failed_);
    if (torn_.load()) {
      ATLAS_TRYV(get_ready());
    }
    ATLAS_TRY(auto stored, stored_epoch());
    const WriterIdentity writer{own, std::max(stored, newest_epoch_), config_.build_id};
    ATLAS_TRY(auto plan, plan_batch(requests, now, writer, tip_, *this, codec_));
    if (plan.rows.empty()) return std::move(plan.outcomes);
    ATLAS_TRYV(get_ready());
    rocksdb::WriteBatch batch = to_batch(plan);
    ATLAS_TRYV(write(batch));
    tip_ = plan.tip;
    publish(tip_.last);
    // A clock that was set back must not stop the anchor from being written.
    ATLAS_PROBE(anchored_at_ && now < *anchored_at_, "the clock was set back between two appends");
    const bool due =
        !anchored_at_ || now - *anchored_at_ >= k_anchor_interval_us || now < *anchored_at_;
    if (due || ATLAS_BUGGIFY("the anchor is written with every batch")) {
      auto anchored = anchor();
      // What is in the log is acknowledged all the same: the anchor is behind it, as it may be.
      if (!anchored && anchored.error().code != ErrorCode::disk_full) {
        return tl::unexpected(std::move(anchored.error()));
      }
      if (anchored) anchored_at_ = now;
    }
    room_.restore(now);
    return std::move(plan.outcomes);
  }

  // Put into a batch fails only for a wrong family or key size, which cannot be; Write reports it.
  rocksdb::WriteBatch to_batch(const BatchPlan& plan) const {
    std::size_t bytes = 0;
    for (const PlannedRow& row : plan.rows) bytes += row.value.size() + 2 * row.stream.str().size();
    rocksdb::WriteBatch batch(bytes + 128 * plan.rows.size(), 0, k_protection_bytes_per_key, 0);
    for (const PlannedRow& row : plan.rows) {
      const std::string position = u64_bytes(row.position.value());
      (void)batch.Put(database().family(Family::events), position, row.value);
      (void)batch.Put(database().family(Family::streams), stream_key(row.stream, row.version),
                      position);
      if (!row.dedupe_key.empty()) {
        (void)batch.Put(database().family(Family::dedupe), row.dedupe_key,
                        dedupe_value(row.position, row.stream));
      }
    }
    for (const auto& [stream, head] : plan.heads) {
      (void)batch.Put(database().family(Family::heads), stream.str(), head_value(head));
    }
    (void)batch.Put(database().family(Family::meta), slice_of(k_tip_key), tip_value(plan.tip));
    return batch;
  }

  // The one place that writes. A failed sync leaves unknown what is on disk, and asking again may
  // answer "done" for pages that were dropped: so the first failure is the last word of this
  // object.
  Result<void> write(rocksdb::WriteBatch& batch) {
    auto options = synced_write();
#ifdef ATLAS_CANARY_LOST_SYNC
    options.sync = false;  // a canary (cmake/Canary.cmake): acknowledges what may get lost
#endif
    const auto status = database().db().Write(options, &batch);
    if (status.ok()) return {};
    log_event(LogLevel::error, "log", "write_failed", {{"reason", status.ToString()}});
    auto error = storage_error(status, "writing events");
    if (status.IsNoSpace()) {
      ATLAS_PROBE(true, "a write of events found the disk full");
      torn_.store(true);
      refusing_.store(true);
      return tl::unexpected(std::move(error));
    }
    ATLAS_PROBE(true, "a write of events failed");
    failed_ = std::move(error);
    return tl::unexpected(*failed_);
  }

  Result<void> anchor() {
    auto written = write_anchor(*env_, config_.folder, {tip_.last, tip_.chain, newest_epoch_});
    if (!written && written.error().code == ErrorCode::disk_full) {
      ATLAS_PROBE(true, "there was no room for an anchor");
      log_event(LogLevel::warn, "log", "anchor_not_written",
                {{"reason", to_string(written.error())}});
      return written;
    }
    if (!written) {
      ATLAS_PROBE(true, "an anchor could not be written");
      failed_ = written.error();
      return written;
    }
    anchored_ = tip_.last;
    return {};
  }

  const EventLogConfig config_;
  const std::shared_ptr<rocksdb::Env> env_;  // of the anchor; the database holds it for itself
  std::mutex mutex_;  // one thread appends; this keeps a mistake there from breaking the chain
  RecordCodec codec_;
  LogTip tip_;
  Epoch epoch_;         // of this object
  Epoch newest_epoch_;  // that anybody is known to have taken
  Position anchored_;
  std::optional<TimestampUs> anchored_at_;
  std::optional<Error> failed_;
  bool started_ = false;
  const DatabaseTuning tuning_;
  Room room_;
  std::atomic<bool> torn_{false};      // a write found no room: the database must be opened again
  std::atomic<bool> refusing_{false};  // the newest append found no room
};

// A view that another process may be writing. RocksDB puts its own text log for it into a folder,
// which lives as long as the view.
class TemporaryFolder {
 public:
  static Result<std::shared_ptr<TemporaryFolder>> make() {
    std::error_code error;
    const auto base = std::filesystem::temp_directory_path(error);
    std::string path = (base / "atlasflow-reader-XXXXXX").string();
    if (error || ::mkdtemp(path.data()) == nullptr) {
      return fail(ErrorCode::internal, "cannot make a temporary folder; check TMPDIR");
    }
    return std::shared_ptr<TemporaryFolder>(new TemporaryFolder(path));
  }
  ~TemporaryFolder() {
    std::error_code ignored;  // what stays behind is a small text file in the temporary folder
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  [[nodiscard]] std::string path() const { return path_.string(); }

 private:
  explicit TemporaryFolder(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

Result<std::unique_ptr<EventLog>> open_secondary(const std::filesystem::path& folder) {
  ATLAS_TRY(auto temporary, TemporaryFolder::make());
  rocksdb::DBOptions options = database_options(rocksdb::Env::Default());
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  auto status =
      rocksdb::DB::OpenAsSecondary(options, database_path(folder).string(), temporary->path(),
                                   family_descriptors(), &handles, &opened);
  if (!status.ok()) return tl::unexpected(open_error(status, folder));
  auto database = std::make_unique<Database>(std::unique_ptr<rocksdb::DB>(opened), handles,
                                             std::move(temporary));
  status = database->db().TryCatchUpWithPrimary();
  if (!status.ok()) return tl::unexpected(open_error(status, folder));
  auto log = std::make_unique<RocksdbReader>(std::move(database));
  ATLAS_TRYV(log->load());
  return log;
}

}  // namespace

Result<std::unique_ptr<EventLog>> open_event_log(const EventLogConfig& config) {
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  // The process-wide environment is never deleted.
  const std::shared_ptr<rocksdb::Env> env(rocksdb::Env::Default(), [](rocksdb::Env*) {});
  return open_event_log(config, env,
                        std::chrono::duration_cast<std::chrono::microseconds>(since_epoch).count());
}

Result<std::unique_ptr<EventLog>> open_event_log(const EventLogConfig& config,
                                                 std::shared_ptr<rocksdb::Env> env, TimestampUs now,
                                                 const DatabaseTuning& tuning) {
  ATLAS_TRYV(prepare_folder(*env, config.folder));
  ATLAS_TRYV(look_before_opening(env, config, tuning));
  Room room(env, config.folder, config.reserve_bytes);
  // What has an anchor has had a database: one that is gone is not made anew.
  const bool may_create =
      config.accept_loss || !env->FileExists(anchor_path(config.folder).string()).ok();
  ATLAS_TRY(auto database, open_database(config.folder, env, tuning, room, may_create));
  auto log = std::make_unique<RocksdbEventLog>(std::move(database), config, std::move(env), tuning);
  ATLAS_TRYV(log->load());
  ATLAS_TRYV(log->start(now));
  return log;
}

Result<std::unique_ptr<EventLog>> open_event_log_for_reading(const std::filesystem::path& folder) {
  auto& env = *rocksdb::Env::Default();
  ATLAS_TRYV(check_folder_format(env, folder));
  ATLAS_TRYV(check_manifest(env, database_path(folder)));
  auto log = open_secondary(folder);
  // The writer may have deleted a file between our reading its list and opening it. Once more will
  // do; a second failure is a real one.
  if (!log) log = open_secondary(folder);
  return log;
}

}  // namespace atlasflow::storage
