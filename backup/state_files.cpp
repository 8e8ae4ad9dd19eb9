#include "backup/state_files.hpp"

#include <algorithm>
#include <array>

#include <sys/stat.h>

#include "base/file.hpp"
#include "storage/utf8.hpp"

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

// A branch may have any other name, and is a file of that name.
bool is_left_out_of_git(std::string_view path) {
  const auto name = path.substr(path.rfind('/') + 1);
  const bool is_object = path.find("/repository.git/objects/") != std::string_view::npos;
  const bool is_half_made = name.starts_with("tmp_") || name.starts_with("incoming-");
  return name.ends_with(".lock") || (is_object && is_half_made) ||
         path.find("/repository.new") != std::string_view::npos;
}

bool is_in(std::string_view folder, std::string_view path) {
  return path.starts_with(folder) && path.size() > folder.size() + 1 && path[folder.size()] == '/';
}

bool is_left_out(std::string_view path) {
  if (is_in(k_git_folder, path)) return is_left_out_of_git(path);
  const auto name = path.substr(path.rfind('/') + 1);
  return name == k_uploads || std::ranges::any_of(k_unfinished, [&](std::string_view ending) {
           return name.ends_with(ending);
         });
}

bool is_regular(const fs::path& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

Result<void> add_folder(const fs::path& state, const std::string& folder,
                        std::vector<std::string>& files) {
  const auto names = names_in(state / folder);
  if (!names) {
    // It was never there, or has gone meanwhile.
    if (names.error().code == ErrorCode::not_found) return {};
    return tl::unexpected(names.error());
  }
  for (const auto& name : *names) {
    const auto path = folder + "/" + name;
    if (is_left_out(path)) continue;
    if (storage::to_valid_utf8(name) != name) {
      return fail(ErrorCode::invalid_argument,
                  "the state folder holds a file whose name is no text, in " +
                      (state / folder).string() + ": remove or rename it");
    }
    struct stat status {};
    if (::lstat((state / path).c_str(), &status) != 0) continue;
    if (S_ISDIR(status.st_mode)) ATLAS_TRYV(add_folder(state, path, files));
    if (S_ISREG(status.st_mode)) files.push_back(path);
  }
  return {};
}

}  // namespace

Result<std::vector<std::string>> files_to_save(const fs::path& state, bool keys) {
  std::vector<std::string> files;
  for (const auto folder : k_folders) {
    ATLAS_TRYV(add_folder(state, std::string(folder), files));
  }
  for (const auto file : k_files) {
    if (is_regular(state / file)) files.emplace_back(file);
  }
  for (const auto key : k_keys) {
    if (keys && is_regular(state / key)) files.emplace_back(key);
  }
  std::ranges::sort(files);
  return files;
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

bool is_git_object(std::string_view path) {
  return is_in(k_git_folder, path) &&
         path.find("/repository.git/objects/") != std::string_view::npos;
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
