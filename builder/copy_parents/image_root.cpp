#include "builder/copy_parents/image_root.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <optional>
#include <string_view>
#include <vector>

#include "builder/copy_parents/pattern.hpp"

namespace atlasflow::copy_parents {
namespace {

namespace fs = std::filesystem;

constexpr int k_links_max = 255;  // followed on the way to one file, as by Docker

std::optional<unsigned> number_in(std::string_view text) {
  unsigned value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// The fields of the line that begins with the name, in /etc/passwd or /etc/group of the image.
std::vector<std::string> account(const fs::path& root, const char* file, const std::string& name) {
  const auto path = resolved(root, file);
  if (root.empty() || !path) return {};
  std::ifstream lines(root / *path);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(name + ":")) continue;
    std::vector<std::string> fields;
    for (std::size_t at = 0; at <= line.size();) {
      const auto end = std::min(line.find(':', at), line.size());
      fields.push_back(line.substr(at, end - at));
      at = end + 1;
    }
    return fields;
  }
  return {};
}

}  // namespace

std::string joined(const std::string& folder, const std::string& name) {
  return folder.empty() ? name : folder + "/" + name;
}

// Where `path` leads from `root`, with its links followed and never out of it.
Result<std::string> resolved(const fs::path& root, const std::string& path) {
  std::string done;
  std::string rest = plain_path(path);
  int links = 0;
  while (!rest.empty()) {
    const auto slash = rest.find('/');
    const auto name = rest.substr(0, slash);
    rest = slash == std::string::npos ? "" : rest.substr(slash + 1);
    if (name == "..") {
      const auto last = done.rfind('/');
      done = last == std::string::npos ? "" : done.substr(0, last);
      continue;
    }
    if (name.empty() || name == ".") continue;
    const auto next = joined(done, name);
    std::error_code error;
    if (root.empty() || !fs::is_symlink(fs::symlink_status(root / next, error))) {
      done = next;
      continue;
    }
    if (++links > k_links_max) {
      return fail(ErrorCode::user_error, "/" + path + " leads through more than 255 links");
    }
    const auto target = fs::read_symlink(root / next, error).generic_string();
    if (target.starts_with('/')) done.clear();
    rest = rest.empty() ? target : target + "/" + rest;
  }
  return done;
}

Result<Owner> owner_of(const fs::path& root, const std::string& text) {
  const auto colon = text.find(':');
  const auto user = text.substr(0, colon);
  Owner owner;
  if (const auto number = number_in(user)) {
    owner = {*number, *number};
  } else if (!user.empty()) {
    const auto fields = account(root, "etc/passwd", user);
    const auto uid = fields.size() > 3 ? number_in(fields[2]) : std::nullopt;
    const auto gid = fields.size() > 3 ? number_in(fields[3]) : std::nullopt;
    if (!uid || !gid) {
      return fail(ErrorCode::user_error,
                  "--chown=" + text + ": the image's /etc/passwd has no user '" + user + "'");
    }
    owner = {*uid, *gid};
  }
  if (colon == std::string::npos || colon + 1 == text.size()) return owner;
  const auto group = text.substr(colon + 1);
  auto gid = number_in(group);
  if (!gid) {
    const auto fields = account(root, "etc/group", group);
    if (fields.size() > 2) gid = number_in(fields[2]);
  }
  if (!gid) {
    return fail(ErrorCode::user_error,
                "--chown=" + text + ": the image's /etc/group has no group '" + group + "'");
  }
  owner.group = *gid;
  return owner;
}

}  // namespace atlasflow::copy_parents
