// Where a GitHub is, github.com or a company's own, and which of its repositories a URL means.
// Pure, any thread. Sources: docs.github.com, "Getting started with the REST API" (of Enterprise
// Server: /api/v3; of Enterprise Cloud with data residency: api.SUBDOMAIN.ghe.com).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::github {

inline constexpr std::string_view k_public_github = "https://github.com";

struct Address {
  std::string web;  // "https://github.com", no slash at its end
  std::string api;  // "https://api.github.com", "https://github.example.com/api/v3"

  friend bool operator==(const Address&, const Address&) = default;
};

// Of what a browser is given, e.g. "https://github.example.com". Plain http:// only for loopback:
// private keys sign what goes there, and tokens come back.
[[nodiscard]] Result<Address> address_of(std::string_view base_url);

struct RepositoryName {
  std::string owner;
  std::string name;

  [[nodiscard]] std::string str() const { return owner + "/" + name; }
  friend bool operator==(const RepositoryName&, const RepositoryName&) = default;
};

// "octo/web"; nothing when GitHub would have no such name.
[[nodiscard]] std::optional<RepositoryName> repository_name(std::string_view full_name);

// The repository that a URL leads to: https, git@host:owner/name.git, or ssh://. Nothing when it is
// on another host, or none of GitHub's form.
[[nodiscard]] std::optional<RepositoryName> repository_on(const Address& address,
                                                          std::string_view url);

}  // namespace atlasflow::github
