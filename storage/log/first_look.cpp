#include "storage/log/first_look.hpp"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <rocksdb/db.h>
#include <rocksdb/env.h>

#include "base/probe.hpp"
#include "storage/log/rocksdb_reader.hpp"
#include "storage/log/wal_check.hpp"

namespace atlasflow::storage {
namespace {

Error lost_events(const std::filesystem::path& folder, const std::string& what) {
  return Error{
      ErrorCode::corrupt,
      "the event log in " + folder.string() + " " + what +
          ": acknowledged events are missing. Nothing was changed. Restore the folder from "
          "a backup, or start with --accept-loss to go on without them",
      ""};
}

// Replays the write-ahead logs into memory and leaves them as they are.
Result<std::unique_ptr<RocksdbReader>> open_read_only(const std::shared_ptr<rocksdb::Env>& env,
                                                      const std::filesystem::path& database,
                                                      const DatabaseTuning& tuning) {
  auto options = database_options(env.get(), tuning);
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* opened = nullptr;
  const auto status = rocksdb::DB::OpenForReadOnly(options, database.string(),
                                                   family_descriptors(tuning), &handles, &opened);
  if (!status.ok()) return tl::unexpected(storage_error(status, "reading " + database.string()));
  auto log = std::make_unique<RocksdbReader>(
      std::make_unique<Database>(std::unique_ptr<rocksdb::DB>(opened), handles, env));
  ATLAS_TRYV(log->load());
  return log;
}

// Of a database whose first start was cut it may lack some.
bool has_all_families(const std::shared_ptr<rocksdb::Env>& env,
                      const std::filesystem::path& database, const DatabaseTuning& tuning) {
  std::vector<std::string> names;
  const auto status = rocksdb::DB::ListColumnFamilies(database_options(env.get(), tuning),
                                                      database.string(), &names);
  return !status.ok() || names.size() >= k_family_count;  // what failed is told by the open
}

}  // namespace

Result<std::optional<Anchor>> anchor_to_hold(rocksdb::Env& env, const EventLogConfig& config) {
  auto anchor = read_anchor(env, config.folder);
  if (!anchor && anchor.error().code == ErrorCode::corrupt && config.accept_loss) {
    return std::optional<Anchor>{};
  }
  return anchor;
}

Result<std::string> missing_since(const Anchor& anchor, const EventLog& log) {
  if (anchor.position.value() == 0) return std::string{};
  const auto last = log.last_position();
  if (last < anchor.position) {
    ATLAS_PROBE(true, "a log had lost records that its anchor had seen");
    return "ends at position " + std::to_string(last.value()) +
           ", but its anchor had seen position " + std::to_string(anchor.position.value());
  }
  ATLAS_TRY(const auto record, log.read_at(anchor.position));
  if (!record || record->chain != anchor.chain) {
    ATLAS_PROBE(true, "a log had another record than its anchor had seen");
    return "has another record at position " + std::to_string(anchor.position.value()) +
           " than its anchor had seen";
  }
  return std::string{};
}

// Its first record, which names the order of keys, stands in no other place.
Result<void> check_manifest(rocksdb::Env& env, const std::filesystem::path& database) {
  constexpr std::size_t k_head_bytes = 7;  // checksum, length and type, as in a write-ahead log
  std::string name;
  std::string bytes;
  if (!rocksdb::ReadFileToString(&env, (database / "CURRENT").string(), &name).ok()) return {};
  name.erase(std::min(name.find('\n'), name.size()));
  const auto path = database / name;
  if (!rocksdb::ReadFileToString(&env, path.string(), &bytes).ok()) return {};
  if (bytes.size() < k_head_bytes) return {};
  const auto length = static_cast<unsigned char>(bytes[4]) |
                      static_cast<std::size_t>(static_cast<unsigned char>(bytes[5])) << 8U;
  const auto first = bytes.substr(0, k_head_bytes + length);
  if (length == 0 || bytes.find(first, first.size()) == std::string::npos) return {};
  ATLAS_PROBE(true, "a manifest began anew in its middle");
  return fail(ErrorCode::corrupt, "the event log's " + path.string() +
                                      " holds its own beginning twice. Nothing was changed. "
                                      "Restore the folder from a backup");
}

Result<void> look_before_opening(const std::shared_ptr<rocksdb::Env>& env,
                                 const EventLogConfig& config, const DatabaseTuning& tuning) {
  const auto database = config.folder / "db";
  ATLAS_TRY(const auto anchor, anchor_to_hold(*env, config));
  if (!env->FileExists((database / "CURRENT").string()).ok()) {
    if (!anchor) return {};
    ATLAS_PROBE(true, "a log had an anchor and no database");
    return tl::unexpected(lost_events(
        config.folder, "has an anchor at position " + std::to_string(anchor->position.value()) +
                           ", but its database lacks the file CURRENT"));
  }
  ATLAS_TRYV(check_manifest(*env, database));
  ATLAS_TRYV(check_wals(*env, database));
  if (!anchor && !has_all_families(env, database, tuning)) {
    ATLAS_PROBE(true, "a first start was cut before its database had all its families");
    return {};
  }
  if (config.accept_loss) return {};
  ATLAS_TRY(const auto log, open_read_only(env, database, tuning));
  if (!anchor) {
    if (log->last_position().value() == 0) return {};
    ATLAS_PROBE(true, "a log had events and no anchor");
    return fail(ErrorCode::corrupt,
                "the event log in " + config.folder.string() + " has " +
                    std::to_string(log->last_position().value()) + " events and no anchor (" +
                    anchor_path(config.folder).string() +
                    "), so it cannot be told whether it is whole. Nothing was changed. Restore the "
                    "folder from a backup, or start with --accept-loss to take it as it is");
  }
  ATLAS_TRY(const auto lost, missing_since(*anchor, *log));
  if (!lost.empty()) return tl::unexpected(lost_events(config.folder, lost));
  return {};
}

// The anchor is read first: beside a writer it may be behind what is read after it, never ahead.
Result<CheckedLog> open_checked_event_log(const std::filesystem::path& folder) {
  auto& env = *rocksdb::Env::Default();
  ATLAS_TRYV(check_folder_format(env, folder));
  ATLAS_TRY(const auto anchor, read_anchor(env, folder));
  ATLAS_TRYV(check_wals(env, folder / "db"));
  ATLAS_TRY(auto log, open_event_log_for_reading(folder));
  if (!anchor && log->last_position().value() > 0) {
    return fail(ErrorCode::corrupt, "the event log has lost its anchor (" +
                                        anchor_path(folder).string() +
                                        "), so it cannot be told whether events are missing at its "
                                        "end; restore the folder from a backup");
  }
  if (!anchor) return CheckedLog{std::move(log), Epoch{}};
  ATLAS_TRY(const auto lost, missing_since(*anchor, *log));
  if (!lost.empty()) return tl::unexpected(lost_events(folder, lost));
  return CheckedLog{std::move(log), anchor->epoch};
}

Result<Verification> verify_folder(const std::filesystem::path& folder,
                                   const VerifyProgress& progress) {
  ATLAS_TRY(const auto checked, open_checked_event_log(folder));
  return verify(*checked.log, progress);
}

}  // namespace atlasflow::storage
