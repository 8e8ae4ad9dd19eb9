#include "storage/snapshots/snapshot_store.hpp"

#include <algorithm>
#include <charconv>
#include <functional>
#include <string_view>
#include <utility>

#include <rocksdb/env.h>

#include "base/digest.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/fold_codec.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::string_view k_magic = "afsnap1\n";
constexpr std::string_view k_ending = ".snapshot";
constexpr std::string_view k_half_made = ".tmp";
constexpr std::size_t k_digits = 20;  // of the largest position
constexpr std::size_t k_kept = 2;
constexpr std::size_t k_part_bytes = std::size_t{1} << 20U;
// What a snapshot leaves free for the log, for builds and for what serves.
constexpr std::uint64_t k_room_left_bytes = std::uint64_t{256} << 20U;

Result<void> to_result(const rocksdb::Status& status, const std::string& what) {
  if (status.ok()) return {};
  return fail(status.IsNoSpace() ? ErrorCode::disk_full : ErrorCode::unavailable, what,
              status.ToString());
}

Error not_whole() { return {ErrorCode::corrupt, "its bytes are damaged", ""}; }

std::string header_of(const std::string& code, const Snapshot& snapshot) {
  FoldWriter fields;
  fields.put(code);
  fields.put(snapshot.position);
  fields.put(snapshot.chain);
  fields.put(snapshot.state.size());
  return std::string(k_magic) + std::move(fields).take();
}

// The position that such a file is of; 0: it is no snapshot's name.
Position position_in(std::string_view name) {
  if (name.size() != k_digits + k_ending.size() || !name.ends_with(k_ending)) return {};
  std::uint64_t number = 0;
  const auto* end = name.data() + k_digits;
  const auto parsed = std::from_chars(name.data(), end, number);
  return parsed.ptr == end && parsed.ec == std::errc{} ? Position(number) : Position{};
}

std::shared_ptr<rocksdb::Env> process_env() {
  return {rocksdb::Env::Default(), [](rocksdb::Env* /*of the process*/) {}};
}

}  // namespace

SnapshotStore::SnapshotStore(std::filesystem::path folder, std::string code)
    : SnapshotStore(std::move(folder), std::move(code), process_env()) {}

SnapshotStore::SnapshotStore(std::filesystem::path folder, std::string code,
                             std::shared_ptr<rocksdb::Env> env)
    : folder_(std::move(folder)), code_(std::move(code)), env_(std::move(env)) {}

std::string SnapshotStore::path_of(Position position) const {
  auto digits = std::to_string(position.value());
  digits.insert(0, k_digits - digits.size(), '0');
  return (folder_ / digits.append(k_ending)).string();
}

Result<void> SnapshotStore::expect_room(std::uint64_t bytes) const {
  std::uint64_t free = 0;
  // A disk that does not say has room: a write will tell.
  if (!env_->GetFreeSpace(folder_.string(), &free).ok() || free >= bytes + k_room_left_bytes) {
    return {};
  }
  return fail(ErrorCode::disk_full, "there is too little room on the disk for a snapshot");
}

Result<void> SnapshotStore::write(const Snapshot& snapshot) const {
  ATLAS_TRYV(to_result(env_->CreateDirIfMissing(folder_.string()),
                       "can't make the folder " + folder_.string()));
  remove_half_made();
  ATLAS_TRYV(expect_room(snapshot.state.size()));
  const auto path = path_of(snapshot.position);
  const auto temporary = path + std::string(k_half_made);
  auto written = write_file(temporary, snapshot);
  if (written) {
    written = to_result(env_->RenameFile(temporary, path), "can't name the snapshot " + path);
  }
  if (!written) {
    static_cast<void>(env_->DeleteFile(temporary));
    return written;
  }
  std::unique_ptr<rocksdb::Directory> names;
  auto status = env_->NewDirectory(folder_.string(), &names);
  if (status.ok()) status = names->Fsync();
  ATLAS_TRYV(to_result(status, "can't sync the folder " + folder_.string()));
  remove_older();
  return {};
}

Result<void> SnapshotStore::write_file(const std::string& path, const Snapshot& snapshot) const {
  const auto header = header_of(code_, snapshot);
  const auto digest = Sha256{}.of(header, snapshot.state);
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::EnvOptions options;
  options.use_mmap_writes = false;
  auto status = env_->NewWritableFile(path, &file, options);
  if (status.ok()) status = file->Append(header);
  for (std::size_t at = 0; status.ok() && at < snapshot.state.size(); at += k_part_bytes) {
    const auto size = std::min(k_part_bytes, snapshot.state.size() - at);
    status = file->Append({snapshot.state.data() + at, size});
  }
  if (status.ok()) status = file->Append(std::string(bytes_of(digest)));
  if (status.ok()) status = file->Sync();
  if (status.ok()) status = file->Close();
  return to_result(status, "can't write the snapshot " + path);
}

std::vector<Position> SnapshotStore::positions() const {
  std::vector<std::string> names;
  std::vector<Position> found;
  if (!env_->GetChildren(folder_.string(), &names).ok()) return found;
  for (const auto& name : names) {
    if (const auto position = position_in(name); position != Position{}) found.push_back(position);
  }
  std::sort(found.begin(), found.end(), std::greater<>());
  return found;
}

Result<std::string> SnapshotStore::read_file(const std::string& path) const {
  const std::string what = "can't be read";
  std::uint64_t size = 0;
  ATLAS_TRYV(to_result(env_->GetFileSize(path, &size), what));
  std::unique_ptr<rocksdb::SequentialFile> file;
  ATLAS_TRYV(to_result(env_->NewSequentialFile(path, &file, {}), what));
  std::string bytes(size, '\0');
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

Result<Snapshot> SnapshotStore::read(Position position, const EventLog& log) const {
  ATLAS_TRY(auto bytes, read_file(path_of(position)));
  const std::string_view all = bytes;
  constexpr std::size_t k_digest_bytes = Digest{}.size();
  if (!all.starts_with(k_magic) || all.size() < k_magic.size() + k_digest_bytes) {
    return tl::unexpected(not_whole());
  }
  const auto covered = all.substr(0, all.size() - k_digest_bytes);
  if (bytes_of(Sha256{}.of(covered)) != all.substr(covered.size())) {
    return tl::unexpected(not_whole());
  }
  FoldReader fields(covered.substr(k_magic.size()));
  std::string code;
  Snapshot snapshot;
  std::size_t size = 0;
  fields.take(code);
  fields.take(snapshot.position);
  fields.take(snapshot.chain);
  fields.take(size);
  if (!fields.is_good() || size != fields.rest().size() || snapshot.position != position) {
    return tl::unexpected(not_whole());
  }
  if (code != code_) return fail(ErrorCode::conflict, "another build made it");
  if (position > log.last_position()) return fail(ErrorCode::conflict, "the log ends before it");
  ATLAS_TRY(const auto record, log.read_at(position));
  if (!record || record->chain != snapshot.chain) {
    ATLAS_PROBE(true, "a snapshot was of another log");
    return fail(ErrorCode::conflict, "it is of another log");
  }
  const auto begin = covered.size() - size;
  bytes.resize(covered.size());
  bytes.erase(0, begin);
  snapshot.state = std::move(bytes);
  return snapshot;
}

void SnapshotStore::drop(Position position, const std::string& why) const {
  ATLAS_PROBE(true, "a snapshot was dropped");
  const auto removed = env_->DeleteFile(path_of(position));
  log_event(LogLevel::warn, "snapshots", "dropped",
            {{"position", position.value()}, {"reason", why}, {"removed", removed.ok()}});
}

void SnapshotStore::remove_older() const {
  const auto found = positions();
  for (std::size_t i = k_kept; i < found.size(); ++i) {
    static_cast<void>(env_->DeleteFile(path_of(found[i])));
  }
}

// Of a process that ended in the middle of it.
void SnapshotStore::remove_half_made() const {
  std::vector<std::string> names;
  static_cast<void>(env_->GetChildren(folder_.string(), &names));
  for (const auto& name : names) {
    if (name.ends_with(k_half_made)) {
      static_cast<void>(env_->DeleteFile((folder_ / name).string()));
    }
  }
}

}  // namespace atlasflow::storage
