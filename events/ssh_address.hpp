// Remotes that are reached by SSH: how they are written, and what their hosts prove to be. Pure,
// any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow {

struct SshAddress {
  std::string user;  // "git" where the URL names none
  std::string host;  // in lower case, an IPv6 address without its brackets
  std::uint16_t port = 22;
  std::string path;  // as the host is asked for it: "group/app.git", or "/srv/app.git"
};

inline constexpr std::uint16_t k_ssh_port = 22;

// ssh://[user@]host[:port]/path or user@host:path, as git writes them (git-fetch(1), "GIT URLS").
[[nodiscard]] bool is_ssh_url(std::string_view url);
// invalid_argument, with the reason as half a sentence. An error never repeats the URL, which may
// hold a password.
[[nodiscard]] Result<SshAddress> parsed_ssh_url(std::string_view url);

// As known_hosts names it (sshd(8)): "git.example.com", or "[git.example.com]:2222".
[[nodiscard]] std::string host_name_of(const SshAddress& address);

// "SHA256:" and 43 characters of Base64, as ssh-keygen -l prints it.
[[nodiscard]] Result<void> validate_fingerprint(std::string_view fingerprint);

// The fingerprints that the hosts of that name publish; empty: none that we know of.
[[nodiscard]] std::vector<std::string_view> published_fingerprints(std::string_view host_name);

}  // namespace atlasflow
