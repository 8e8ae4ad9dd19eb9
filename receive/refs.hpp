// Where the branches and tags of a repository stand, and what a push changed of that. Values; any
// thread.
#pragma once

#include <filesystem>
#include <map>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "receive/git_call.hpp"

namespace atlasflow::receive {

using Refs = std::map<std::string, std::string>;  // "refs/heads/main" to 40 hex digits

// In the place of a commit that is not there.
inline constexpr std::string_view k_no_commit = "0000000000000000000000000000000000000000";

struct RefChange {
  std::string ref;
  std::string before;   // k_no_commit: it is new
  std::string after;    // k_no_commit: it was deleted
  bool forced = false;  // what was before is not in what is there now
};

struct RefsSeen {
  Refs refs;
  bool has_nameless = false;  // there are others, whose names are no UTF-8
};

// Those whose names are text. only: that one alone, if it is there; empty: all branches and tags.
// too_large: there are more of them than are read. Blocking.
[[nodiscard]] Result<RefsSeen> read_refs(const std::filesystem::path& repository,
                                         const std::string& only, const GitBounds& bounds,
                                         const std::stop_token& stop);
// By name; without `forced`.
[[nodiscard]] std::vector<RefChange> changes_between(const Refs& before, const Refs& after);
// Whether the branch was rewound or rewritten, as it was where the commit before has gone already.
// Blocking.
[[nodiscard]] Result<bool> was_forced(const std::filesystem::path& repository,
                                      const RefChange& change, const GitBounds& bounds,
                                      const std::stop_token& stop);

}  // namespace atlasflow::receive
