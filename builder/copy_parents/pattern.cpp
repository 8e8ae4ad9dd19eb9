#include "builder/copy_parents/pattern.hpp"

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

namespace atlasflow::copy_parents {
namespace {

constexpr char32_t k_no_letter = 0x110000;  // and all above: a byte that is none

// Go's regular expressions read letters of UTF-8; a byte that is none stands for itself.
std::u32string letters_of(std::string_view text) {
  std::u32string letters;
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<unsigned char>(text[i]);
    const std::size_t size = first < 0x80 ? 1 : first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    bool is_whole = first < 0x80 || (first >= 0xC2 && first < 0xF5 && i + size <= text.size());
    char32_t letter = size == 1 ? first : first & (0xFFU >> (size + 1));
    for (std::size_t k = 1; is_whole && k < size; ++k) {
      const auto next = static_cast<unsigned char>(text[i + k]);
      is_whole = (next & 0xC0U) == 0x80U;
      letter = (letter << 6U) | (next & 0x3FU);
    }
    letters += is_whole ? letter : k_no_letter + first;
    i += is_whole ? size : 1;
  }
  return letters;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view k_spaces = " \t\n\v\f\r";
  const auto start = text.find_first_not_of(k_spaces);
  if (start == std::string_view::npos) return {};
  return text.substr(start, text.find_last_not_of(k_spaces) - start + 1);
}

}  // namespace

bool has_wildcards(std::string_view text) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '*' || text[i] == '?' || text[i] == '[') {
      return true;
    }
  }
  return false;
}

std::string plain_path(std::string_view path) {
  auto plain = std::filesystem::path("/" + std::string(path)).lexically_normal().generic_string();
  while (plain.starts_with('/')) plain.erase(0, 1);
  while (plain.ends_with('/')) plain.pop_back();
  return plain == "." ? std::string() : plain;
}

Result<Pattern> Pattern::read(std::string_view text) { return read(text, true); }
Result<Pattern> Pattern::read_glob(std::string_view text) { return read(text, false); }

Result<Pattern> Pattern::read(std::string_view text, bool knows_folders) {
  const auto wrong = [&] {
    return fail(ErrorCode::user_error,
                "'" + std::string(text) +
                    "' is no pattern: [ needs its ] behind letters or ranges "
                    "like a-z, and \\ a character behind it");
  };
  Pattern pattern;
  const auto letters = letters_of(text);
  for (std::size_t i = 0; i < letters.size(); ++i) {
    const char32_t c = letters[i];
    if (c == '*' && knows_folders && i + 1 < letters.size() && letters[i + 1] == '*') {
      i += i + 2 < letters.size() && letters[i + 2] == '/' ? 2 : 1;
      pattern.parts_.push_back({i + 1 < letters.size() ? Kind::folders : Kind::rest});
    } else if (c == '*') {
      pattern.parts_.push_back({Kind::star});
    } else if (c == '?') {
      pattern.parts_.push_back({Kind::any_letter});
    } else if (c == '[') {
      Part part{Kind::letters};
      if (++i < letters.size() && letters[i] == '^') {
        part.is_negated = true;
        ++i;
      }
      // Of a class: its end is still to come.
      const auto take = [&]() -> std::optional<char32_t> {
        if (i >= letters.size() || letters[i] == '-' || letters[i] == ']') return std::nullopt;
        if (letters[i] == '\\') ++i;
        if (i + 1 >= letters.size() || letters[i] >= k_no_letter) return std::nullopt;
        return letters[i++];
      };
      while (part.ranges.empty() || letters[i] != ']') {
        const auto low = take();
        if (!low) return wrong();
        auto high = low;
        if (letters[i] == '-') {
          ++i;
          high = take();
        }
        if (!high) return wrong();
        part.ranges.emplace_back(*low, *high);
      }
      pattern.parts_.push_back(std::move(part));
    } else {
      if (c == '\\' && ++i == letters.size()) return wrong();
      pattern.parts_.push_back({Kind::letter, letters[i]});
    }
  }
  const auto first_wildcard = text.find_first_of("*?[\\");
  const auto known = text.substr(0, first_wildcard);
  pattern.first_folders_ =
      first_wildcard == std::string_view::npos
          ? std::string(known)
          : std::string(known.substr(0, known.rfind('/') == known.npos ? 0 : known.rfind('/')));
  return pattern;
}

bool Pattern::takes(const Part& part, char32_t letter) {
  if (part.kind == Kind::letter) return letter == part.letter;
  if (part.kind == Kind::any_letter) return letter != '/';
  const bool is_in = std::any_of(
      part.ranges.begin(), part.ranges.end(),
      [letter](const auto& range) { return range.first <= letter && letter <= range.second; });
  return is_in != part.is_negated;
}

// All places that the parts so far can have led to, one part after the other: linear in the path
// for each of them, whatever the pattern.
bool Pattern::matches(std::string_view path) const { return matches(letters_of(path)); }

bool Pattern::matches(const std::u32string& letters) const {
  std::vector<bool> here(letters.size() + 1);
  std::vector<bool> next(letters.size() + 1);
  here[0] = true;
  for (const auto& part : parts_) {
    next.assign(letters.size() + 1, false);
    if (part.kind == Kind::letter || part.kind == Kind::any_letter || part.kind == Kind::letters) {
      for (std::size_t i = 0; i < letters.size(); ++i) {
        if (here[i] && takes(part, letters[i])) next[i + 1] = true;
      }
    } else {
      // A star ends at a slash, "**/" goes on behind one, and "**" at the end takes all.
      bool is_open = false;
      for (std::size_t i = 0; i <= letters.size(); ++i) {
        const bool is_behind_slash = i > 0 && letters[i - 1] == '/';
        if (part.kind == Kind::star && is_behind_slash) is_open = false;
        if (part.kind == Kind::folders) {
          next[i] = here[i] || (is_open && is_behind_slash);
          is_open = is_open || here[i];
        } else {
          is_open = is_open || here[i];
          next[i] = is_open;
        }
      }
    }
    // A long pattern against a short path is given up where nothing can match any more.
    if (std::find(next.begin(), next.end(), true) == next.end()) return false;
    here.swap(next);
  }
  return here.back();
}

bool Pattern::may_match_below(std::string_view folder) const {
  if (first_folders_.empty() || folder == first_folders_) return true;
  const auto name = std::string(folder) + "/";
  return first_folders_.starts_with(name) || name.starts_with(first_folders_ + "/");
}

Result<void> PatternList::add(std::string_view line) {
  line = trimmed(line);
  Line read;
  read.takes_back = line.starts_with('!');
  if (read.takes_back) line.remove_prefix(1);
  if (line.empty()) return {};
  auto path = std::filesystem::path(line).lexically_normal().generic_string();
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  ATLAS_TRY(read.pattern, Pattern::read(path));
  lines_.push_back(std::move(read));
  return {};
}

bool PatternList::matches(std::string_view path, const Matches& above, Matches& own) const {
  bool is_matched = false;
  const auto letters = letters_of(path);
  own.assign(lines_.size(), false);
  for (std::size_t i = 0; i < lines_.size(); ++i) {
    bool is_match = !above.empty() && above[i];
    if (!is_match) {
      if (lines_[i].takes_back != is_matched) continue;
      is_match = lines_[i].pattern.matches(letters);
    }
    own[i] = is_match;
    if (is_match) is_matched = !lines_[i].takes_back;
  }
  return is_matched;
}

}  // namespace atlasflow::copy_parents
