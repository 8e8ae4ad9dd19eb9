#include "builder/stack/version_range.hpp"

#include <algorithm>
#include <cctype>
#include <limits>
#include <string>
#include <vector>

namespace atlasflow::builder {
namespace {

// A version as one number, so that a range is an interval.
constexpr std::uint64_t k_step = 1U << 20U;
using Ordinal = std::uint64_t;

struct Interval {
  Ordinal low = 0;
  Ordinal end = std::numeric_limits<Ordinal>::max();  // excluded
};

Ordinal ordinal(std::uint64_t major, std::uint64_t minor, std::uint64_t patch) {
  return (major * k_step + minor) * k_step + patch;
}

Ordinal first_of(const PartialVersion& v) { return ordinal(v.parts[0], v.parts[1], v.parts[2]); }

// The first version behind all that begin with the first `known` parts.
Ordinal end_of(const PartialVersion& v, int known) {
  if (known <= 0) return std::numeric_limits<Ordinal>::max();
  if (known == 1) return ordinal(v.parts[0] + 1ULL, 0, 0);
  if (known == 2) return ordinal(v.parts[0], v.parts[1] + 1ULL, 0);
  return first_of(v) + 1;
}

Interval all_of(const PartialVersion& v) {
  return v.known == 0 ? Interval{} : Interval{first_of(v), end_of(v, v.known)};
}

// "^1.2.3": what does not change the leftmost part that is not zero.
Ordinal caret_end(const PartialVersion& v) {
  int kept = 1;
  while (kept < std::min(v.known, 3) && v.parts[kept - 1] == 0) ++kept;
  return end_of(v, kept);
}

// nullopt: not a version. A part that is x, X or * ends it, as does its absence.
std::optional<PartialVersion> parse(std::string_view text) {
  while (!text.empty() && (text.front() == 'v' || text.front() == '=')) text.remove_prefix(1);
  PartialVersion v;
  if (text.empty()) return v;
  // A pre-release or build's name: not told apart here.
  text = text.substr(0, text.find_first_of("-+"));
  while (v.known < 3) {
    const auto end = std::min(text.find('.'), text.size());
    const auto part = text.substr(0, end);
    if (part == "x" || part == "X" || part == "*") return v;
    const bool digits =
        !part.empty() && part.size() <= 6 &&
        std::all_of(part.begin(), part.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
    if (!digits) return std::nullopt;
    for (const char c : part) {
      v.parts[v.known] = v.parts[v.known] * 10 + static_cast<std::uint32_t>(c - '0');
    }
    ++v.known;
    if (end == text.size()) return v;
    text.remove_prefix(end + 1);
  }
  return std::nullopt;
}

std::optional<Interval> comparator(std::string_view text) {
  const auto op_end = text.find_first_not_of("<>=~^!");
  const auto op = text.substr(0, std::min(op_end, text.size()));
  const auto version = parse(text.substr(op.size()));
  if (!version) return std::nullopt;
  const auto& v = *version;
  if (op.empty() || op == "=" || op == "==") return all_of(v);
  // One release that is left out does not say which others there are.
  if (op == "!=") return Interval{};
  if (op == ">=") return Interval{first_of(v), std::numeric_limits<Ordinal>::max()};
  if (op == "<") return Interval{0, first_of(v)};
  if (op == ">") return Interval{end_of(v, v.known), std::numeric_limits<Ordinal>::max()};
  if (op == "<=") return Interval{0, end_of(v, v.known)};
  if (v.known == 0) return Interval{};
  if (op == "~" || op == "~>") return Interval{first_of(v), end_of(v, std::min(v.known, 2))};
  if (op == "~=") return Interval{first_of(v), end_of(v, std::max(v.known - 1, 1))};
  if (op == "^") return Interval{first_of(v), caret_end(v)};
  return std::nullopt;
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> words;
  std::string pending;  // an operator that stands apart from its version: ">= 18"
  while (!text.empty()) {
    const auto start = std::min(text.find_first_not_of(" \t,"), text.size());
    text.remove_prefix(start);
    const auto end = std::min(text.find_first_of(" \t,"), text.size());
    std::string word = pending + std::string(text.substr(0, end));
    text.remove_prefix(end);
    pending.clear();
    if (!word.empty() && word.find_first_not_of("<>=~^!") == std::string::npos) {
      pending = word;
    } else if (!word.empty()) {
      words.push_back(std::move(word));
    }
  }
  return words;
}

// Comparators with spaces between them must all hold; "a - b" is from a to b.
std::optional<Interval> alternative(std::string_view text) {
  Interval result;
  const auto narrow = [&result](const Interval& by) {
    result.low = std::max(result.low, by.low);
    result.end = std::min(result.end, by.end);
  };
  const auto words = words_of(text);
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (i + 2 < words.size() && words[i + 1] == "-") {
      const auto from = parse(words[i]);
      const auto to = parse(words[i + 2]);
      if (!from || !to) return std::nullopt;
      narrow({first_of(*from), end_of(*to, to->known)});
      i += 2;
      continue;
    }
    const auto one = comparator(words[i]);
    if (!one) return std::nullopt;
    narrow(*one);
  }
  return result;
}

}  // namespace

std::optional<PartialVersion> parse_partial_version(std::string_view text) {
  auto version = parse(text);
  if (!version || version->known == 0) return std::nullopt;
  return version;
}

std::string npm_range_of(std::string_view range, RangeDialect dialect) {
  std::string text;
  for (std::size_t i = 0; i < range.size(); ++i) {
    const char c = range[i];
    const char next = i + 1 < range.size() ? range[i + 1] : ' ';
    if (dialect == RangeDialect::ruby && c == '~' && next == '>') {
      text += "~=";
      ++i;
    } else if (dialect == RangeDialect::composer && c == '~') {
      text += "~=";
    } else if (dialect == RangeDialect::composer && c == '|') {
      text += "||";
      if (next == '|') ++i;
    } else if (dialect == RangeDialect::composer && c == '@') {
      i = std::min(range.find_first_of(" ,|", i), range.size()) - 1;
    } else if (dialect == RangeDialect::pep440 && c == '=' && next == '=') {
      text += '=';
      ++i;
    } else {
      text += c;
    }
  }
  return text;
}

std::optional<bool> may_satisfy(const PartialVersion& version, std::string_view range) {
  const Interval own = all_of(version);
  while (true) {
    const auto end = std::min(range.find("||"), range.size());
    const auto wanted = alternative(range.substr(0, end));
    if (!wanted) return std::nullopt;
    if (std::max(wanted->low, own.low) < std::min(wanted->end, own.end)) return true;
    if (end == range.size()) return false;
    range.remove_prefix(end + 2);
  }
}

}  // namespace atlasflow::builder
