#include "backup/object_store.hpp"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_piece_bytes = 1ULL << 20U;
constexpr std::size_t k_shard_digits = 2;

}  // namespace

Error disk_error(Error error) {
  if (error.cause == std::generic_category().message(ENOSPC) ||
      error.cause == std::generic_category().message(EDQUOT)) {
    error.code = ErrorCode::disk_full;
    error.message = "the disk is full (" + error.message + "): free some room and repeat it";
  }
  return error;
}

ObjectStore::Writer::Writer(Writer&& other) noexcept
    : store_(other.store_),
      temporary_(std::exchange(other.temporary_, {})),
      fd_(std::move(other.fd_)),
      digest_(std::move(other.digest_)),
      bytes_(other.bytes_) {}

ObjectStore::Writer::~Writer() {
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

Result<void> ObjectStore::Writer::add(std::string_view bytes) {
  digest_.add(bytes);
  bytes_ += bytes.size();
  auto written = write_all(fd_.get(), bytes, temporary_.string());
  if (!written) return tl::unexpected(disk_error(written.error()));
  return {};
}

Result<Object> ObjectStore::Writer::finish() {
  const Object object{to_hex(bytes_of(digest_.finish())), bytes_};
  if (store_.has(object)) return object;
  if (::fsync(fd_.get()) != 0) {
    return tl::unexpected(disk_error(errno_error("cannot sync " + temporary_.string())));
  }
  const auto path = store_.path_of(object.sha256);
  const auto shard = path.parent_path();
  if (::mkdir(shard.c_str(), 0700) != 0 && errno != EEXIST) {
    return tl::unexpected(disk_error(errno_error("cannot make " + shard.string())));
  }
  if (::rename(temporary_.c_str(), path.c_str()) != 0) {
    return tl::unexpected(disk_error(errno_error("cannot name " + path.string())));
  }
  temporary_.clear();
  ++store_.objects_added_;
  store_.bytes_added_ += object.bytes;
  return object;
}

Result<void> ObjectStore::prepare() {
  if (::mkdir(folder_.c_str(), 0700) == 0 || errno == EEXIST) return {};
  return tl::unexpected(disk_error(errno_error("cannot make " + folder_.string())));
}

Result<ObjectStore::Writer> ObjectStore::begin() {
  auto temporary = temporary_beside(folder_ / "object");
  FileDescriptor fd(
      ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd) return tl::unexpected(disk_error(errno_error("cannot make " + temporary.string())));
  return Writer(*this, std::move(temporary), std::move(fd));
}

Result<Object> ObjectStore::put(int fd, std::uint64_t offset, std::uint64_t end,
                                const std::string& name) {
  ATLAS_TRY(auto writer, begin());
  while (offset < end) {
    const auto size =
        static_cast<std::size_t>(std::min<std::uint64_t>(k_piece_bytes, end - offset));
    ATLAS_TRY(const auto piece, read_at_most(fd, offset, size, name));
    if (piece.empty()) break;  // it was cut meanwhile
    ATLAS_TRYV(writer.add(piece));
    offset += piece.size();
  }
  return writer.finish();
}

Result<void> ObjectStore::sync() const {
  // All of them: what a backup that was ended had put is used as well.
  ATLAS_TRY(const auto names, names_in(folder_));
  for (const auto& name : names) {
    if (name.size() == k_shard_digits) ATLAS_TRYV(sync_folder(folder_ / name));
  }
  return sync_folder(folder_);
}

bool ObjectStore::has(const Object& object) const {
  struct stat status {};
  return ::lstat(path_of(object.sha256).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         static_cast<std::uint64_t>(status.st_size) == object.bytes;
}

Result<void> ObjectStore::read(const Object& object,
                               const std::function<Result<void>(std::string_view)>& take) const {
  const auto path = path_of(object.sha256);
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd) {
    auto error = errno_error("the backup is damaged: " + path.string() + " cannot be opened");
    error.code = ErrorCode::corrupt;
    return tl::unexpected(std::move(error));
  }
  RunningDigest digest;
  std::uint64_t offset = 0;
  for (;;) {
    ATLAS_TRY(const auto piece, read_at_most(fd.get(), offset, k_piece_bytes, path.string()));
    if (piece.empty()) break;
    digest.add(piece);
    offset += piece.size();
    if (offset > object.bytes) break;
    ATLAS_TRYV(take(piece));
  }
  if (offset == object.bytes && to_hex(bytes_of(digest.finish())) == object.sha256) return {};
  return fail(ErrorCode::corrupt, "the backup is damaged: " + path.string() +
                                      " does not hold what was written into it; use another "
                                      "backup, and check the disk");
}

fs::path ObjectStore::path_of(const std::string& sha256) const {
  return folder_ / sha256.substr(0, k_shard_digits) / sha256;
}

void ObjectStore::remove_unneeded(const std::set<std::string>& needed) const {
  for (const auto& name : names_if_any(folder_)) {
    if (name.ends_with(".tmp")) ::unlink((folder_ / name).c_str());
    if (name.size() != k_shard_digits) continue;
    for (const auto& object : names_if_any(folder_ / name)) {
      if (!needed.contains(object)) ::unlink((folder_ / name / object).c_str());
    }
    ::rmdir((folder_ / name).c_str());  // only when it is empty
  }
}

}  // namespace atlasflow::backup
