// What a backup needs to know of a state folder as a whole. The layout itself is the server's
// (server/state_dir.hpp). Free functions; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::backup {

// The newest layout of a state folder that this binary knows.
inline constexpr int k_state_layout = 1;
// A file in a state folder while it is being restored: a server refuses to start over it.
inline constexpr std::string_view k_restoring = "RESTORING";

// invalid_argument: it is no state folder; corrupt: of a newer layout.
[[nodiscard]] Result<int> layout_of(const std::filesystem::path& state);

// Tells one key file from another, and nothing of the key: the first 16 hex digits of SHA-256 over
// a constant and its 32 random bytes. not_found: there is none; corrupt: it is no key.
[[nodiscard]] Result<std::string> key_digest_of(const std::filesystem::path& key_file);

}  // namespace atlasflow::backup
