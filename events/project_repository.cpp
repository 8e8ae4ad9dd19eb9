// Where a project's repository is: how its URL may be written, and what its host proved to be.
#include <algorithm>

#include "events/project.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow {
namespace {

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

bool strip_suffix(std::string& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.resize(text.size() - suffix.size());
  return true;
}

}  // namespace

std::string own_repository_url(const ProjectId& project) {
  return std::string(k_own_repository) + project.str();
}

bool is_own_repository(std::string_view url) { return url.starts_with(k_own_repository); }

ProjectId owner_of_repository(std::string_view url) {
  if (!is_own_repository(url)) return {};
  return ProjectId{std::string(url.substr(k_own_repository.size()))};
}

std::string normalized_repository(const std::string& url) {
  if (is_own_repository(url)) return url;
  std::string text = url;
  const bool is_ssh = is_ssh_url(url);
  if (text.starts_with("file://")) text.erase(0, 7);
  if (text.starts_with("/")) {
    while (text.size() > 1 && text.back() == '/') text.pop_back();
    return text;
  }
  if (const auto scheme = text.find("://"); scheme != std::string::npos) {
    text.erase(0, scheme + 3);
  } else if (const auto colon = text.find(':'); colon != std::string::npos) {
    text[colon] = '/';  // git@github.com:owner/name.git
  }
  const auto host_end = text.find('/');
  if (const auto at = text.find('@'); at != std::string::npos && at < host_end)
    text.erase(0, at + 1);
  while (!text.empty() && text.back() == '/') text.pop_back();
  strip_suffix(text, ".git");
  const auto slash = text.find('/');
  std::string host = lower(text.substr(0, slash));
  std::string path = slash == std::string::npos ? "" : text.substr(slash);
  if (is_ssh) strip_suffix(host, ":22");
  if (!strip_suffix(host, ":443")) strip_suffix(host, ":80");
  if (host == "github.com") path = lower(path);
  return host + path;
}

Result<void> validate_repository_url(const std::string& url) {
  const auto bad = [&url](const std::string& why) {
    return fail(ErrorCode::invalid_argument,
                "'" + url.substr(0, 200) + "' can't be cloned: " + why);
  };
  if (url.empty() || url.size() > 2048 ||
      std::any_of(url.begin(), url.end(), [](char c) { return c <= ' ' || c == 0x7f; })) {
    return fail(ErrorCode::invalid_argument,
                "a repository URL takes 1 to 2048 characters without spaces");
  }
  if (url.starts_with("/") || url.starts_with("file:///")) return {};
  if (is_own_repository(url)) {
    return bad("the server keeps such repositories itself; create the project with --git-push");
  }
  if (is_ssh_url(url)) {
    const auto address = parsed_ssh_url(url);
    if (address) return {};
    // The URL itself is not repeated: it may hold a secret.
    return fail(ErrorCode::invalid_argument,
                "the repository's SSH URL can't be cloned: " + address.error().message);
  }
  const auto scheme = url.find("://");
  if (!url.starts_with("https://") && !url.starts_with("http://")) {
    return bad(
        "it must start with https://, http://, ssh:// or file:///, be git@host:path or an absolute "
        "path");
  }
  const auto host_end = url.find('/', scheme + 3);
  const auto authority = url.substr(scheme + 3, host_end - scheme - 3);
  if (authority.find('@') != std::string::npos) {
    // The URL itself is not repeated: it holds a secret.
    return fail(ErrorCode::invalid_argument,
                "a repository URL must hold no credentials; the log keeps it for ever");
  }
  if (authority.empty()) return bad("it names no host");
  return {};
}

// The sentence names both, and what takes the new one.
Result<void> judge_host_key(const ProjectState& state, const std::string& host,
                            const std::string& fingerprint) {
  const auto accept =
      ": either it has a new key, or somebody stands between; ask whoever runs it, "
      "and accept it with atlasflow project host-key " +
      state.name + " --accept " + fingerprint;
  if (const auto pinned = state.host_keys.find(host); pinned != state.host_keys.end()) {
    if (pinned->second == fingerprint) return {};
    return fail(ErrorCode::user_error, "the host key of " + host + " is " + fingerprint +
                                           " and was " + pinned->second + " before" + accept);
  }
  const auto published = published_fingerprints(host);
  if (published.empty() ||
      std::find(published.begin(), published.end(), fingerprint) != published.end()) {
    return {};
  }
  std::string list;
  for (const auto each : published) list += (list.empty() ? "" : ", ") + std::string(each);
  return fail(ErrorCode::user_error, "the host key of " + host + " is " + fingerprint +
                                         ", which is none of those that it publishes (" + list +
                                         ")" + accept);
}

}  // namespace atlasflow
