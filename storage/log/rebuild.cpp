#include "storage/log/rebuild.hpp"

#include <system_error>

#include <fcntl.h>
#include <stdio.h>

#include "base/file.hpp"
#include "storage/log/log_copy.hpp"
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
  ATLAS_TRYV(read_stored(*checked.log, Position(1), [&](const Record&, std::string_view stored) {
    added = copy.add(stored);
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
    return fail(ErrorCode::conflict, before.string() +
                                         " is there, the log as it was before an earlier rebuild: "
                                         "remove it once the log has proven to be good");
  }
  fs::remove_all(made, error);  // of a rebuild that was killed
  auto tip = copy_records(folder, made);
  // In one step, so that there is a log at every moment.
  if (tip && ::renameat2(AT_FDCWD, made.c_str(), AT_FDCWD, folder.c_str(), RENAME_EXCHANGE) != 0) {
    tip =
        tl::unexpected(errno_error("cannot exchange " + folder.string() + " for the rebuilt one"));
  }
  if (!tip) {
    fs::remove_all(made, error);
    return tip;
  }
  if (::rename(made.c_str(), before.c_str()) != 0) {
    return tl::unexpected(
        errno_error("the log is rebuilt; cannot rename what it was, " + made.string()));
  }
  ATLAS_TRYV(sync_folder(folder.has_parent_path() ? folder.parent_path() : fs::path(".")));
  return tip;
}

}  // namespace atlasflow::storage
