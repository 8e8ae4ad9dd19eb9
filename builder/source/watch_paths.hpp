// Which changed paths a project wants to hear of. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::builder {

// A pattern is a path from the repository's root. '*' and '?' stand for characters of one name, and
// '**' in place of a folder's name for any number of folders, none included: src/** takes all that
// lies in src, at any depth. Every other character is itself: no [a-z], no {a,b}, no '!'. Unlike in
// a .gitignore, a pattern without a '/' does not match in folders below.
[[nodiscard]] bool matches(std::string_view glob, std::string_view path);

// The same of one name, which has no '/'. The time is at most the product of both lengths.
[[nodiscard]] bool name_matches(std::string_view glob, std::string_view name);

// The first of the changed paths that a glob matches.
[[nodiscard]] std::optional<std::string> first_watched(const std::vector<std::string>& changed,
                                                       const std::vector<std::string>& globs);

// What watch paths say about a deployment. Nothing in it: it goes on and nobody need be told.
struct WatchVerdict {
  std::string skip_reason;  // none of the watched paths changed
  std::string notice;       // it goes on, because what changed is not known
};

// `changed`: the paths that differ from the commit `base_sha`, which is live; nullopt: not known.
// The repository's atlasflow.toml is always watched. Without globs or a base there is nothing to
// compare.
[[nodiscard]] WatchVerdict judge_changes(const std::optional<std::vector<std::string>>& changed,
                                         const std::string& base_sha,
                                         const std::vector<std::string>& globs);

}  // namespace atlasflow::builder
