#include "storage/snapshots/checked_file.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <memory>

#include "base/digest.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::string_view k_half_made = ".tmp";
constexpr std::size_t k_digits = 20;  // of the largest position
constexpr std::size_t k_digest_bytes = Digest{}.size();
constexpr std::size_t k_part_bytes = std::size_t{1} << 20U;
// What such a file leaves free for the log, for builds and for what serves.
constexpr std::uint64_t k_room_left_bytes = std::uint64_t{256} << 20U;

Result<void> to_result(const rocksdb::Status& status, const std::string& what) {
  if (status.ok()) return {};
  return fail(status.IsNoSpace() ? ErrorCode::disk_full : ErrorCode::unavailable, what,
              status.ToString());
}

Error not_whole() { return {ErrorCode::corrupt, "its bytes are damaged", ""}; }

// The position that such a file is of; 0: it is no such name.
Position position_in(std::string_view name, std::string_view ending) {
  if (name.size() != k_digits + ending.size() || !name.ends_with(ending)) return {};
  std::uint64_t number = 0;
  const auto* end = name.data() + k_digits;
  const auto parsed = std::from_chars(name.data(), end, number);
  return parsed.ptr == end && parsed.ec == std::errc{} ? Position(number) : Position{};
}

std::vector<std::string> names_in(rocksdb::Env& env, const std::string& folder) {
  std::vector<std::string> names;
  if (!env.GetChildren(folder, &names).ok()) names.clear();
  return names;
}

Result<void> expect_room(rocksdb::Env& env, const std::string& folder, std::uint64_t bytes) {
  std::uint64_t free = 0;
  // A disk that does not say has room: a write will tell.
  if (!env.GetFreeSpace(folder, &free).ok() || free >= bytes + k_room_left_bytes) return {};
  return fail(ErrorCode::disk_full, "there is too little room on the disk for a snapshot");
}

Result<void> sync_names(rocksdb::Env& env, const std::string& folder) {
  std::unique_ptr<rocksdb::Directory> names;
  auto status = env.NewDirectory(folder, &names);
  if (status.ok()) status = names->Fsync();
  return to_result(status, "can't sync the folder " + folder);
}

// Its own name is synced, too: else a power cut could take the folder along, and all that is in it.
// Each time, as a process that made it may have ended before it came to that.
Result<void> make_folder(rocksdb::Env& env, const std::string& folder) {
  ATLAS_TRYV(to_result(env.CreateDirIfMissing(folder), "can't make the folder " + folder));
  const auto slash = folder.find_last_of('/');
  if (slash == std::string::npos) return sync_names(env, ".");
  return sync_names(env, slash == 0 ? "/" : folder.substr(0, slash));
}

// Of a process that ended in the middle of it.
void remove_half_made(rocksdb::Env& env, const std::string& folder) {
  for (const auto& name : names_in(env, folder)) {
    if (name.ends_with(k_half_made)) {
      static_cast<void>(env.DeleteFile(folder + "/" + name));
    }
  }
}

Result<void> write_file(rocksdb::Env& env, const std::string& path, const std::string& header,
                        std::string_view body) {
  const auto digest = Sha256{}.of(header, body);
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::EnvOptions options;
  options.use_mmap_writes = false;
  auto status = env.NewWritableFile(path, &file, options);
  if (status.ok()) status = file->Append(header);
  for (std::size_t at = 0; status.ok() && at < body.size(); at += k_part_bytes) {
    status = file->Append({body.data() + at, std::min(k_part_bytes, body.size() - at)});
  }
  if (status.ok()) status = file->Append(std::string(bytes_of(digest)));
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  return to_result(status, "can't write the file " + path);
}

// The first so many bytes, or all where it has fewer.
Result<std::string> read_first(rocksdb::Env& env, const std::string& path,
                               std::uint64_t bytes_max) {
  const std::string what = "can't be read";
  std::uint64_t size = 0;
  ATLAS_TRYV(to_result(env.GetFileSize(path, &size), what));
  std::unique_ptr<rocksdb::SequentialFile> file;
  ATLAS_TRYV(to_result(env.NewSequentialFile(path, &file, {}), what));
  std::string bytes(std::min(size, bytes_max), '\0');
  for (std::size_t at = 0; at < bytes.size();) {
    rocksdb::Slice part;
    const auto wanted = std::min(k_part_bytes, bytes.size() - at);
    ATLAS_TRYV(to_result(file->Read(wanted, &part, bytes.data() + at), what));
    if (part.empty()) return tl::unexpected(not_whole());
    // A file system may answer with bytes of its own.
    if (part.data() != bytes.data() + at) part.ToString().copy(bytes.data() + at, part.size());
    at += part.size();
  }
  return bytes;
}

}  // namespace

std::string CheckedFiles::path_of(Position position) const {
  auto digits = std::to_string(position.value());
  digits.insert(0, k_digits - digits.size(), '0');
  return (folder + "/").append(digits).append(ending);
}

std::vector<Position> positions_of(rocksdb::Env& env, const CheckedFiles& files) {
  std::vector<Position> found;
  for (const auto& name : names_in(env, files.folder)) {
    const auto position = position_in(name, files.ending);
    if (position != Position{}) found.push_back(position);
  }
  std::sort(found.begin(), found.end(), std::greater<>());
  return found;
}

Result<void> write_checked(rocksdb::Env& env, const CheckedFiles& files, Position position,
                           std::string_view header, std::string_view body) {
  ATLAS_TRYV(make_folder(env, files.folder));
  remove_half_made(env, files.folder);
  ATLAS_TRYV(expect_room(env, files.folder, header.size() + body.size()));
  const auto path = files.path_of(position);
  const auto temporary = path + std::string(k_half_made);
  auto written = write_file(env, temporary, std::string(files.magic).append(header), body);
  if (written) {
    written = to_result(env.RenameFile(temporary, path), "can't name the file " + path);
  }
  if (!written) {
    static_cast<void>(env.DeleteFile(temporary));
    return written;
  }
  return sync_names(env, files.folder);
}

Result<std::string> read_checked(rocksdb::Env& env, const CheckedFiles& files, Position position) {
  ATLAS_TRY(auto bytes, read_first(env, files.path_of(position), ~std::uint64_t{0}));
  const std::string_view all = bytes;
  if (all.size() < files.magic.size() + k_digest_bytes) return tl::unexpected(not_whole());
  const auto covered = all.substr(0, all.size() - k_digest_bytes);
  if (bytes_of(Sha256{}.of(covered)) != all.substr(covered.size())) {
    return tl::unexpected(not_whole());
  }
  if (!all.starts_with(files.magic)) {
    return fail(ErrorCode::conflict, "it has the format of another version");
  }
  return bytes;
}

std::string_view content_of(const CheckedFiles& files, std::string_view whole) {
  return whole.substr(files.magic.size(), whole.size() - files.magic.size() - k_digest_bytes);
}

Result<std::string> read_head(rocksdb::Env& env, const CheckedFiles& files, Position position,
                              std::size_t bytes_max) {
  ATLAS_TRY(auto bytes, read_first(env, files.path_of(position), files.magic.size() + bytes_max));
  if (!bytes.starts_with(files.magic)) return tl::unexpected(not_whole());
  return bytes.substr(files.magic.size());
}

}  // namespace atlasflow::storage
