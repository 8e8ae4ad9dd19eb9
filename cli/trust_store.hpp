// The certificate authorities that the programs of a Debian machine trust: a folder for those of
// its administrator, and update-ca-certificates, which makes the store that OpenSSL and GnuTLS read
// of it. Free functions; they block while that program runs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::cli {

// The certificate of an authority that a server of Atlasflow made. Never its key.
struct Authority {
  std::string pem;          // that one certificate, and nothing beside it
  std::string fingerprint;  // SHA-256 of its DER form, 64 hex digits
  std::string domain;       // that it vouches for
};
// From the first certificate in the text. invalid_argument: it is none of an authority's, or of one
// that no Atlasflow made.
[[nodiscard]] Result<Authority> parse_authority(std::string_view pem);

struct TrustStore {
  std::filesystem::path folder = "/usr/local/share/ca-certificates";
  // The program that takes over what is in the folder, with its arguments.
  std::vector<std::string> update = {"/usr/sbin/update-ca-certificates"};
  bool may_change = false;

  // This machine's, which root may change.
  [[nodiscard]] static TrustStore of_this_machine();
  // Where the authority's certificate lies in it, by its domain.
  [[nodiscard]] std::filesystem::path file_of(const Authority& authority) const;
};

enum class TrustChange : std::uint8_t { none, added, replaced, removed };

// Adds it and has the store made anew, also where it was there already: an earlier try may have
// ended in between. conflict: its name is another authority's, and `replace` is not set.
// unavailable: the program is not there, or failed.
[[nodiscard]] Result<TrustChange> add_to(const TrustStore& store, const Authority& authority,
                                         bool replace);
// The other way round. conflict: what has its name is another authority's, and stays.
[[nodiscard]] Result<TrustChange> remove_from(const TrustStore& store, const Authority& authority);

}  // namespace atlasflow::cli
