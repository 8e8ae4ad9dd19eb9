#include "events/ssh_address.hpp"

#include <algorithm>
#include <array>
#include <charconv>

namespace atlasflow {
namespace {

constexpr std::string_view k_scheme = "ssh://";
constexpr std::string_view k_fingerprint = "SHA256:";
constexpr std::size_t k_fingerprint_characters = 43;  // of 32 bytes, without padding

bool is_word(std::string_view text, std::string_view others) {
  return !text.empty() && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [others](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  others.find(c) != std::string_view::npos;
         });
}

tl::unexpected<Error> bad(const char* why) { return fail(ErrorCode::invalid_argument, why); }

Result<void> read_user(std::string_view text, SshAddress& address) {
  if (text.find(':') != std::string_view::npos) {
    return bad("it must hold no password; an SSH remote takes the project's deploy key");
  }
  if (!is_word(text, "._-+")) return bad("its user name is none");
  address.user = text;
  return {};
}

// "host", "host:2222", "[::1]" or "[::1]:2222".
Result<void> read_host(std::string_view text, SshAddress& address) {
  std::string_view port;
  if (text.starts_with('[')) {
    const auto end = text.find(']');
    if (end == std::string_view::npos) return bad("its address lacks the closing bracket");
    const auto rest = text.substr(end + 1);
    if (!rest.empty() && !rest.starts_with(':')) return bad("it names no host");
    if (!rest.empty()) port = rest.substr(1);
    text = text.substr(1, end - 1);
    if (!is_word(text, ":.")) return bad("it names no host");
    if (!rest.empty() && port.empty()) return bad("its port is no number from 1 to 65535");
  } else {
    const auto colon = text.find(':');
    if (colon != std::string_view::npos) {
      port = text.substr(colon + 1);
      text = text.substr(0, colon);
      if (port.empty()) return bad("its port is no number from 1 to 65535");
    }
    if (!is_word(text, ".-_")) return bad("it names no host");
  }
  if (!port.empty()) {
    const auto* end = port.data() + port.size();
    const auto [stop, error] = std::from_chars(port.data(), end, address.port);
    if (error != std::errc() || stop != end || address.port == 0) {
      return bad("its port is no number from 1 to 65535");
    }
  }
  address.host = text;
  std::transform(address.host.begin(), address.host.end(), address.host.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return {};
}

// A path is an argument of a command there.
Result<void> read_path(std::string_view text, SshAddress& address) {
  if (text.empty() || text == "/") return bad("it names no repository on that host");
  if (text.starts_with('-')) return bad("its path begins with '-'");
  address.path = text;
  return {};
}

struct Published {
  std::string_view host;
  std::string_view fingerprint;
};
// Sources: docs.github.com, "GitHub's SSH key fingerprints"; support.atlassian.com, "Configure SSH
// and two-step verification".
constexpr std::array k_published = {
    Published{"github.com", "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"},     // Ed25519
    Published{"github.com", "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"},     // ECDSA
    Published{"github.com", "SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s"},     // RSA
    Published{"bitbucket.org", "SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM"},  // Ed25519
    Published{"bitbucket.org", "SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0"},  // ECDSA
    Published{"bitbucket.org", "SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E"},  // RSA
};

}  // namespace

bool is_ssh_url(std::string_view url) {
  if (url.starts_with(k_scheme)) return true;
  if (url.starts_with('/') || url.find("://") != std::string_view::npos) return false;
  const auto colon = url.find(':');
  const auto at = url.find('@');
  return at != std::string_view::npos && colon != std::string_view::npos &&
         url.substr(0, url.find('/')).find('@') != std::string_view::npos &&
         url.substr(0, url.find('/')).find(':') != std::string_view::npos;
}

Result<SshAddress> parsed_ssh_url(std::string_view url) {
  SshAddress address;
  address.user = "git";
  if (!is_ssh_url(url)) return bad("it is no SSH URL");
  if (url.starts_with(k_scheme)) {
    url.remove_prefix(k_scheme.size());
    const auto slash = url.find('/');
    auto authority = url.substr(0, slash);
    if (const auto at = authority.rfind('@'); at != std::string_view::npos) {
      ATLAS_TRYV(read_user(authority.substr(0, at), address));
      authority.remove_prefix(at + 1);
    }
    ATLAS_TRYV(read_host(authority, address));
    ATLAS_TRYV(read_path(slash == std::string_view::npos ? std::string_view() : url.substr(slash),
                         address));
    return address;
  }
  // user@host:path, or user@[::1]:path; a port has no place in it.
  const auto at = url.substr(0, url.find('/')).rfind('@');
  ATLAS_TRYV(read_user(url.substr(0, at), address));
  url.remove_prefix(at + 1);
  const auto end = url.starts_with('[') ? url.find("]:") + 1 : url.find(':');
  if (end >= url.size()) return bad("it names no host");
  ATLAS_TRYV(read_host(url.substr(0, end), address));
  ATLAS_TRYV(read_path(url.substr(end + 1), address));
  return address;
}

std::string host_name_of(const SshAddress& address) {
  return address.port == k_ssh_port ? address.host
                                    : "[" + address.host + "]:" + std::to_string(address.port);
}

Result<void> validate_fingerprint(std::string_view fingerprint) {
  const bool fits = fingerprint.starts_with(k_fingerprint) &&
                    fingerprint.size() == k_fingerprint.size() + k_fingerprint_characters &&
                    is_word("x" + std::string(fingerprint.substr(k_fingerprint.size())), "+/");
  if (fits) return {};
  return bad("a host key's fingerprint is SHA256: and 43 characters, as ssh-keygen -l prints it");
}

std::vector<std::string_view> published_fingerprints(std::string_view host_name) {
  std::vector<std::string_view> found;
  for (const auto& [host, fingerprint] : k_published) {
    if (host == host_name) found.push_back(fingerprint);
  }
  return found;
}

}  // namespace atlasflow
