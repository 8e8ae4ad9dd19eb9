#include "vmm/files.hpp"

#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <random>

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

tl::unexpected<Error> io_error(const std::string& what, const std::filesystem::path& path) {
  const std::string cause = std::strerror(errno);
  return fail(ErrorCode::internal, "cannot " + what + " " + path.string(), cause);
}

Result<void> sync_path(const std::filesystem::path& path, int flags) {
  const Fd fd(::open(path.c_str(), flags | O_CLOEXEC));
  if (!fd || ::fsync(fd.get()) != 0) return io_error("sync", path);
  return {};
}

}  // namespace

Result<std::string> read_whole_file(const std::filesystem::path& path, std::uintmax_t limit) {
  const Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) {
    if (errno == ENOENT) return fail(ErrorCode::not_found, "no file " + path.string());
    return io_error("open", path);
  }
  std::string bytes;
  std::array<char, 65'536> buffer;
  for (;;) {
    const ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return io_error("read", path);
    if (n == 0) return bytes;
    bytes.append(buffer.data(), static_cast<std::size_t>(n));
    if (bytes.size() > limit) return fail(ErrorCode::too_large, path.string() + " is too large");
  }
}

std::filesystem::path temporary_beside(const std::filesystem::path& path) {
  static std::atomic<unsigned> counter = 0;
  static const unsigned k_life = std::random_device{}();
  return path.string() + "." + std::to_string(k_life) + "-" + std::to_string(counter++) + ".tmp";
}

Result<void> publish_file(const std::filesystem::path& temporary,
                          const std::filesystem::path& path) {
  if (auto synced = sync_path(temporary, O_RDONLY); !synced) return synced;
  if (::rename(temporary.c_str(), path.c_str()) != 0) return io_error("rename", temporary);
  return sync_path(path.parent_path(), O_RDONLY | O_DIRECTORY);
}

Result<void> write_file_atomically(const std::filesystem::path& path, std::string_view bytes,
                                   unsigned mode) {
  const std::filesystem::path temporary = temporary_beside(path);
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode));
    if (!fd) return io_error("create", temporary);
    while (!bytes.empty()) {
      const ssize_t n = ::write(fd.get(), bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {
        auto error = io_error("write", temporary);
        ::unlink(temporary.c_str());
        return error;
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    ::fchmod(fd.get(), mode);  // whatever the umask is
  }
  auto published = publish_file(temporary, path);
  if (!published) ::unlink(temporary.c_str());
  return published;
}

Result<void> make_folder(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    return fail(ErrorCode::unavailable, "cannot create the folder " + path.string(),
                error.message());
  }
  return {};
}

std::string sha256_hex(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned length = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &length, EVP_sha256(), nullptr);
  static constexpr std::string_view k_digits = "0123456789abcdef";
  std::string hex;
  for (unsigned i = 0; i < length; ++i) {
    hex.push_back(k_digits[digest[i] >> 4]);
    hex.push_back(k_digits[digest[i] & 15]);
  }
  return hex;
}

}  // namespace atlasflow::vmm
