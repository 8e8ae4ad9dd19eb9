#include "builder/source/source_file.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string_view>

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"

namespace atlasflow::builder {
namespace {

// openat2 (Linux 5.6) does the walk in the kernel, so that nothing can be swapped in between.
int open_beneath(int folder, const char* name, int flags) {
  open_how how{};
  how.flags = static_cast<std::uint64_t>(O_RDONLY | O_CLOEXEC | flags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS;
  return static_cast<int>(::syscall(SYS_openat2, folder, name, &how, sizeof how));
}

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};

}  // namespace

Result<std::optional<std::string>> read_source_file(const std::filesystem::path& folder,
                                                    const std::string& name,
                                                    std::size_t limit_bytes) {
  const FileDescriptor root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    return fail(ErrorCode::not_found, "there is no folder " + folder.string(),
                std::strerror(errno));
  }
  const FileDescriptor file(open_beneath(root.get(), name.c_str(), O_NONBLOCK));
  struct stat status {};
  if (!file.valid() || ::fstat(file.get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return std::optional<std::string>{};
  }
  std::string content;
  std::string chunk(64UL * 1024, '\0');
  for (;;) {
    const ssize_t n = ::read(file.get(), chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return fail(ErrorCode::internal, "cannot read " + name, std::strerror(errno));
    if (n == 0) return std::optional<std::string>(std::move(content));
    content.append(chunk, 0, static_cast<std::size_t>(n));
    if (content.size() > limit_bytes) {
      return fail(ErrorCode::too_large,
                  name + " is larger than " + std::to_string(limit_bytes / 1024) + " KiB");
    }
  }
}

Result<std::optional<std::filesystem::path>> find_source_folder(const std::filesystem::path& folder,
                                                                const std::string& name) {
  if (name.empty()) return folder;
  const FileDescriptor root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) {
    return fail(ErrorCode::not_found, "there is no folder " + folder.string(),
                std::strerror(errno));
  }
  const FileDescriptor found(open_beneath(root.get(), name.c_str(), O_DIRECTORY));
  if (!found.valid()) return std::optional<std::filesystem::path>{};
  std::error_code error;
  auto path = std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(found.get()), error);
  if (error) return fail(ErrorCode::internal, "cannot find the folder " + name, error.message());
  return path;
}

std::vector<std::string> list_source_folder(const std::filesystem::path& folder,
                                            const std::string& name, std::size_t names_max) {
  std::vector<std::string> names;
  const FileDescriptor root(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!root.valid()) return names;
  FileDescriptor found(open_beneath(root.get(), name.empty() ? "." : name.c_str(), O_DIRECTORY));
  if (!found.valid()) return names;
  const std::unique_ptr<DIR, CloseFolder> entries(::fdopendir(found.get()));
  if (!entries) return names;
  static_cast<void>(found.release());  // closedir() closes it
  while (names.size() < names_max) {
    const dirent* entry = ::readdir(entries.get());
    if (entry == nullptr) break;
    const std::string_view entry_name = entry->d_name;
    if (entry_name != "." && entry_name != "..") names.emplace_back(entry_name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace atlasflow::builder
