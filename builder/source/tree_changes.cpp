#include "builder/source/tree_changes.hpp"

#include <utility>

namespace atlasflow::builder {
namespace {

struct Collected {
  std::vector<std::string> paths;
  const std::stop_token* stop = nullptr;
};

// Takes the path and leaves the delta out of the diff, which nobody needs.
int on_delta(const git_diff* /*so_far*/, const git_diff_delta* delta, const char* /*pathspec*/,
             void* payload) {
  auto& collected = *static_cast<Collected*>(payload);
  if (collected.stop->stop_requested() || collected.paths.size() >= k_changed_paths_max) {
    return GIT_EUSER;
  }
  const char* path = delta->new_file.path != nullptr ? delta->new_file.path : delta->old_file.path;
  // A change of kind (a file that became a link) is two deltas of one path.
  if (path != nullptr && (collected.paths.empty() || collected.paths.back() != path)) {
    collected.paths.emplace_back(path);
  }
  return 1;
}

int on_progress(const git_diff* /*so_far*/, const char* /*old_path*/, const char* /*new_path*/,
                void* payload) {
  return static_cast<Collected*>(payload)->stop->stop_requested() ? GIT_EUSER : 0;
}

git::Tree tree_of(git_repository* repository, const std::string& sha) {
  git_oid id;
  git_commit* raw_commit = nullptr;
  if (git_oid_fromstr(&id, sha.c_str()) != 0 ||
      git_commit_lookup(&raw_commit, repository, &id) != 0) {
    return nullptr;
  }
  const git::Commit commit(raw_commit);
  git_tree* raw_tree = nullptr;
  return git::Tree(git_commit_tree(&raw_tree, commit.get()) == 0 ? raw_tree : nullptr);
}

}  // namespace

Result<std::optional<std::vector<std::string>>> changed_paths(git_repository* repository,
                                                              const std::string& base_sha,
                                                              git_tree* tree,
                                                              const std::stop_token& stop) {
  const auto base = tree_of(repository, base_sha);
  if (!base) return std::nullopt;
  Collected collected;
  collected.stop = &stop;
  git_diff_options options;
  git_diff_options_init(&options, GIT_DIFF_OPTIONS_VERSION);
  options.flags = GIT_DIFF_SKIP_BINARY_CHECK;
  options.notify_cb = on_delta;
  options.progress_cb = on_progress;
  options.payload = &collected;
  git_diff* diff = nullptr;
  const int code = git_diff_tree_to_tree(&diff, repository, base.get(), tree, &options);
  git_diff_free(diff);
  if (stop.stop_requested()) return fail(ErrorCode::cancelled, "the checkout was stopped");
  if (code != 0) return std::nullopt;
  return std::move(collected.paths);
}

}  // namespace atlasflow::builder
