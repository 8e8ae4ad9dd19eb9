#include "base/file.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <random>
#include <system_error>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace atlasflow {
namespace {

constexpr std::size_t k_read_bytes = 16'384;

// The folder that holds the name; "file" alone stands in the working directory.
std::filesystem::path folder_of(const std::filesystem::path& path) {
  auto folder = path.parent_path();
  return folder.empty() ? "." : folder;
}

Result<void> write_temporary(const std::filesystem::path& path, std::string_view bytes, mode_t mode,
                             Sync sync) {
  const FileDescriptor fd(
      ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) return tl::unexpected(errno_error("cannot make " + path.string()));
  ATLAS_TRYV(write_all(fd.get(), bytes, path.string()));
  if (::fchmod(fd.get(), mode) != 0) {
    return tl::unexpected(errno_error("cannot set the mode of " + path.string()));
  }
  if (sync == Sync::durable && ::fsync(fd.get()) != 0) {
    return tl::unexpected(errno_error("cannot sync " + path.string() + "; check the disk"));
  }
  return {};
}

Result<void> rename_to(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) == 0) return {};
  return tl::unexpected(errno_error("cannot rename " + from.string()));
}

}  // namespace

Error errno_error(std::string message, int number) {
  const ErrorCode code = number == ENOENT || number == ESRCH ? ErrorCode::not_found
                         : number == EEXIST                  ? ErrorCode::already_exists
                                                             : ErrorCode::internal;
  return Error{code, std::move(message), std::generic_category().message(number)};
}

Result<std::string> read_file(const std::filesystem::path& path, std::uint64_t bytes_max) {
  const FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return tl::unexpected(errno_error("cannot open " + path.string()));
  return read_file(fd.get(), bytes_max, path.string());
}

Result<std::string> read_file(int fd, std::uint64_t bytes_max, const std::string& name) {
  std::string bytes;
  std::array<char, k_read_bytes> buffer;
  for (;;) {
    const ssize_t got = ::read(fd, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return tl::unexpected(errno_error("cannot read " + name));
    if (got == 0) return bytes;
    bytes.append(buffer.data(), static_cast<std::size_t>(got));
    if (bytes.size() > bytes_max) {
      return fail(ErrorCode::too_large,
                  name + " has more than " + std::to_string(bytes_max) + " bytes");
    }
  }
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

Result<std::vector<std::string>> names_in(const std::filesystem::path& folder) {
  struct Close {
    void operator()(DIR* dir) const { ::closedir(dir); }
  };
  const std::unique_ptr<DIR, Close> dir(::opendir(folder.c_str()));
  if (!dir) return tl::unexpected(errno_error("cannot open the folder " + folder.string()));
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(dir.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return tl::unexpected(errno_error("cannot read the folder " + folder.string()));
  std::sort(names.begin(), names.end());
  return names;
}

std::vector<std::string> names_if_any(const std::filesystem::path& folder) {
  auto names = names_in(folder);
  return names ? std::move(*names) : std::vector<std::string>{};
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter = 0;
  static const unsigned k_life = std::random_device{}();
  return path.string() + "." + std::to_string(k_life) + "-" + std::to_string(counter++) + ".tmp";
}

Result<void> replace_file(const std::filesystem::path& path, std::string_view bytes, mode_t mode,
                          Sync sync) {
  const auto temporary = temporary_beside(path);
  auto done = write_temporary(temporary, bytes, mode, sync);
  if (done) done = rename_to(temporary, path);
  if (!done) {
    ::unlink(temporary.c_str());
    return done;
  }
  return sync == Sync::durable ? sync_folder(folder_of(path)) : done;
}

Result<void> publish_file(const std::filesystem::path& temporary,
                          const std::filesystem::path& path) {
  {
    const FileDescriptor fd(::open(temporary.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd || ::fsync(fd.get()) != 0) {
      return tl::unexpected(errno_error("cannot sync " + temporary.string() + "; check the disk"));
    }
  }
  ATLAS_TRYV(rename_to(temporary, path));
  return sync_folder(folder_of(path));
}

Result<void> write_new_file(const std::filesystem::path& path, std::string_view bytes) {
  return write_temporary(path, bytes, 0600, Sync::durable);
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

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (!error) return {};
  return fail(ErrorCode::unavailable, "cannot make the folder " + path.string(), error.message());
}

Result<void> sync_folder(const std::filesystem::path& folder) {
  const FileDescriptor fd(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) {
    return tl::unexpected(errno_error("cannot sync the folder " + folder.string()));
  }
  return {};
}

}  // namespace atlasflow
