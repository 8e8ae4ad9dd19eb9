// Where the branches and tags of a repository stand, and what a push changed of that. Values; any
// thread.
#pragma once

#include <filesystem>
#include <map>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "receive/git_call.hpp"

namespace atlasflow::receive {

using Refs = std::map<std::string, std::string>;  // "refs/heads/main" to 40 hex digits

inline constexpr const char* k_zeros = "0000000000000000000000000000000000000000";

struct RefChange {
  std::string ref;
  std::string before;   // k_zeros: it is new
  std::string after;    // k_zeros: it was deleted
  bool forced = false;  // what was before is not in what is there now
};

// Blocking.
[[nodiscard]] Result<Refs> read_refs(const std::filesystem::path& repository,
                                     const GitBounds& bounds, const std::stop_token& stop);
// By name; without `forced`.
[[nodiscard]] std::vector<RefChange> changes_between(const Refs& before, const Refs& after);
// Whether the branch was rewound or rewritten. Blocking.
[[nodiscard]] Result<bool> was_forced(const std::filesystem::path& repository,
                                      const RefChange& change, const GitBounds& bounds,
                                      const std::stop_token& stop);

}  // namespace atlasflow::receive
