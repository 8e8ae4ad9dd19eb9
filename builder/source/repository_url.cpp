#include "builder/source/repository_url.hpp"

#include <algorithm>
#include <filesystem>

#include "events/ssh_address.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

// The path of file:///x or /x, without "." and ".." and a slash at its end.
fs::path local_path(std::string_view url) {
  if (url.starts_with("file://")) url.remove_prefix(std::string_view("file://").size());
  auto path = fs::path(url).lexically_normal();
  return path.has_filename() ? path : path.parent_path();
}

// "https://host/a/b" and "../c" is "https://host/a/c".
std::optional<std::string> joined(std::string_view parent, std::string_view relative) {
  std::string base(parent.substr(0, parent.find_last_not_of('/') + 1));
  const auto root = is_local(parent) ? base.find('/') : base.find('/', base.find("://") + 3);
  while (true) {
    if (relative.starts_with("./")) {
      relative.remove_prefix(2);
    } else if (relative.starts_with("../")) {
      relative.remove_prefix(3);
      const auto slash = base.rfind('/');
      if (slash == std::string::npos || root == std::string::npos || slash < root) {
        return std::nullopt;
      }
      base.resize(slash);
    } else {
      return base + "/" + std::string(relative);
    }
  }
}

// git@host:path and ssh://git@host/path as https://host/path.
std::optional<std::string> https_of_ssh(std::string_view url) {
  constexpr std::string_view k_ssh = "ssh://";
  const bool is_url = url.starts_with(k_ssh);
  if (is_url) url.remove_prefix(k_ssh.size());
  if (!is_url && url.find("://") != std::string_view::npos) return std::nullopt;
  const auto end = url.find(is_url ? '/' : ':');
  if (end == std::string_view::npos || end + 1 == url.size() || url.front() == '/') {
    return std::nullopt;
  }
  auto host = url.substr(0, end);
  host.remove_prefix(host.rfind('@') == std::string_view::npos ? 0 : host.rfind('@') + 1);
  return "https://" + std::string(host) + "/" + std::string(url.substr(end + 1));
}

// A path on the same host, under the same user and port; the key is the parent's.
std::optional<std::string> ssh_submodule(std::string_view parent, std::string_view written) {
  const auto own = parsed_ssh_url(parent);
  if (!own) return std::nullopt;
  if (written.starts_with("./") || written.starts_with("../")) {
    // The path is the end of both ways to write it.
    const auto before = parent.substr(0, parent.size() - own->path.size());
    const bool is_absolute = own->path.starts_with('/');
    const auto path = joined(is_absolute ? own->path : "/" + own->path, written);
    if (!path || path->size() < 2) return std::nullopt;
    return std::string(before) + path->substr(is_absolute ? 0 : 1);
  }
  if (is_ssh_url(written)) {
    const auto other = parsed_ssh_url(written);
    const bool is_same =
        other && other->host == own->host && other->port == own->port && other->user == own->user;
    return is_same ? std::optional(std::string(written)) : std::nullopt;
  }
  const bool is_beside = written.starts_with("https://") && authority_of(written) == own->host;
  return is_beside ? std::optional(std::string(written)) : std::nullopt;
}

bool is_plain(std::string_view url) {
  return !url.empty() && url.size() <= 2048 && std::all_of(url.begin(), url.end(), [](char c) {
    return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
  });
}

}  // namespace

// The part between "//" and the next "/"; empty for a path.
std::string_view authority_of(std::string_view url) {
  const auto start = url.find("://");
  if (start == std::string_view::npos) return {};
  url.remove_prefix(start + 3);
  return url.substr(0, url.find_first_of("/?#"));
}

bool is_local(std::string_view url) { return url.starts_with("/") || url.starts_with("file:///"); }

bool is_loopback(std::string_view authority) {
  if (authority.starts_with("[::1]")) return true;
  const std::string_view host = authority.substr(0, authority.find(':'));
  return host == "localhost" || host.starts_with("127.");
}

std::optional<std::string> submodule_url(std::string_view parent, std::string_view written) {
  if (!is_plain(written)) return std::nullopt;
  if (is_ssh_url(parent)) return ssh_submodule(parent, written);
  std::string url(written);
  if (written.starts_with("./") || written.starts_with("../")) {
    auto found = joined(parent, written);
    if (!found) return std::nullopt;
    url = std::move(*found);
  } else if (!is_local(parent)) {
    if (auto https = https_of_ssh(written)) url = std::move(*https);
  }
  if (is_local(parent)) {
    if (!is_local(url)) return std::nullopt;
    const auto own = local_path(parent);
    const auto other = local_path(url);
    return other.parent_path() == own.parent_path() && other != own
               ? std::optional("file://" + other.string())
               : std::nullopt;
  }
  const bool is_same = url.substr(0, url.find("://")) == parent.substr(0, parent.find("://")) &&
                       authority_of(url) == authority_of(parent) && !authority_of(url).empty();
  return is_same ? std::optional(url) : std::nullopt;
}

}  // namespace atlasflow::builder
