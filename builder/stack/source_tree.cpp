#include "builder/stack/source_tree.hpp"

#include <algorithm>
#include <set>

#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_names_max = 10'000;

}  // namespace

Result<std::optional<std::string>> FolderTree::read(const std::string& name,
                                                    std::size_t limit_bytes) const {
  return read_source_file(folder_, name, limit_bytes);
}

// A file that is larger than it may be is there all the same.
bool FolderTree::has_file(const std::string& name) const {
  const auto text = read_source_file(folder_, name, 0);
  return !text || text->has_value();
}

std::vector<std::string> FolderTree::list(const std::string& folder) const {
  return list_source_folder(folder_, folder, k_names_max);
}

Result<std::optional<std::string>> MemoryTree::read(const std::string& name,
                                                    std::size_t limit_bytes) const {
  const auto found = files_.find(name);
  if (found == files_.end()) return std::optional<std::string>{};
  if (found->second.size() > limit_bytes) {
    return fail(ErrorCode::too_large,
                name + " is larger than " + std::to_string(limit_bytes / 1024) + " KiB");
  }
  return std::optional(found->second);
}

bool MemoryTree::has_file(const std::string& name) const { return files_.contains(name); }

std::vector<std::string> MemoryTree::list(const std::string& folder) const {
  const std::string prefix = folder.empty() ? "" : folder + "/";
  std::set<std::string> names;
  for (const auto& [path, text] : files_) {
    if (!path.starts_with(prefix)) continue;
    const auto rest = path.substr(prefix.size());
    names.insert(rest.substr(0, rest.find('/')));
  }
  return {names.begin(), names.end()};
}

Result<std::optional<std::string>> SubTree::read(const std::string& name,
                                                 std::size_t limit_bytes) const {
  return tree_.read(prefix_ + name, limit_bytes);
}

bool SubTree::has_file(const std::string& name) const { return tree_.has_file(prefix_ + name); }

std::vector<std::string> SubTree::list(const std::string& folder) const {
  return tree_.list(folder.empty() ? prefix_.substr(0, prefix_.size() - 1) : prefix_ + folder);
}

const std::vector<std::string>& ListedTree::names_in(const std::string& folder) const {
  const auto found = listed_.find(folder);
  if (found != listed_.end()) return found->second;
  return listed_.emplace(folder, tree_.list(folder)).first->second;
}

// A list that is cut at its limit does not say what is missing, nor does a path that leads through
// a link or "..".
bool ListedTree::may_have(const std::string& name) const {
  const auto slash = name.rfind('/');
  const std::string folder = slash == std::string::npos ? "" : name.substr(0, slash);
  if (folder.find("..") != std::string::npos || name.starts_with('/')) return true;
  const auto& names = names_in(folder);
  return names.size() >= k_names_max ||
         std::binary_search(names.begin(), names.end(), name.substr(slash + 1));
}

Result<std::optional<std::string>> ListedTree::read(const std::string& name,
                                                    std::size_t limit_bytes) const {
  if (!may_have(name)) return std::optional<std::string>{};
  return tree_.read(name, limit_bytes);
}

bool ListedTree::has_file(const std::string& name) const {
  return may_have(name) && tree_.has_file(name);
}

std::vector<std::string> ListedTree::list(const std::string& folder) const {
  return names_in(folder);
}

}  // namespace atlasflow::builder
