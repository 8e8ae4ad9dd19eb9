#include "storage/log/rebuild.hpp"

#include <system_error>

#include <fcntl.h>
#include <stdio.h>

#include "base/file.hpp"
#include "storage/log/log_copy.hpp"
#include "storage/log/read_stored.hpp"
#include "storage/log/rocksdb_event_log.hpp"

namespace atlasflow::storage {
namespace {

namespace fs = std::filesystem;

fs::path beside(const fs::path& folder, const char* ending) {
  return fs::path(folder.string() + ending);
}

Result<LogTip> copy_records(const fs::path& from, const fs::path& to) {
  ATLAS_TRY(const auto checked, open_checked_event_log(from));
  ATLAS_TRY(auto copy, LogCopy::begin(to));
  Result<void> added;
  ATLAS_TRYV(
      read_stored(*checked.log, Position(1), [&](const Record& record, std::string_view stored) {
        added = copy.add(stored);
        if (!added && added.error().code == ErrorCode::corrupt) {
          added.error().message =
              "position " + std::to_string(record.position.value()) + ": " + added.error().message;
        }
        return added.has_value();
      }));
  if (!added) return tl::unexpected(added.error());
  ATLAS_TRY(const auto tip, copy.finish(checked.epoch));
  ATLAS_TRYV(verify_folder(to));
  return tip;
}

}  // namespace

Result<LogTip> rebuild_log(const fs::path& folder) {
  const auto made = beside(folder, ".rebuilding");
  const auto before = beside(folder, ".before-rebuild");
  std::error_code error;
  if (fs::exists(before, error)) {
    return fail(
        ErrorCode::conflict,
        before.string() +
            " is there, the log as it was before an earlier rebuild, or the copy of one "
            "that was ended: move it away, or remove it once the log has proven to be good");
  }
  fs::remove_all(made, error);  // of a rebuild that was killed
  auto tip = copy_records(folder, made);
  // What is named `made` is only ever a copy, since the next rebuild removes it: the log as it was
  // gets its name in the step that takes it away, in which there is a log at every moment.
  if (tip && ::rename(made.c_str(), before.c_str()) != 0) {
    tip = tl::unexpected(errno_error("cannot rename the rebuilt log " + made.string()));
  }
  if (!tip) {
    fs::remove_all(made, error);
    return tip;
  }
  if (::renameat2(AT_FDCWD, before.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0) {
    auto failed = errno_error("cannot exchange " + folder.string() + " for the rebuilt one");
    fs::remove_all(before, error);
    return tl::unexpected(std::move(failed));
  }
  ATLAS_TRYV(sync_folder(folder.has_parent_path() ? folder.parent_path() : fs::path(".")));
  return tip;
}

}  // namespace atlasflow::storage
