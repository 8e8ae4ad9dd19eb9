#include "storage/posix_file.hpp"

#include <cerrno>
#include <system_error>

#include <fcntl.h>
#include <unistd.h>

namespace atlasflow::storage {

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

Error errno_error(std::string message) {
  const int number = errno;
  const ErrorCode code = number == ENOENT   ? ErrorCode::not_found
                         : number == EEXIST ? ErrorCode::already_exists
                                            : ErrorCode::internal;
  return Error{code, std::move(message), std::generic_category().message(number)};
}

Result<void> write_all(int fd, std::string_view bytes, const std::string& name) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return tl::unexpected(errno_error("cannot write " + name + "; check the disk's space"));
    }
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

Result<std::string> read_at_most(int fd, std::uint64_t offset, std::size_t size,
                                 const std::string& name) {
  std::string bytes(size, '\0');
  std::size_t filled = 0;
  while (filled < size) {
    const ssize_t got =
        ::pread(fd, bytes.data() + filled, size - filled, static_cast<off_t>(offset + filled));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(errno_error("cannot read " + name));
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  bytes.resize(filled);
  return bytes;
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const UniqueFd fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd.valid() || ::fsync(fd.get()) != 0) {
    return tl::unexpected(errno_error("cannot sync the folder " + folder.string()));
  }
  return {};
}

Result<void> write_new_file(const std::filesystem::path& path, std::string_view bytes) {
  const UniqueFd fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fd.valid()) return tl::unexpected(errno_error("cannot make " + path.string()));
  auto written = write_all(fd.get(), bytes, path.string());
  if (!written) return written;
  if (::fsync(fd.get()) != 0) {
    return tl::unexpected(errno_error("cannot sync " + path.string() + "; check the disk"));
  }
  return {};
}

}  // namespace atlasflow::storage
