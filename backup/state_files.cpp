#include "backup/state_files.hpp"

#include <algorithm>
#include <array>

#include <sys/stat.h>

#include "base/file.hpp"
#include "base/utf8.hpp"

namespace atlasflow::backup {
namespace {

namespace fs = std::filesystem;

// What is there must be whole: a name that ends so is of a file that is being written.
constexpr std::array<std::string_view, 3> k_unfinished = {".tmp", ".new", ".part"};
constexpr std::string_view k_uploads = "_uploads";  // of the registry: pushes that go on just now

// Files, or folders with all that is in them.
constexpr std::array<std::string_view, 5> k_folders = {k_secrets_folder, k_certificates_folder,
                                                       k_git_folder, "logs", k_registry_folder};
constexpr std::array<std::string_view, 1> k_files = {"ca/ca.pem"};
constexpr std::array<std::string_view, 2> k_keys = {k_secret_key, "ca/ca.key"};

bool is_in(std::string_view folder, std::string_view path) {
  return path.starts_with(folder) && path.size() > folder.size() + 1 && path[folder.size()] == '/';
}

std::string_view name_of(std::string_view path) { return path.substr(path.rfind('/') + 1); }

bool is_unfinished(std::string_view name) {
  return std::ranges::any_of(k_unfinished,
                             [&](std::string_view ending) { return name.ends_with(ending); });
}

// Of git/<id>/<inside>; empty: it is no path of that kind.
std::string_view inside_of_project(std::string_view path) {
  if (!is_in(k_git_folder, path)) return {};
  path.remove_prefix(k_git_folder.size() + 1);
  const auto slash = path.find('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(slash + 1);
}

bool is_git_object(std::string_view path) {
  return inside_of_project(path).starts_with("repository.git/objects/");
}

// A branch may have any other name, and is a file of that name: so what is beside the repository,
// and what is in it, is told by where it lies.
bool is_left_out_of_git(std::string_view path) {
  const auto name = name_of(path);
  if (name.ends_with(".lock")) return true;
  if (is_git_object(path)) {
    return name.starts_with("tmp_") || name.starts_with(".tmp-") || name.starts_with("incoming-");
  }
  const auto inside = inside_of_project(path);
  return is_unfinished(inside.substr(0, inside.find('/')));
}

bool is_left_out(std::string_view path) {
  if (is_in(k_git_folder, path)) return is_left_out_of_git(path);
  const auto name = name_of(path);
  return name == k_uploads || is_unfinished(name);
}

struct stat status_of(const fs::path& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) status.st_mode = 0;
  return status;
}

bool is_regular(const fs::path& path) { return S_ISREG(status_of(path).st_mode); }

Result<void> add_folder(const fs::path& state, const std::string& folder, StateFiles& files) {
  const auto names = names_in(state / folder);
  if (!names) {
    // It was never there, or has gone meanwhile, perhaps for a file in its place.
    if (names.error().code == ErrorCode::not_found) return {};
    if (!S_ISDIR(status_of(state / folder).st_mode)) return {};
    return tl::unexpected(names.error());
  }
  for (const auto& name : *names) {
    const auto path = folder + "/" + name;
    if (is_left_out(path)) continue;
    if (!is_utf8(name)) {
      // A branch's name is whoever pushes it's to choose.
      if (is_in(k_git_folder, path)) {
        files.nameless.push_back(to_valid_utf8(path));
        continue;
      }
      return fail(ErrorCode::invalid_argument,
                  "the state folder holds a file whose name is no text, in " +
                      (state / folder).string() + ": remove or rename it");
    }
    const auto mode = status_of(state / path).st_mode;
    if (S_ISDIR(mode)) ATLAS_TRYV(add_folder(state, path, files));
    if (S_ISREG(mode)) files.paths.push_back(path);
  }
  return {};
}

}  // namespace

Result<StateFiles> files_to_save(const fs::path& state, bool keys) {
  StateFiles files;
  for (const auto folder : k_folders) {
    ATLAS_TRYV(add_folder(state, std::string(folder), files));
  }
  for (const auto file : k_files) {
    if (is_regular(state / file)) files.paths.emplace_back(file);
  }
  for (const auto key : k_keys) {
    if (keys && is_regular(state / key)) files.paths.emplace_back(key);
  }
  std::ranges::sort(files.paths);
  return files;
}

Result<std::vector<std::string>> git_objects_to_save(const fs::path& state) {
  StateFiles files;
  ATLAS_TRYV(add_folder(state, std::string(k_git_folder), files));
  std::erase_if(files.paths, [](const auto& path) { return !is_git_object(path); });
  return std::move(files.paths);
}

bool belongs_to_backup(std::string_view path) {
  if (std::ranges::find(k_files, path) != k_files.end()) return true;
  if (std::ranges::find(k_keys, path) != k_keys.end()) return true;
  if (path.find('\0') != std::string_view::npos) return false;
  const bool inside =
      std::ranges::any_of(k_folders, [&](std::string_view folder) { return is_in(folder, path); });
  if (!inside) return false;
  fs::path until_here;
  return std::ranges::none_of(fs::path(path), [&](const fs::path& part) {
    until_here /= part;
    return part.empty() || part == "." || part == ".." || is_left_out(until_here.string());
  });
}

std::string_view digest_by_name(std::string_view path) {
  // …/blobs/sha256/<first two digits>/<digest>/data
  constexpr std::string_view k_before = "/blobs/sha256/";
  constexpr std::string_view k_after = "/data";
  constexpr std::size_t k_digits = 64;
  if (!path.starts_with(k_registry_folder) || !path.ends_with(k_after)) return {};
  path.remove_prefix(k_registry_folder.size());
  if (path.size() != k_before.size() + 3 + k_digits + k_after.size() ||
      !path.starts_with(k_before)) {
    return {};
  }
  return path.substr(k_before.size() + 3, k_digits);
}

}  // namespace atlasflow::backup
