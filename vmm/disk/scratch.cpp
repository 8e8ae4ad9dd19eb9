#include "vmm/disk/scratch.hpp"

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {

Result<std::filesystem::path> prepare_scratch(const std::filesystem::path& cache_dir) {
  const auto path = cache_dir / ("scratch-" + std::to_string(k_scratch_bytes >> 20) + "m.ext4");
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) return path;
  const auto temporary = temporary_beside(path);
  {
    const Fd fd(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!fd || ::ftruncate(fd.get(), static_cast<off_t>(k_scratch_bytes)) != 0) {
      return fail(ErrorCode::internal, "cannot make " + temporary.string(), std::strerror(errno));
    }
  }
  // No journal: the disk never outlives a crash. Lazy: the tables stay holes.
  const auto made = run_tool(
      {"mke2fs", "-q", "-t", "ext4", "-m", "0", "-O", "^has_journal,^metadata_csum,^resize_inode",
       "-E", "lazy_itable_init=1,nodiscard", temporary.string()},
      std::chrono::minutes(1));
  if (!made) {
    ::unlink(temporary.c_str());
    return tl::unexpected<Error>(made.error());
  }
  if (auto done = publish_file(temporary, path); !done) return tl::unexpected<Error>(done.error());
  return path;
}

Result<void> copy_scratch(const std::filesystem::path& from, const std::filesystem::path& to,
                          uid_t owner) {
  const auto failed = [&] {
    return fail(ErrorCode::internal, "cannot make the scratch disk " + to.string(),
                std::strerror(errno));
  };
  const Fd source(::open(from.c_str(), O_RDONLY | O_CLOEXEC));
  const Fd target(::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  struct stat info {};
  if (!source || !target || ::fstat(source.get(), &info) != 0 ||
      ::ftruncate(target.get(), info.st_size) != 0 || ::fchown(target.get(), owner, owner) != 0) {
    return failed();
  }
  for (off_t at = 0; at < info.st_size;) {
    off_t data = ::lseek(source.get(), at, SEEK_DATA);
    if (data < 0) {
      if (errno == ENXIO) break;  // only holes from here on
      return failed();
    }
    const off_t hole = ::lseek(source.get(), data, SEEK_HOLE);
    if (hole < 0) return failed();
    off_t out = data;
    while (data < hole) {
      const ssize_t n = ::copy_file_range(source.get(), &data, target.get(), &out,
                                          static_cast<std::size_t>(hole - data), 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return failed();
    }
    at = hole;
  }
  return {};
}

}  // namespace atlasflow::vmm
