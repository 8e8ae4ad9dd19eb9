#include "server/state_dir.hpp"

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backup/state_folder.hpp"
#include "base/log.hpp"

namespace atlasflow::server {
namespace {

namespace fs = std::filesystem;
using backup::k_state_layout;  // what this binary writes; a newer one is refused

// Nobody else passes: what runs as another user, a VM's QEMU or a build, is handed open descriptors
// or mounts.
constexpr mode_t k_private_mode = 0700;
constexpr std::uint64_t k_version_bytes_max = 1'024;

Result<void> make_folder(const fs::path& folder, mode_t mode) {
  if (::mkdir(folder.c_str(), mode) == 0 || errno == EEXIST) {
    std::error_code error;
    if (fs::is_directory(folder, error)) return {};
    return fail(ErrorCode::invalid_argument,
                folder.string() + " is no folder; name another one by --state-dir");
  }
  return fail(ErrorCode::unavailable,
              "can't make the folder " + folder.string() +
                  "; run the server as root or name another one by --state-dir",
              std::strerror(errno));
}

// The pid that the holder of the lock wrote; empty when it has not yet.
std::string holder_of(int fd) {
  char text[32] = {};
  const auto size = ::pread(fd, text, sizeof text - 1, 0);
  std::string pid(text, size > 0 ? static_cast<std::size_t>(size) : 0);
  while (!pid.empty() && (pid.back() < '0' || pid.back() > '9')) pid.pop_back();
  return pid;
}

Result<FileDescriptor> take_lock(const fs::path& root) {
  const auto file = root / "server.lock";
  FileDescriptor fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (fd.get() < 0) {
    return fail(ErrorCode::unavailable,
                "can't open " + file.string() + "; run the server as the folder's owner",
                std::strerror(errno));
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    const auto pid = holder_of(fd.get());
    return fail(ErrorCode::conflict, "another server" + (pid.empty() ? "" : " (pid " + pid + ")") +
                                         " runs on " + root.string() +
                                         "; stop it first, or name another folder by --state-dir");
  }
  const auto pid = std::to_string(::getpid()) + "\n";
  // In place, which takes no room. On a full disk a new file stays empty: it only helps a message.
  const bool written =
      ::pwrite(fd.get(), pid.data(), pid.size(), 0) == static_cast<ssize_t>(pid.size());
  const auto size = written ? static_cast<off_t>(pid.size()) : 0;
  if ((!written && errno != ENOSPC) || ::ftruncate(fd.get(), size) != 0) {
    return fail(ErrorCode::unavailable, "can't write " + file.string() + "; check the disk",
                std::strerror(errno));
  }
  return fd;
}

// A restore puts its mark into the folder first and takes it away last.
Result<void> expect_no_restore(const fs::path& root) {
  std::error_code error;
  if (!fs::exists(root / backup::k_restoring, error)) return {};
  return fail(ErrorCode::corrupt,
              "the restore into " + root.string() +
                  " was not finished; remove what is in the folder and restore it again");
}

Result<void> check_layout(const fs::path& root) {
  ATLAS_TRYV(expect_no_restore(root));
  const auto file = root / "VERSION";
  if (const auto text = read_file(file, k_version_bytes_max)) {
    ATLAS_TRYV(backup::layout_in(*text, root));
    return {};
  } else if (text.error().code != ErrorCode::not_found) {
    return fail(ErrorCode::unavailable,
                "can't read " + file.string() + "; run the server as the folder's owner",
                text.error().cause);
  }
  if (auto written = replace_file(file, std::to_string(k_state_layout) + "\n", 0644); !written) {
    return fail(ErrorCode::unavailable, "can't write " + file.string() + "; is the disk full?",
                written.error().cause);
  }
  return {};
}

// What the folder holds with such an ending, files and folders alike.
void remove_ending(const fs::path& folder, std::string_view ending) {
  std::vector<fs::path> half_made;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (it->path().filename().string().ends_with(ending)) half_made.push_back(it->path());
  }
  for (const auto& path : half_made) {
    fs::remove_all(path, error);
    log_event("server", "leftover_removed",
              {{"path", path.string()}, {"result", error ? error.message() : "ok"}});
  }
}

}  // namespace

void StateDir::remove_leftovers() const {
  remove_ending(root_, ".new");  // a key that was not named yet
  remove_ending(events(), ".new");
  remove_ending(secrets(), ".tmp");
  remove_ending(work(), ".part");
  for (const auto* folder : {"layers", "images", "cache"}) remove_ending(vms() / folder, ".tmp");
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(registry(), error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    if (it->path().filename() != "_uploads") continue;
    it.disable_recursion_pending();
    remove_ending(it->path(), "");
  }
}

Result<StateDir> StateDir::open(const fs::path& named) {
  std::error_code error;
  const auto root = fs::absolute(named, error).lexically_normal();
  if (root.has_parent_path()) fs::create_directories(root.parent_path(), error);
  ATLAS_TRYV(make_folder(root, k_private_mode));
  ATLAS_TRY(auto lock, take_lock(root));
  StateDir state(root, std::move(lock));
  if (state.socket().string().size() >= sizeof(sockaddr_un::sun_path)) {
    return fail(ErrorCode::invalid_argument, "the path " + state.socket().string() +
                                                 " is too long for a socket (" +
                                                 std::to_string(sizeof(sockaddr_un::sun_path) - 1) +
                                                 " bytes); name a shorter folder by --state-dir");
  }
  ATLAS_TRYV(check_layout(root));
  // It may have been there before, with any mode.
  if (::chmod(root.c_str(), k_private_mode) != 0) {
    return fail(ErrorCode::unavailable, "can't close " + root.string() + " to other users",
                std::strerror(errno));
  }
  for (const auto& folder :
       {state.events(), state.secrets(), state.logs(), state.work(), state.repositories()}) {
    ATLAS_TRYV(make_folder(folder, k_private_mode));
  }
  return state;
}

Result<StateDir> StateDir::open_existing(const fs::path& named) {
  std::error_code error;
  const auto root = fs::absolute(named, error).lexically_normal();
  if (!fs::exists(root / "VERSION", error)) {
    return fail(ErrorCode::not_found, root.string() +
                                          " is no state folder of Atlasflow; name the one that "
                                          "the server had by --state-dir");
  }
  ATLAS_TRY(auto lock, take_lock(root));
  ATLAS_TRYV(check_layout(root));
  return StateDir(root, std::move(lock));
}

}  // namespace atlasflow::server
