#include "builder/source/mirror.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr auto k_look = std::chrono::milliseconds(50);
constexpr std::uint64_t k_mark_bytes_max = 1024;
constexpr std::string_view k_lock = "lock";
constexpr std::string_view k_mark = "mark";

// Whether the name still leads to the file: who removes a mirror removes its lock as well.
bool is_at(const fs::path& path, int fd) {
  struct stat named {};
  struct stat held {};
  return ::lstat(path.c_str(), &named) == 0 && ::fstat(fd, &held) == 0 &&
         named.st_ino == held.st_ino && named.st_dev == held.st_dev;
}

// Invalid when somebody else has it.
Result<FileDescriptor> try_lock(const fs::path& folder) {
  const auto path = folder / k_lock;
  FileDescriptor fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  const bool locked = fd.valid() && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0;
  if (locked && is_at(path, fd.get())) return fd;
  const bool may_come = locked || errno == ENOENT || errno == EWOULDBLOCK || errno == EINTR;
  if (may_come) return FileDescriptor();
  return fail(ErrorCode::internal, "cannot lock the project's kept clone", std::strerror(errno));
}

Result<FileDescriptor> wait_for_lock(const fs::path& folder, const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    std::error_code error;
    fs::create_directories(folder, error);
    if (error) {
      return fail(ErrorCode::internal, "cannot make the folder of the project's kept clone",
                  error.message());
    }
    ATLAS_TRY(auto lock, try_lock(folder));
    if (lock.valid()) return lock;
    std::this_thread::sleep_for(k_look);
  }
  return fail(ErrorCode::cancelled, "the checkout was stopped",
              "while it waited for another clone of the project");
}

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  auto each = fs::recursive_directory_iterator(folder, error);
  for (; !error && each != fs::recursive_directory_iterator(); each.increment(error)) {
    std::error_code ignored;
    if (fs::is_regular_file(each->symlink_status(ignored))) files.push_back(each->path());
  }
  return files;
}

std::uint64_t bytes_below(const fs::path& folder) {
  std::uint64_t bytes = 0;
  for (const auto& file : files_below(folder)) {
    struct stat status {};
    if (::lstat(file.c_str(), &status) == 0) bytes += static_cast<std::uint64_t>(status.st_size);
  }
  return bytes;
}

// libgit2 writes beside what it replaces and renames: what a kill leaves of that is in the way of
// the next one (locks), or takes room for nothing (packs without their name).
void sweep(const fs::path& objects) {
  std::error_code ignored;
  for (const auto& file : files_below(objects / "objects" / "pack")) {
    const auto ending = file.extension();
    if (ending != ".pack" && ending != ".idx") fs::remove(file, ignored);
  }
  for (const auto& file : files_below(objects / "refs")) {
    if (file.extension() == ".lock") fs::remove(file, ignored);
  }
  for (const auto& name : names_if_any(objects)) {
    if (name.ends_with(".lock")) fs::remove(objects / name, ignored);
  }
}

bool is_within(const fs::path& objects, const MirrorLimits& limits) {
  const auto packs = files_below(objects / "objects" / "pack");
  const auto count = std::count_if(
      packs.begin(), packs.end(), [](const fs::path& file) { return file.extension() == ".pack"; });
  return static_cast<std::size_t>(count) <= limits.packs_max &&
         files_below(objects / "refs").size() <= limits.refs_max &&
         bytes_below(objects) <= limits.bytes_max;
}

struct Kept {
  std::string name;
  std::uint64_t bytes = 0;
  fs::file_time_type used;
};

// False: somebody has it, or it cannot be removed.
bool remove_idle(const fs::path& folder) {
  const auto lock = try_lock(folder);
  if (!lock || !lock->valid()) return false;
  // The lock last: whoever makes another one finds nothing that is being removed.
  std::error_code error;
  for (const auto& name : names_if_any(folder)) {
    if (name != k_lock && !error) fs::remove_all(folder / name, error);
  }
  if (!error) fs::remove(folder / k_lock, error);
  if (!error) {
    std::error_code has_a_new_holder;
    fs::remove(folder, has_a_new_holder);
    return true;
  }
  log_event(LogLevel::warn, "builder", "mirror_not_removed",
            {{"path", folder.string()}, {"cause", error.message()}});
  return false;
}

}  // namespace

Result<Mirror> Mirror::open(const fs::path& folder, const std::string& owner,
                            const std::string& url, const std::stop_token& stop,
                            const MirrorLimits& limits) {
  ATLAS_TRY(auto lock, wait_for_lock(folder, stop));
  Mirror mirror(folder, sha256_hex(owner + "\n" + url), std::move(lock));
  ::futimens(mirror.lock_.get(), nullptr);  // the time of its last use
  sweep(mirror.objects());
  git_repository* raw = nullptr;
  if (mirror.is_usable(limits) && git_repository_open_bare(&raw, mirror.objects().c_str()) == 0) {
    mirror.repository_.reset(raw);
    return mirror;
  }
  ATLAS_TRYV(mirror.renew());
  return mirror;
}

bool Mirror::is_usable(const MirrorLimits& limits) const {
  const auto mark = read_file(folder_ / k_mark, k_mark_bytes_max);
  return mark && *mark == mark_ && is_within(objects(), limits);
}

Result<void> Mirror::renew() {
  repository_.reset();
  is_new_ = true;
  std::error_code error;
  fs::remove(folder_ / k_mark, error);
  if (!error) fs::remove_all(objects(), error);
  if (error) {
    return fail(ErrorCode::internal, "cannot clear the project's kept clone", error.message());
  }
  ATLAS_TRY(repository_, git::make_repository(objects()));
  // Not synced, as the objects are not: what is not whole after a power cut is cloned anew.
  return replace_file(folder_ / k_mark, mark_, 0600, Sync::skipped);
}

Result<std::vector<std::string>> collect_mirrors(
    const fs::path& root, const std::function<Result<std::set<std::string>>()>& projects,
    std::uint64_t bytes_max, const std::stop_token& stop) {
  const auto names = names_if_any(root);
  if (names.empty()) return std::vector<std::string>();
  ATLAS_TRY(const auto there, projects());
  std::vector<std::string> removed;
  std::vector<Kept> kept;
  std::uint64_t total = 0;
  for (const auto& name : names) {
    if (stop.stop_requested()) return removed;
    const auto folder = root / name;
    if (!there.contains(name)) {
      if (remove_idle(folder)) removed.push_back("the clone of " + name);
      continue;
    }
    std::error_code ignored;
    kept.push_back({name, bytes_below(folder), fs::last_write_time(folder / k_lock, ignored)});
    total += kept.back().bytes;
  }
  std::sort(kept.begin(), kept.end(), [](const Kept& a, const Kept& b) { return a.used < b.used; });
  for (const auto& each : kept) {
    if (total <= bytes_max || stop.stop_requested()) break;
    if (!remove_idle(root / each.name)) continue;
    total -= each.bytes;
    removed.push_back("the clone of " + each.name);
  }
  return removed;
}

}  // namespace atlasflow::builder
