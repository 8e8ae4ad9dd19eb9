#include "builder/source/watch_paths.hpp"

#include <algorithm>

#include "builder/source/repository_config.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_short_sha = 7;
constexpr std::size_t k_globs_told_max = 5;

std::vector<std::string_view> names_of(std::string_view path) {
  std::vector<std::string_view> names;
  while (true) {
    const auto end = path.find('/');
    names.push_back(path.substr(0, end));
    if (end == std::string_view::npos) return names;
    path.remove_prefix(end + 1);
  }
}

// A star takes as little as will do and one more whenever the rest does not fit. Only the last star
// ever has to be tried again, since what an earlier one could take more, the last can take as well:
// so the time is at most the product of both lengths, whatever the pattern.
template <typename Sequence, typename IsStar, typename Fits>
bool matches_with_stars(const Sequence& pattern, const Sequence& text, IsStar is_star, Fits fits) {
  std::size_t at = 0;
  std::size_t in = 0;
  std::optional<std::size_t> star;
  std::size_t taken = 0;  // by the last star: up to here
  while (in < text.size()) {
    if (at < pattern.size() && is_star(pattern[at])) {
      star = at++;
      taken = in;
    } else if (at < pattern.size() && fits(pattern[at], text[in])) {
      ++at;
      ++in;
    } else if (star) {
      at = *star + 1;
      in = ++taken;
    } else {
      return false;
    }
  }
  while (at < pattern.size() && is_star(pattern[at])) ++at;
  return at == pattern.size();
}

}  // namespace

bool name_matches(std::string_view pattern, std::string_view name) {
  return matches_with_stars(
      pattern, name, [](char c) { return c == '*'; },
      [](char wanted, char c) { return wanted == '?' || wanted == c; });
}

bool matches(std::string_view glob, std::string_view path) {
  return matches_with_stars(
      names_of(glob), names_of(path), [](std::string_view name) { return name == "**"; },
      name_matches);
}

std::optional<std::string> first_watched(const std::vector<std::string>& changed,
                                         const std::vector<std::string>& globs) {
  const auto found = std::find_if(changed.begin(), changed.end(), [&](const std::string& path) {
    return std::any_of(globs.begin(), globs.end(),
                       [&](const std::string& glob) { return matches(glob, path); });
  });
  return found == changed.end() ? std::nullopt : std::optional(*found);
}

WatchVerdict judge_changes(const std::optional<std::vector<std::string>>& changed,
                           const std::string& base_sha, const std::vector<std::string>& globs) {
  if (globs.empty() || base_sha.empty()) return {};
  const auto base = base_sha.substr(0, k_short_sha);
  if (!changed) {
    return {{},
            "what changed since " + base +
                ", which is live, is not known (was it force-pushed away?), so that watch_paths "
                "did not count"};
  }
  auto watched = globs;
  watched.emplace_back(k_repository_config);
  if (first_watched(*changed, watched)) return {};
  std::string names;
  for (std::size_t i = 0; i < std::min(globs.size(), k_globs_told_max); ++i) {
    names += (i == 0 ? "" : ", ") + globs[i];
  }
  if (globs.size() > k_globs_told_max) {
    names += " and " + std::to_string(globs.size() - k_globs_told_max) + " more";
  }
  return {"none of the watched paths changed since " + base + ": " + names, {}};
}

}  // namespace atlasflow::builder
