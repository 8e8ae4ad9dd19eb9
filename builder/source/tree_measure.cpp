#include "builder/source/tree_measure.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>

namespace atlasflow::builder {
namespace {

// A sum that stops far above every limit, so that it never wraps around.
std::uint64_t plus(std::uint64_t a, std::uint64_t b) {
  constexpr std::uint64_t k_enough = 1ULL << 62U;
  return std::min(k_enough, a + std::min(k_enough, b));
}

using ObjectId = std::array<unsigned char, GIT_OID_RAWSZ>;

class Measurer {
 public:
  Measurer(git_repository* repository, git_odb* odb, std::uint64_t limit_bytes,
           const std::stop_token& stop)
      : repository_(repository), odb_(odb), limit_bytes_(limit_bytes), stop_(stop) {}

  Result<TreeMeasure> of_tree(const git_tree* tree, std::uint64_t depth, const std::string& path) {
    if (depth > k_tree_depth_max) return too_deep(path);
    const std::string prefix = path.empty() ? "" : path + "/";
    TreeMeasure sum;
    const std::size_t count = git_tree_entrycount(tree);
    for (std::size_t i = 0; i < count; ++i) {
      if (stop_.stop_requested()) return fail(ErrorCode::cancelled, "the checkout was stopped");
      const auto* entry = git_tree_entry_byindex(tree, i);
      const std::string name = git_tree_entry_name(entry);
      if (name.size() > k_tree_name_bytes_max) {
        return fail(ErrorCode::too_large,
                    "a file's name is longer than 255 bytes: " + name.substr(0, 60) + "…");
      }
      auto part = of_entry(entry, depth, prefix + name);
      if (!part) return part;
      sum.entries = plus(sum.entries, plus(part->entries, 1));
      sum.size_bytes = plus(sum.size_bytes, part->size_bytes);
      sum.depth = std::max(sum.depth, part->depth);
      const auto below = part->path_bytes == 0 ? 0 : part->path_bytes + 1;
      sum.path_bytes = std::max(sum.path_bytes, name.size() + below);
      ATLAS_TRYV(check(sum, depth, path));
    }
    return sum;
  }

 private:
  Result<TreeMeasure> of_entry(const git_tree_entry* entry, std::uint64_t depth,
                               const std::string& path) {
    const git_oid* id = git_tree_entry_id(entry);
    const auto mode = git_tree_entry_filemode(entry);
    if (mode == GIT_FILEMODE_COMMIT) return TreeMeasure{};
    if (mode != GIT_FILEMODE_TREE) {
      std::size_t size = 0;
      git_object_t type = GIT_OBJECT_INVALID;
      if (git_odb_read_header(&size, &type, odb_, id) != 0) return missing(path);
      return TreeMeasure{0, size, 0, 0};
    }
    ObjectId key{};
    std::memcpy(key.data(), id->id, key.size());
    if (const auto known = known_.find(key); known != known_.end()) {
      if (depth + 1 + known->second.depth > k_tree_depth_max) return too_deep(path);
      return known->second;
    }
    git_tree* raw = nullptr;
    if (git_tree_lookup(&raw, repository_, id) != 0) return missing(path);
    const git::Tree tree(raw);
    auto measure = of_tree(tree.get(), depth + 1, path);
    if (!measure) return measure;
    ++measure->depth;
    known_[key] = *measure;
    return measure;
  }

  Result<void> check(const TreeMeasure& sum, std::uint64_t depth, const std::string& path) const {
    const auto at = path.empty() ? std::string() : " (at " + path.substr(0, 200) + ")";
    if (sum.entries > k_tree_entries_max) {
      return fail(ErrorCode::too_large,
                  "the commit has more than " + std::to_string(k_tree_entries_max) + " files" + at);
    }
    if (sum.size_bytes > limit_bytes_) {
      return fail(ErrorCode::too_large, "the files of the commit are larger than the limit of " +
                                            std::to_string(limit_bytes_ >> 20U) + " MiB" + at);
    }
    if (path.size() + 1 + sum.path_bytes > k_tree_path_bytes_max) {
      return fail(ErrorCode::too_large, "the commit has a path of more than " +
                                            std::to_string(k_tree_path_bytes_max) + " bytes" + at);
    }
    return depth + sum.depth > k_tree_depth_max ? Result<void>(too_deep(path)) : Result<void>{};
  }

  static tl::unexpected<Error> too_deep(const std::string& path) {
    return fail(ErrorCode::too_large, "the commit has folders more than " +
                                          std::to_string(k_tree_depth_max) + " deep at " +
                                          path.substr(0, 200) + "…");
  }
  static tl::unexpected<Error> missing(const std::string& path) {
    return fail(ErrorCode::user_error,
                "the repository lacks an object that the commit names (" + path.substr(0, 200) +
                    "); run git fsck in it",
                git::last_message());
  }

  git_repository* repository_;
  git_odb* odb_;
  std::uint64_t limit_bytes_;
  const std::stop_token& stop_;
  std::map<ObjectId, TreeMeasure> known_;
};

}  // namespace

Result<TreeMeasure> measure_tree(git_repository* repository, const git_tree* tree,
                                 std::uint64_t limit_bytes, const std::stop_token& stop) {
  git_odb* raw = nullptr;
  if (git_repository_odb(&raw, repository) != 0) {
    return fail(ErrorCode::internal, "the fetched objects cannot be read", git::last_message());
  }
  const git::ObjectDatabase odb(raw);
  return Measurer(repository, odb.get(), limit_bytes, stop).of_tree(tree, 0, {});
}

}  // namespace atlasflow::builder
