// SSH keys of our own: Ed25519 (RFC 8709), in OpenSSH's formats. Any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/secret.hpp"

namespace atlasflow {

struct SshKey {
  std::string public_key;   // one line, as authorized_keys has it: "ssh-ed25519 AAAA… comment"
  std::string fingerprint;  // "SHA256:…", as ssh-keygen -l prints it
  Secret private_key;  // PEM, "OPENSSH PRIVATE KEY" without a passphrase (OpenSSH, PROTOCOL.key)
};

// A new one. comment: of letters, digits, "-" and the like, without a space. internal: OpenSSL has
// no randomness.
[[nodiscard]] Result<SshKey> make_ssh_key(std::string_view comment);

// Of a public key in SSH's wire format (RFC 4253 section 6.6).
[[nodiscard]] std::string ssh_fingerprint(std::string_view key);

}  // namespace atlasflow
