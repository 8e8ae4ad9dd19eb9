#include "receive/repositories.hpp"

#include <algorithm>
#include <array>

#include "base/assert.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "receive/spool.hpp"

namespace atlasflow::receive {
namespace {

namespace fs = std::filesystem;

constexpr const char* k_repository = "repository.git";
constexpr const char* k_config =
    "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";

constexpr auto k_tidy_max = std::chrono::minutes(5);  // the next push to the project waits for it

constexpr std::array k_own_folders = {"objects/info", "objects/pack", "refs/heads",
                                      "refs/tags",    "info",         "hooks"};

bool is_id(std::string_view id) {
  return !id.empty() && std::ranges::all_of(id, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  });
}

// Of git's own making, and nobody's any more when no git runs. A branch may have most of these
// names, but none that ends in ".lock".
bool is_left_over(const fs::path& repository, const fs::path& path) {
  const auto name = path.filename().string();
  if (name.ends_with(".lock")) return true;
  if (path.parent_path() == repository) return name == "gc.pid";
  const auto inside = path.lexically_relative(repository / "objects").string();
  return !inside.starts_with("..") && (name.starts_with("tmp_") || name.starts_with(".tmp-") ||
                                       name.starts_with("incoming-") || name.ends_with(".keep"));
}

struct Look {
  std::uint64_t bytes = 0;
  std::vector<fs::path> left_over;
};

Look look_at(const fs::path& repository) {
  Look look;
  std::error_code error;
  for (auto it = fs::recursive_directory_iterator(repository, error);
       !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code ignored;
    if (is_left_over(repository, it->path())) {
      look.left_over.push_back(it->path());
      it.disable_recursion_pending();
    } else if (it->is_regular_file(ignored)) {
      look.bytes += it->file_size(ignored);
    }
  }
  return look;
}

// At best: what it leaves undone is in nobody's way, and the next one does it.
void collect(const std::string& id, const fs::path& repository, std::vector<std::string> argv,
             const GitBounds& bounds, const std::stop_token& stop) {
  std::string said;
  const auto ran = run_git(
      repository, {.argv = std::move(argv), .environment = {"GIT_DIR=."}}, bounds, stop,
      [](std::string_view) {}, said);
  if (ran && ran->end == RunOutcome::End::exited && ran->exit_code == 0) return;
  log_event(LogLevel::warn, "receive", "repository_not_tidied",
            {{"project", id}, {"error", ran ? said : to_string(ran.error())}});
}

}  // namespace

fs::path repository_path(const fs::path& root, const std::string& id) {
  ATLAS_ASSERT(is_id(id), id);
  return root / id / k_repository;
}

Repositories::Repositories(fs::path root, std::uint64_t free_bytes_min, GitBounds bounds)
    : root_(std::move(root)), free_bytes_min_(free_bytes_min), bounds_(bounds) {
  end_abandoned_calls();
  // A backup holds files only, and git knows no repository without its folders.
  for (const auto& id : ids()) {
    const auto place = repository_path(root_, id);
    std::error_code ignored;
    if (!fs::exists(place / "HEAD", ignored)) continue;
    for (const char* folder : k_own_folders) {
      if (const auto made = make_folder(place / folder); !made) {
        log_event(LogLevel::warn, "receive", "folder_missing",
                  {{"project", id}, {"error", to_string(made.error())}});
      }
    }
    if (const auto owned = own_repository(place); !owned) {
      log_event(LogLevel::warn, "receive", "repository_not_owned",
                {{"project", id}, {"error", to_string(owned.error())}});
    }
  }
}

Repositories::Turn::~Turn() {
  if (repositories_ == nullptr) return;
  {
    const std::lock_guard lock(repositories_->mutex_);
    repositories_->taken_.erase(id_);
  }
  repositories_->given_back_.notify_all();
}

Result<Repositories::Turn> Repositories::take(const std::string& id,
                                              std::chrono::milliseconds patience) {
  std::unique_lock lock(mutex_);
  if (!given_back_.wait_for(lock, patience, [&] { return !taken_.contains(id); })) {
    return fail(ErrorCode::unavailable,
                "another push to the project is under way; push again in a moment");
  }
  taken_.insert(id);
  return Turn(*this, id);
}

fs::path Repositories::pending_file(const std::string& id) const {
  return repository_path(root_, id).parent_path() / "pending.json";
}

// Whole or not at all: what is beside it under another name is nobody's.
Result<void> Repositories::make(const std::string& id, const std::string& branch) const {
  const auto place = repository_path(root_, id);
  const auto part = place.parent_path() / "repository.new";
  std::error_code error;
  fs::remove_all(part, error);
  for (const char* folder : k_own_folders) ATLAS_TRYV(make_folder(part / folder));
  ATLAS_TRYV(write_new_file(part / "HEAD", "ref: refs/heads/" + branch + "\n"));
  ATLAS_TRYV(write_new_file(part / "config", k_config));
  ATLAS_TRYV(own_repository(part));
  return publish_file(part, place);
}

Result<fs::path> Repositories::open(const std::string& id, const std::string& branch,
                                    const std::stop_token& stop) {
  const auto place = repository_path(root_, id);
  std::error_code error;
  if (!fs::exists(place, error)) {
    if (auto made = make(id, branch); !made) {
      return fail(ErrorCode::disk_full,
                  "the project's repository can't be made; is the server's disk full?",
                  to_string(made.error()));
    }
    return place;
  }
  // Also one that came out of a backup.
  ATLAS_TRYV(own_repository(place));
  const auto look = look_at(place);
  for (const auto& path : look.left_over) {
    fs::remove_all(path, error);
    log_event("receive", "leftover_removed", {{"project", id}, {"name", path.filename().string()}});
  }
  if (look.bytes <= bounds_.repository_bytes_max) return place;
  ATLAS_TRY(const auto bytes, shrink(id, place, look.bytes, stop));
  if (bytes <= bounds_.repository_bytes_max) return place;
  return fail(ErrorCode::too_large,
              "the project's repository has " + std::to_string(bytes >> 20U) +
                  " MiB that its branches and tags need, and " +
                  std::to_string(bounds_.repository_bytes_max >> 20U) +
                  " are the limit: it takes no more; make a new project with --git-push and push "
                  "a history without the large files to it");
}

// A size at which it did not help is remembered: it takes long, and nothing is pushed meanwhile.
Result<std::uint64_t> Repositories::shrink(const std::string& id, const fs::path& place,
                                           std::uint64_t bytes, const std::stop_token& stop) {
  {
    const std::lock_guard lock(mutex_);
    const auto known = needed_.find(id);
    if (known != needed_.end() && known->second == bytes) return bytes;
  }
  // What it has is packed anew beside it.
  ATLAS_TRYV(expect_room(root_, free_bytes_min_ + bytes));
  collect(id, place, {"git", "gc", "--quiet", "--prune=now"}, bounds_, stop);
  const auto left = look_at(place).bytes;
  const std::lock_guard lock(mutex_);
  needed_[id] = left;
  return left;
}

void Repositories::tidy(const std::string& id, const std::stop_token& stop) const {
  auto bounds = bounds_;
  bounds.deadline = std::min<std::chrono::milliseconds>(bounds.deadline, k_tidy_max);
  collect(id, repository_path(root_, id), {"git", "gc", "--quiet", "--auto"}, bounds, stop);
}

Result<void> Repositories::remove(const std::string& id) {
  {
    const std::lock_guard lock(mutex_);
    needed_.erase(id);
  }
  std::error_code error;
  fs::remove_all(repository_path(root_, id).parent_path(), error);
  if (!error) return {};
  return fail(ErrorCode::internal, "a repository can't be removed", error.message());
}

std::vector<std::string> Repositories::ids() const {
  auto names = names_if_any(root_);
  std::erase_if(names, [](const auto& name) { return !is_id(name); });
  return names;
}

}  // namespace atlasflow::receive
