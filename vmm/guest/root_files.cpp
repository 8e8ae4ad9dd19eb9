#include "vmm/guest/root_files.hpp"

#include <cerrno>
#include <cstdio>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace atlasflow::vmm::guest {
namespace {

bool write_whole(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t n = write(fd, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(n));
  }
  return true;
}

}  // namespace

bool make_folder_at(const std::string& path, unsigned mode) {
  struct stat info {};
  if (stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode)) return true;
  unlink(path.c_str());
  return mkdir(path.c_str(), mode) == 0;
}

bool replace_file(const std::string& path, std::string_view text) {
  const std::string temporary = path + ".atlasflow";
  unlink(temporary.c_str());
  const int fd =
      open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd < 0) return false;
  const bool written = write_whole(fd, text) && fchmod(fd, 0644) == 0;
  close(fd);
  // Over a folder a file cannot be renamed; one with files in it is the image's own wish.
  rmdir(path.c_str());
  if (written && rename(temporary.c_str(), path.c_str()) == 0) return true;
  unlink(temporary.c_str());
  return false;
}

}  // namespace atlasflow::vmm::guest
