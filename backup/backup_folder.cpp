#include "backup/backup_folder.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <map>
#include <set>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view k_format_name = "atlasflow-backup ";
constexpr std::uint64_t k_format_bytes_max = 1'024;
// One line of some 250 bytes for each file.
constexpr std::uint64_t k_manifest_bytes_max = 4ULL << 30U;

// What stands in the way of making a folder of backups in this one; empty: nothing.
std::string stranger_in(const fs::path& folder) {
  for (const auto& name : names_if_any(folder)) {
    // What a first backup that was killed may have left, and what a file system puts there.
    if (name != "lock" && name != "lost+found" && !name.ends_with(".tmp")) return name;
  }
  return {};
}

// not_found: there is no FORMAT.
Result<void> check_format(const fs::path& folder) {
  const auto file = folder / "FORMAT";
  ATLAS_TRY(const auto text, read_file(file, k_format_bytes_max));
  int format = 0;
  const bool named = text.starts_with(k_format_name);
  const auto number = named ? text.substr(k_format_name.size()) : std::string();
  const auto parsed = std::from_chars(number.data(), number.data() + number.size(), format);
  if (!named || parsed.ec != std::errc{} || format < 1) {
    return fail(ErrorCode::corrupt,
                file.string() + " is not the mark of a folder of backups; name another folder");
  }
  if (format > k_backup_format) {
    return fail(ErrorCode::corrupt,
                "the backups in " + folder.string() + " have format " + std::to_string(format) +
                    ", made by a newer version of Atlasflow; this one reads up to format " +
                    std::to_string(k_backup_format) + ": use the newer version");
  }
  return {};
}

Result<FileDescriptor> take_lock(const fs::path& folder, int flags, int kind) {
  const auto file = folder / "lock";
  FileDescriptor fd(::open(file.c_str(), flags | O_CLOEXEC, 0600));
  if (!fd) return tl::unexpected(disk_error(errno_error("cannot open " + file.string())));
  if (::flock(fd.get(), kind | LOCK_NB) == 0) return fd;
  return fail(ErrorCode::conflict, "another backup or restore uses " + folder.string() +
                                       " just now; try again when it is done");
}

// Of a manifest's file name; nothing when it is none.
std::optional<std::uint64_t> number_of(std::string_view name) {
  constexpr std::string_view k_ending = ".json";
  const auto dash = name.find('-');
  if (dash == std::string_view::npos || !name.ends_with(k_ending)) return std::nullopt;
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(name.data(), name.data() + dash, number);
  if (parsed.ec != std::errc{} || parsed.ptr != name.data() + dash || number == 0) {
    return std::nullopt;
  }
  return number;
}

std::map<std::uint64_t, std::string> manifests_in(const fs::path& folder) {
  std::map<std::uint64_t, std::string> names;
  for (const auto& name : names_if_any(folder)) {
    if (const auto number = number_of(name)) names[*number] = name;
  }
  return names;
}

}  // namespace

Result<BackupFolder> BackupFolder::open_for_writing(const fs::path& folder) {
  std::error_code error;
  const bool was_there = fs::exists(folder, error);
  if (was_there && !fs::is_directory(folder, error)) {
    return fail(ErrorCode::invalid_argument, folder.string() + " is no folder; name another one");
  }
  auto format = check_format(folder);
  if (!format && format.error().code != ErrorCode::not_found) return tl::unexpected(format.error());
  if (!format) {
    if (const auto name = stranger_in(folder); !name.empty()) {
      return fail(ErrorCode::invalid_argument,
                  folder.string() + " holds something else (" + name +
                      "); name an empty folder, or one that has backups");
    }
    ATLAS_TRYV(make_folder(folder));
    if (!was_there) ::chmod(folder.c_str(), 0700);
  }
  // Who can exchange its files decides what a restore makes of them.
  if ((fs::status(folder, error).permissions() &
       (fs::perms::group_write | fs::perms::others_write)) != fs::perms::none) {
    return fail(ErrorCode::invalid_argument,
                "others may write into " + folder.string() + ": chmod 700 it, or name another one");
  }
  ATLAS_TRY(auto lock, take_lock(folder, O_RDWR | O_CREAT, LOCK_EX));
  if (!format) {
    auto written =
        replace_file(folder / "FORMAT",
                     std::string(k_format_name) + std::to_string(k_backup_format) + "\n", 0600);
    if (!written) return tl::unexpected(disk_error(written.error()));
  }
  BackupFolder opened(folder, std::move(lock));
  ATLAS_TRYV(opened.objects_.prepare());
  if (::mkdir(opened.manifests().c_str(), 0700) != 0 && errno != EEXIST) {
    return tl::unexpected(disk_error(errno_error("cannot make " + opened.manifests().string())));
  }
  return opened;
}

Result<BackupFolder> BackupFolder::open_for_reading(const fs::path& folder) {
  if (const auto format = check_format(folder); !format) {
    if (format.error().code != ErrorCode::not_found) return tl::unexpected(format.error());
    return fail(ErrorCode::invalid_argument,
                "there is no backup in " + folder.string() +
                    "; name the folder that atlasflow backup was given");
  }
  // A medium that cannot be written to needs no lock.
  FileDescriptor lock;
  std::error_code error;
  if (fs::exists(folder / "lock", error)) {
    ATLAS_TRY(lock, take_lock(folder, O_RDONLY, LOCK_SH));
  }
  BackupFolder opened(folder, std::move(lock));
  if (opened.numbers().empty()) {
    return fail(ErrorCode::invalid_argument,
                "there is no whole backup in " + folder.string() +
                    ": the first one was not finished; repeat atlasflow backup");
  }
  return opened;
}

std::vector<std::uint64_t> BackupFolder::numbers() const {
  std::vector<std::uint64_t> numbers;
  for (const auto& [number, name] : manifests_in(manifests())) numbers.push_back(number);
  return numbers;
}

Result<Manifest> BackupFolder::manifest(std::uint64_t number) const {
  const auto names = manifests_in(manifests());
  const auto found = names.find(number);
  if (found == names.end()) {
    std::string there;
    for (const auto& [each, name] : names) there += " " + std::to_string(each);
    return fail(ErrorCode::invalid_argument, "there is no backup " + std::to_string(number) +
                                                 " in " + folder_.string() +
                                                 "; there are:" + there);
  }
  const auto file = manifests() / found->second;
  ATLAS_TRY(const auto text, read_file(file, k_manifest_bytes_max));
  const auto damaged = [&] {
    return fail(ErrorCode::corrupt, "the backup is damaged: " + file.string() +
                                        " is not what was written; use another backup");
  };
  if (manifest_name(number, text) != found->second) return damaged();
  ATLAS_TRY(auto manifest, parse_manifest(text, file));
  if (manifest.number != number) return damaged();
  return manifest;
}

Result<std::optional<Manifest>> BackupFolder::newest() const {
  const auto all = numbers();
  if (all.empty()) return std::optional<Manifest>{};
  ATLAS_TRY(auto found, manifest(all.back()));
  return std::optional<Manifest>{std::move(found)};
}

Result<void> BackupFolder::publish(const Manifest& manifest) {
  ATLAS_TRYV(objects_.sync());
  const auto text = text_of(manifest);
  auto written = replace_file(manifests() / manifest_name(manifest.number, text), text, 0600);
  if (written) written = sync_folder(folder_);
  if (!written) return tl::unexpected(disk_error(written.error()));
  return {};
}

std::vector<std::uint64_t> BackupFolder::remove_old(std::uint64_t keep) {
  auto names = manifests_in(manifests());
  std::vector<std::uint64_t> removed;
  while (keep > 0 && names.size() > keep) {
    const auto oldest = names.begin();
    ::unlink((manifests() / oldest->second).c_str());
    removed.push_back(oldest->first);
    names.erase(oldest);
  }
  // A power cut must not bring back a backup whose objects have gone.
  if (!removed.empty() && !sync_folder(manifests())) return removed;
  std::set<std::string> needed;
  for (const auto& [number, name] : names) {
    const auto each = manifest(number);
    if (!each) return removed;
    for (const auto& segment : each->log) needed.insert(segment.object.sha256);
    for (const auto& file : each->files) needed.insert(file.object.sha256);
  }
  objects_.remove_unneeded(needed);
  for (const auto& name : names_if_any(manifests())) {
    if (name.ends_with(".tmp")) ::unlink((manifests() / name).c_str());
  }
  return removed;
}

}  // namespace atlasflow::backup
