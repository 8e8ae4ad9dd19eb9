#include "builder/stack/dockerfile_variables.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace atlasflow::builder {
namespace {

constexpr int k_depth_max = 32;                       // of ${A:-${B:-…}}
constexpr std::size_t k_word_bytes_max = 64U << 10U;  // ENV A=$A$A doubles with every line
constexpr std::size_t k_pattern_bytes_max = 512;      // of the pattern, and of what it looks at

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }
bool is_name_char(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }
bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// A shell's pattern: '*' any characters, '?' one, '\\' takes the next as it is. Which lengths of
// the text's front it matches, by walking all its positions at once: no pattern takes long.
std::vector<std::size_t> matched_lengths(std::string_view pattern, std::string_view text) {
  struct Piece {
    char kind;  // '*', '?' or 'c'
    char c;
  };
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    const bool escaped = pattern[i] == '\\' && i + 1 < pattern.size();
    if (escaped) ++i;
    const bool is_wild = !escaped && (pattern[i] == '*' || pattern[i] == '?');
    pieces.push_back({is_wild ? pattern[i] : 'c', pattern[i]});
  }
  std::vector<char> at(pieces.size() + 1, 0);
  const auto skip_stars = [&] {
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (at[i] != 0 && pieces[i].kind == '*') at[i + 1] = 1;
    }
  };
  at[0] = 1;
  skip_stars();
  std::vector<std::size_t> lengths;
  for (std::size_t n = 0;; ++n) {
    if (at.back() != 0) lengths.push_back(n);
    if (n == text.size()) return lengths;
    std::vector<char> next(at.size(), 0);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (at[i] == 0) continue;
      if (pieces[i].kind == '*') next[i] = 1;
      if (pieces[i].kind == '?' || (pieces[i].kind == 'c' && pieces[i].c == text[n])) {
        next[i + 1] = 1;
      }
    }
    at = std::move(next);
    skip_stars();
  }
}

std::string without_prefix(const std::string& value, std::string_view pattern, bool longest) {
  const auto lengths = matched_lengths(pattern, value);
  if (lengths.empty()) return value;
  return value.substr(longest ? lengths.back() : lengths.front());
}

std::string without_suffix(const std::string& value, std::string_view pattern, bool longest) {
  for (std::size_t i = 0; i <= value.size(); ++i) {
    const std::size_t start = longest ? i : value.size() - i;
    const auto lengths = matched_lengths(pattern, std::string_view(value).substr(start));
    if (!lengths.empty() && lengths.back() == value.size() - start) return value.substr(0, start);
  }
  return value;
}

std::string replaced(std::string_view value, std::string_view pattern, std::string_view with,
                     bool all) {
  std::string out;
  while (!value.empty()) {
    const auto lengths = matched_lengths(pattern, value);
    if (lengths.empty() || lengths.back() == 0) {
      out += value.front();
      value.remove_prefix(1);
      continue;
    }
    out += with;
    value.remove_prefix(lengths.back());
    if (!all) break;
  }
  return out.append(value);
}

class Expander {
 public:
  Expander(std::string_view text, const VariableLookup& variables, char escape)
      : rest_(text), variables_(variables), escape_(escape) {}

  Result<ExpandedWord> run() {
    ATLAS_TRY(auto text, until({}));
    return ExpandedWord{std::move(text), std::move(missing_)};
  }

 private:
  char take() {
    const char c = rest_.front();
    rest_.remove_prefix(1);
    return c;
  }

  // Up to a character of `stops`, which is not taken; with none, to the end.
  Result<std::string> until(std::string_view stops, bool keeps_escapes = false) {
    std::string out;
    while (!rest_.empty() && stops.find(rest_.front()) == std::string_view::npos) {
      if (out.size() > k_word_bytes_max) return too_long();
      const char c = rest_.front();
      if (c == '\'' || c == '"' || c == '$') {
        auto part = c == '$' ? variable() : quoted();
        if (!part) return part;
        out += *part;
        continue;
      }
      take();
      if (c == escape_ && !rest_.empty()) {
        if (keeps_escapes) out += '\\';
        out += take();
      } else if (c != escape_) {
        out += c;
      }
    }
    return out;
  }

  Result<std::string> quoted() {
    const char quote = take();
    std::string out;
    while (!rest_.empty()) {
      if (out.size() > k_word_bytes_max) return too_long();
      const char c = rest_.front();
      if (c == '$' && quote == '"') {
        auto part = variable();
        if (!part) return part;
        out += *part;
        continue;
      }
      take();
      if (c == quote) return out;
      const bool escapes =
          c == escape_ && quote == '"' && !rest_.empty() &&
          (rest_.front() == '"' || rest_.front() == '$' || rest_.front() == escape_);
      out += escapes ? take() : c;
    }
    return fail(ErrorCode::user_error, std::string("a ") + quote + " has no end");
  }

  std::string name() {
    std::size_t end = 0;
    if (!rest_.empty() && is_digit(rest_.front())) {
      while (end < rest_.size() && is_digit(rest_[end])) ++end;
    } else if (!rest_.empty() &&
               std::string_view("@*#?-$!").find(rest_.front()) != std::string_view::npos) {
      end = 1;
    } else {
      while (end < rest_.size() && is_name_char(rest_[end])) ++end;
    }
    std::string out(rest_.substr(0, end));
    rest_.remove_prefix(end);
    return out;
  }

  std::string value_of(const std::string& name) {
    const auto* value = variables_(name);
    if (value == nullptr) missing_.push_back(name);
    return value == nullptr ? std::string{} : *value;
  }

  Result<std::string> variable() {
    take();
    if (rest_.empty() || rest_.front() != '{') {
      const auto plain = name();
      return plain.empty() ? std::string("$") : value_of(plain);
    }
    take();
    const auto inner = name();
    if (inner.empty() || rest_.empty()) return wrong_form(inner);
    if (++depth_ > k_depth_max) return wrong_form(inner);
    auto out = with_rule(inner);
    --depth_;
    if (!out) return out;
    if (rest_.empty() || take() != '}') return wrong_form(inner);
    return out;
  }

  // What stands between the name and the brace.
  Result<std::string> with_rule(const std::string& of) {
    if (rest_.front() == '}') return value_of(of);
    char rule = take();
    const bool empty_counts_as_unset = rule == ':';
    if (empty_counts_as_unset) {
      if (rest_.empty()) return wrong_form(of);
      rule = take();
    }
    if (rule == '-' || rule == '+' || rule == '?')
      return with_default(of, rule, empty_counts_as_unset);
    if (empty_counts_as_unset || (rule != '#' && rule != '%' && rule != '/')) return wrong_form(of);
    const bool twice = !rest_.empty() && rest_.front() == rule;
    if (twice) take();
    auto pattern = until(rule == '/' ? "/}" : "}", true);
    if (!pattern) return pattern;
    const auto value = value_of(of);
    if (value.size() > k_pattern_bytes_max || pattern->size() > k_pattern_bytes_max) {
      return too_long();
    }
    if (rule == '#') return without_prefix(value, *pattern, twice);
    if (rule == '%') return without_suffix(value, *pattern, twice);
    if (rest_.empty() || rest_.front() != '/') return wrong_form(of);
    take();
    auto with = until("}");
    if (!with) return with;
    return replaced(value, *pattern, *with, twice);
  }

  Result<std::string> with_default(const std::string& of, char rule, bool empty_counts_as_unset) {
    // What is missing in the other word is missing only when that word is used.
    auto missing_before = missing_;
    auto other = until("}");
    if (!other) return other;
    const auto* value = variables_(of);
    const bool is_set = value != nullptr && !(empty_counts_as_unset && value->empty());
    if ((rule == '+') != is_set) missing_ = std::move(missing_before);
    if (rule == '+') return is_set ? *other : std::string{};
    if (is_set) return *value;
    if (rule == '-') return other;
    return fail(ErrorCode::user_error, of + ": " + (other->empty() ? "must have a value" : *other));
  }

  static tl::unexpected<Error> too_long() {
    return fail(ErrorCode::user_error, "a value with its variables put in is too long");
  }

  static tl::unexpected<Error> wrong_form(const std::string& name) {
    return fail(ErrorCode::user_error, "${" + name + "…} is not a form that Docker knows");
  }

  std::string_view rest_;
  const VariableLookup& variables_;
  char escape_;
  int depth_ = 0;
  std::vector<std::string> missing_;
};

}  // namespace

Result<ExpandedWord> expand_word(std::string_view word, const VariableLookup& variables,
                                 char escape) {
  return Expander(word, variables, escape).run();
}

std::vector<std::string> split_words(std::string_view text, char escape) {
  std::vector<std::string> words;
  std::string word;
  char quote = 0;
  int braces = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == 0 && braces == 0 && is_space(c)) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
      continue;
    }
    word += c;
    if (c == escape && quote != '\'' && i + 1 < text.size()) {
      word += text[++i];
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      ++braces;
    } else if (c == '}' && braces > 0) {
      --braces;
    }
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

}  // namespace atlasflow::builder
