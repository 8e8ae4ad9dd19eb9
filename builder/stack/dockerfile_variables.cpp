#include "builder/stack/dockerfile_variables.hpp"

#include <algorithm>
#include <cctype>
#include <utility>

namespace atlasflow::builder {
namespace {

constexpr int k_depth_max = 32;                       // of ${A:-${B:-…}}
constexpr std::size_t k_word_bytes_max = 64U << 10U;  // ENV A=$A$A doubles with every line
constexpr std::size_t k_document_bytes_max = 1U << 20U;
constexpr std::size_t k_pattern_bytes_max = 512;  // of the pattern, and of what it looks at

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
      : text_(text), rest_(text), variables_(variables), escape_(escape) {}

  // Of a here-document, in which quotes are characters like others.
  Result<ExpandedWord> run_document() {
    quotes_count_ = false;
    bytes_max_ = k_document_bytes_max;
    return run();
  }

  Result<ExpandedWord> run() {
    ATLAS_TRY(auto text, until({}));
    return ExpandedWord{std::move(text), std::move(missing_)};
  }

  // The form with which the text begins, "${NAME…}".
  struct Form {
    std::string value;
    std::size_t size = 0;   // of it, in the text
    bool is_plain = true;   // buildah reads all of it as Docker does
    std::size_t other = 0;  // where the other word of ${NAME-word} begins; 0: there is none
    bool is_unset = false;  // NAME, of that form
    std::vector<std::string> missing;
  };
  Result<Form> take_form() {
    ATLAS_TRY(auto value, variable());
    return Form{std::move(value), text_.size() - rest_.size(), is_plain_, other_,
                is_unset_,        std::move(missing_)};
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
      if (out.size() > bytes_max_) return too_long();
      const char c = rest_.front();
      if (c == '$' || (quotes_count_ && (c == '\'' || c == '"'))) {
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
    is_plain_ = is_plain_ && empty_counts_as_unset && (rule == '-' || rule == '+');
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
    if (depth_ == 1) {
      other_ = text_.size() - rest_.size();
      is_unset_ = variables_(of) == nullptr;
    }
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

  std::string_view text_;
  std::string_view rest_;
  const VariableLookup& variables_;
  char escape_;
  int depth_ = 0;
  std::vector<std::string> missing_;
  bool quotes_count_ = true;
  std::size_t bytes_max_ = k_word_bytes_max;
  bool is_plain_ = true;
  std::size_t other_ = 0;
  bool is_unset_ = false;
};

// So that a reader of words finds `value` as it is. A '\\' escapes for buildah whatever the file
// says.
std::string escaped(std::string_view value, bool is_quoted) {
  const std::string_view special = is_quoted ? "\"$\\" : "\"'$\\ \t}";
  std::string out;
  for (const char c : value) {
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  }
  return out;
}

}  // namespace

Result<ExpandedWord> expand_word(std::string_view word, const VariableLookup& variables,
                                 char escape) {
  return Expander(word, variables, escape).run();
}

Result<std::string> plain_variables(std::string_view text, const VariableLookup& variables,
                                    char escape) {
  std::string out;
  char quote = 0;
  for (std::size_t i = 0; i < text.size();) {
    const char c = text[i];
    if (c == escape && quote != '\'' && i + 1 < text.size()) {
      out.append(text.substr(i, 2));
      i += 2;
      continue;
    }
    if (out.size() > k_document_bytes_max) {
      return fail(ErrorCode::user_error, "it is larger than 1 MiB with its variables put in");
    }
    if (quote == '\'' || !text.substr(i).starts_with("${")) {
      if (quote == 0 && (c == '"' || c == '\'')) {
        quote = c;
      } else if (c == quote) {
        quote = 0;
      }
      out += c;
      ++i;
      continue;
    }
    ATLAS_TRY(const auto form, Expander(text.substr(i), variables, escape).take_form());
    const auto as_it_is = text.substr(i, form.size);
    i += form.size;
    if (form.is_plain) {
      out += as_it_is;
    } else if (form.other != 0 && (form.is_unset || !form.missing.empty())) {
      // The base image may have the variable, and would not set it to nothing.
      auto head = std::string(as_it_is.substr(0, form.other));
      if (head[head.size() - 2] != ':') head.insert(head.size() - 1, ":");
      ATLAS_TRY(const auto other,
                plain_variables(as_it_is.substr(form.other, form.size - form.other - 1), variables,
                                escape));
      out += head + other + "}";
    } else if (form.missing.empty() && has_line_break(form.value)) {
      return fail(ErrorCode::user_error,
                  std::string(as_it_is.substr(0, 60)) +
                      " has a line break in its value, which would begin another instruction");
    } else if (form.missing.empty()) {
      out += escaped(form.value, quote == '"');
    } else {
      return fail(ErrorCode::user_error,
                  std::string(as_it_is.substr(0, 60)) + " needs the value of " +
                      form.missing.front() +
                      ", which is not known before the build: set it by ARG or ENV in this "
                      "Dockerfile, or do this in a RUN step");
    }
  }
  return out;
}

Result<ExpandedWord> expand_document(std::string_view text, const VariableLookup& variables) {
  return Expander(text, variables, '\\').run_document();
}

bool has_line_break(std::string_view value) {
  return value.find_first_of("\r\n") != std::string_view::npos;
}

std::string quoted_value(std::string_view value) { return '"' + escaped(value, true) + '"'; }

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
