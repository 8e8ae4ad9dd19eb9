// The patterns of Docker's ignore files and of COPY's --parents and --exclude, by the rules of
// moby/patternmatcher. Pure; any thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::copy_parents {

// One pattern over whole paths: * and ? stay within a folder, ** does not.
class Pattern {
 public:
  // user_error: what Go's filepath.Match calls a bad pattern, as a class without its end, with
  // nothing in it or with a "-" or "]" that nothing escapes, or a backslash with nothing behind it.
  [[nodiscard]] static Result<Pattern> read(std::string_view text);
  // Of Go's path.Match, in which ** is no more than *.
  [[nodiscard]] static Result<Pattern> read_glob(std::string_view text);

  [[nodiscard]] bool matches(std::string_view path) const;
  // A path whose letters were told from its bytes before, for many patterns.
  [[nodiscard]] bool matches(const std::u32string& letters) const;
  // Whether the folder, or something in it, may match: told by the folders before the first
  // wildcard.
  [[nodiscard]] bool may_match_below(std::string_view folder) const;

 private:
  enum class Kind : std::uint8_t { letter, any_letter, star, folders, rest, letters };
  struct Part {
    Kind kind = Kind::letter;
    char32_t letter = 0;
    std::vector<std::pair<char32_t, char32_t>> ranges = {};
    bool is_negated = false;
  };

  static Result<Pattern> read(std::string_view text, bool knows_folders);
  [[nodiscard]] static bool takes(const Part& part, char32_t letter);

  std::vector<Part> parts_;
  std::string first_folders_;  // without a slash at the end
};

// Has * ? or [ that no backslash escapes.
[[nodiscard]] bool has_wildcards(std::string_view text);
// From the root, without "." and "..", without slashes at the ends; "" for the root itself.
[[nodiscard]] std::string plain_path(std::string_view path);

// Patterns of which a later one wins, and "!" takes back. What matches a folder matches all in it.
class PatternList {
 public:
  // Of one path and each pattern; that of a folder is needed for what is in it.
  using Matches = std::vector<bool>;

  [[nodiscard]] Result<void> add(std::string_view line);
  // `above`: of the folder that it is in; empty for what is in the root. Returns its own in `own`.
  [[nodiscard]] bool matches(std::string_view path, const Matches& above, Matches& own) const;

 private:
  struct Line {
    Pattern pattern;
    bool takes_back = false;
  };
  std::vector<Line> lines_;
};

}  // namespace atlasflow::copy_parents
