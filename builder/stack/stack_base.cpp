#include "builder/stack/stack_base.hpp"

#include <algorithm>
#include <optional>

#include "builder/stack/base_image.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

struct Candidate {
  std::string image;
  std::string version;  // empty: not known, and taken at its word
  bool is_present = false;
  bool is_own = false;
  std::string strict_lack = {};  // "Python >=3.12 (requires-python in pyproject.toml), and … 3.11"
  std::string lack = {};         // of what is only wished for

  [[nodiscard]] bool has_all() const { return strict_lack.empty() && lack.empty(); }
};

std::string filled_in(std::string_view pattern, std::string_view version) {
  std::string image(pattern);
  if (const auto at = image.find("{}"); at != std::string::npos) image.replace(at, 2, version);
  return image;
}

// "3.11-bookworm" -> "3.11"; empty when the tag begins with no number.
std::string version_of_tag(const std::string& image) {
  const auto last = image.substr(image.rfind('/') + 1);
  const auto colon = last.find(':');
  if (colon == std::string::npos) return {};
  std::string tag = last.substr(colon + 1);
  tag.resize(std::min(tag.find('-'), tag.size()));
  return parse_partial_version(tag) ? tag : std::string();
}

int parts_of(std::string_view version) {
  return 1 + static_cast<int>(std::count(version.begin(), version.end(), '.'));
}

std::string first_parts(const std::string& version, int parts) {
  std::size_t end = 0;
  for (int i = 0; i < parts; ++i) end = std::min(version.find('.', end + (i > 0)), version.size());
  return version.substr(0, end);
}

// "22.3.0" of "v22.3.0", "=22.3.0" or ">=22.3.0"; empty for a range that has more to say.
std::string plain_version(std::string_view range) {
  range.remove_prefix(std::min(range.find_first_not_of("v=> "), range.size()));
  const bool is_plain =
      !range.empty() && range.find_first_not_of("0123456789.") == std::string_view::npos;
  return is_plain && parse_partial_version(range) ? std::string(range) : std::string();
}

// In the order of preference. A version that is younger than this table comes last, by its number.
std::vector<Candidate> public_candidates(const StackBases& bases, const Language& language,
                                         const std::vector<VersionWish>& wishes) {
  std::vector<Candidate> candidates;
  const auto add = [&](std::string_view pattern, std::string version) {
    std::string image = filled_in(pattern, version);
    const bool is_present = bases.present.contains(full_image_name(image));
    candidates.push_back({std::move(image), std::move(version), is_present});
  };
  const bool has_versions = language.image.find("{}") != std::string_view::npos;
  for (const auto& wish : wishes) {
    const auto plain = plain_version(wish.range);
    const bool is_exact = wish.is_strict && parts_of(plain) == 3 && wish.range.front() != '>';
    if (is_exact && !language.exact_image.empty()) add(language.exact_image, plain);
  }
  for (const auto version : language.versions) add(language.image, std::string(version));
  for (const auto& wish : wishes) {
    const auto plain = plain_version(wish.range);
    const int parts = parts_of(language.versions.front());
    if (has_versions && !plain.empty() && parts_of(plain) >= parts) {
      add(language.image, first_parts(plain, parts));
    }
  }
  return candidates;
}

std::vector<Candidate> own_candidates(const StackBases& bases, const Language& language) {
  std::vector<Candidate> candidates;
  if (language.own.empty()) return candidates;
  const std::string prefix = std::string(k_own_bases) + std::string(language.own) + ":";
  for (const auto& image : bases.present) {
    if (image.starts_with(prefix)) candidates.push_back({image, version_of_tag(image), true, true});
  }
  return candidates;
}

void judge(std::vector<Candidate>& candidates, const Language& language,
           const std::vector<VersionWish>& wishes) {
  const std::string title(language.title);
  for (auto& candidate : candidates) {
    const auto version = parse_partial_version(candidate.version);
    if (!version) continue;
    for (const auto& wish : wishes) {
      if (may_satisfy(*version, wish.range).value_or(true)) continue;
      auto& lack = wish.is_strict ? candidate.strict_lack : candidate.lack;
      if (!lack.empty()) continue;
      lack = "the app asks for " + title + " " + wish.range.substr(0, 60) + " (" + wish.why +
             "), and " + candidate.image + " has " + title + " " + candidate.version;
    }
  }
}

ChosenBase chosen(const Candidate& candidate, const std::vector<VersionWish>& wishes) {
  ChosenBase base;
  base.image = candidate.image;
  base.version = candidate.version;
  base.is_own = candidate.is_own;
  base.why = wishes.empty() || !candidate.has_all() ? "the base image" : wishes.front().why;
  if (!candidate.lack.empty()) base.notices.push_back(candidate.lack);
  return base;
}

Error none_of(const std::vector<Candidate>& candidates, const Language& language) {
  const auto& nearest = candidates.front();
  std::string has;
  for (const auto& candidate : candidates) {
    if (has.find(" " + candidate.version) != std::string::npos) continue;
    has += (has.empty() ? " " : ", ") + candidate.version;
  }
  return {ErrorCode::user_error,
          nearest.strict_lack + (candidates.size() > 1 ? " (known:" + has + ")" : "") +
              ". Ask for one of these, add a Dockerfile that starts from an image that has it, or "
              "let the server's configuration name one as builder.bases." +
              std::string(language.key),
          {}};
}

}  // namespace

Result<ChosenBase> choose_base(const StackBases& bases, const Language& language,
                               const std::vector<VersionWish>& wishes) {
  std::vector<Candidate> known;
  std::vector<Candidate> own;
  if (const auto named = bases.configured.find(std::string(language.key));
      named != bases.configured.end()) {
    const auto slash = named->second.rfind('/') + 1;
    const auto pattern = language.image.substr(language.image.rfind('/') + 1);
    const auto repository = pattern.substr(0, pattern.find(':') + 1);
    const bool tells = std::string_view(named->second).substr(slash).starts_with(repository);
    known.push_back({named->second, tells ? version_of_tag(named->second) : "",
                     bases.present.contains(full_image_name(named->second))});
  } else {
    known = public_candidates(bases, language, wishes);
    own = own_candidates(bases, language);
  }
  judge(known, language, wishes);
  judge(own, language, wishes);
  const auto has_all = [](const Candidate& each) { return each.has_all(); };
  const auto has_needed = [](const Candidate& each) { return each.strict_lack.empty(); };
  const auto is_here = [](const Candidate& each) {
    return each.is_present && each.strict_lack.empty();
  };
  const auto best = std::find_if(known.begin(), known.end(), has_all);
  const auto own_best = std::find_if(own.begin(), own.end(), has_all);
  const auto own_usable = std::find_if(own.begin(), own.end(), has_needed);
  auto known_here = std::find_if(known.begin(), known.end(), [&](const Candidate& each) {
    return each.has_all() && each.is_present;
  });
  if (known_here == known.end()) known_here = std::find_if(known.begin(), known.end(), is_here);

  // Of an image without versions, ours is the one that has more in it.
  const bool has_versions = language.image.find("{}") != std::string_view::npos;
  if (own_best != own.end() && !has_versions) return chosen(*own_best, wishes);
  if (best != known.end() && best->is_present) return chosen(*best, wishes);
  if (own_best != own.end()) return chosen(*own_best, wishes);
  if (!bases.may_pull && known_here != known.end()) return chosen(*known_here, wishes);
  if (!bases.may_pull && own_usable != own.end()) return chosen(*own_usable, wishes);
  const auto usable =
      best != known.end() ? best : std::find_if(known.begin(), known.end(), has_needed);
  if (usable != known.end()) {
    auto base = chosen(*usable, wishes);
    base.has_fallback = own_usable != own.end() || known_here != known.end();
    if (!own.empty()) {
      const auto& lack =
          own.front().strict_lack.empty() ? own.front().lack : own.front().strict_lack;
      base.unmet = lack;
    }
    return base;
  }
  if (own_usable != own.end()) return chosen(*own_usable, wishes);
  return tl::unexpected(none_of(own.empty() ? known : own, language));
}

}  // namespace atlasflow::builder
