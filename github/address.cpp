#include "github/address.hpp"

#include <algorithm>

namespace atlasflow::github {
namespace {

constexpr std::size_t k_owner_bytes_max = 100;  // 39, and more for a company's managed users
constexpr std::size_t k_name_bytes_max = 100;
constexpr std::size_t k_host_bytes_max = 253;  // RFC 1035 section 2.3.4

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return result;
}

// A host name or an IPv4 address, perhaps with a port.
bool is_authority(std::string_view text) {
  const auto colon = text.find(':');
  const auto host = text.substr(0, colon);
  if (host.empty() || host.size() > k_host_bytes_max || host.front() == '.' ||
      host.front() == '-') {
    return false;
  }
  if (!std::all_of(host.begin(), host.end(),
                   [](char c) { return is_alphanumeric(c) || c == '-' || c == '.'; })) {
    return false;
  }
  if (colon == std::string_view::npos) return true;
  const auto port = text.substr(colon + 1);
  return !port.empty() && port.size() <= 5 &&
         std::all_of(port.begin(), port.end(), [](char c) { return c >= '0' && c <= '9'; });
}

bool is_loopback(std::string_view authority) {
  const auto host = authority.substr(0, authority.find(':'));
  return host == "localhost" || host.starts_with("127.");
}

// "github.com" of "https://github.com"; :443 of https and :80 of http are the same as none.
std::string authority_of(std::string_view url) {
  const bool secure = url.starts_with("https://");
  url.remove_prefix(std::min(url.find("://") + 3, url.size()));
  auto authority = lower(url.substr(0, url.find('/')));
  const std::string_view usual = secure ? ":443" : ":80";
  if (authority.ends_with(usual)) authority.erase(authority.size() - usual.size());
  return authority;
}

bool is_name(std::string_view text, std::size_t bytes_max) {
  return !text.empty() && text.size() <= bytes_max && text != "." && text != ".." &&
         std::all_of(text.begin(), text.end(),
                     [](char c) { return is_alphanumeric(c) || c == '-' || c == '_' || c == '.'; });
}

// The host and the path of git@host:path and ssh://git@host/path.
std::optional<std::pair<std::string, std::string_view>> ssh_parts(std::string_view url) {
  constexpr std::string_view k_ssh = "ssh://";
  const bool is_url = url.starts_with(k_ssh);
  if (is_url) url.remove_prefix(k_ssh.size());
  if (!is_url && url.find("://") != std::string_view::npos) return std::nullopt;
  const auto end = url.find(is_url ? '/' : ':');
  if (end == std::string_view::npos || url.front() == '/') return std::nullopt;
  auto host = url.substr(0, end);
  host.remove_prefix(host.find('@') == std::string_view::npos ? 0 : host.find('@') + 1);
  if (is_url) host = host.substr(0, host.find(':'));
  return std::pair{lower(host), url.substr(end + 1)};
}

}  // namespace

Result<Address> address_of(std::string_view base_url) {
  const auto wrong = [](const std::string& why) {
    return fail(ErrorCode::invalid_argument,
                "GitHub's base URL " + why +
                    "; give what a browser shows, e.g. https://github.example.com");
  };
  auto url = base_url;
  while (url.ends_with('/')) url.remove_suffix(1);
  const bool secure = url.starts_with("https://");
  if (!secure && !url.starts_with("http://")) return wrong("must begin with https://");
  const auto rest = url.substr(secure ? 8 : 7);
  if (rest.find('@') != std::string_view::npos) return wrong("must hold no user name or password");
  if (rest.find_first_of("?#") != std::string_view::npos) return wrong("must have no query");
  if (rest.find('/') != std::string_view::npos) return wrong("must have no path");
  if (!is_authority(rest)) return wrong("has no valid host");
  if (!secure && !is_loopback(rest)) return wrong("must begin with https://");
  const auto authority = authority_of(url);
  if (authority.starts_with("api.")) {
    return wrong("is the API's, not that of the website");
  }
  const std::string scheme = secure ? "https://" : "http://";
  const auto web = scheme + authority;
  if (authority == "github.com" || authority == "www.github.com") {
    return Address{std::string(k_public_github), "https://api.github.com"};
  }
  if (authority.ends_with(".ghe.com")) return Address{web, scheme + "api." + authority};
  return Address{web, web + "/api/v3"};
}

std::optional<RepositoryName> repository_name(std::string_view full_name) {
  const auto slash = full_name.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  const auto owner = full_name.substr(0, slash);
  const auto name = full_name.substr(slash + 1);
  if (!is_name(owner, k_owner_bytes_max) || !is_name(name, k_name_bytes_max)) return std::nullopt;
  return RepositoryName{std::string(owner), std::string(name)};
}

std::optional<RepositoryName> repository_on(const Address& address, std::string_view url) {
  const auto own = authority_of(address.web);
  std::string_view path;
  if (url.starts_with("https://") || url.starts_with("http://")) {
    const auto scheme = url.substr(0, url.find("://"));
    if (scheme != address.web.substr(0, address.web.find("://"))) return std::nullopt;
    if (authority_of(url) != own) return std::nullopt;
    const auto slash = url.find('/', scheme.size() + 3);
    if (slash == std::string_view::npos) return std::nullopt;
    path = url.substr(slash + 1);
  } else {
    const auto parts = ssh_parts(url);
    if (!parts || parts->first != own.substr(0, own.find(':'))) return std::nullopt;
    path = parts->second;
  }
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path.ends_with(".git")) path.remove_suffix(4);
  return repository_name(path);
}

}  // namespace atlasflow::github
