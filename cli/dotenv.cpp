#include "cli/dotenv.hpp"

#include <algorithm>
#include <optional>

#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

void set(Variables& variables, std::string name, std::string value) {
  const auto known = std::find_if(variables.begin(), variables.end(),
                                  [&](const auto& entry) { return entry.first == name; });
  if (known == variables.end()) {
    variables.emplace_back(std::move(name), std::move(value));
  } else {
    known->second = std::move(value);
  }
}

// What is wrong with it, without quoting it: a line of a secret that was not quoted looks like a
// name.
std::optional<std::string> problem_of_name(const std::string& name) {
  auto valid = validate_env_name(name);
  if (valid) return std::nullopt;
  if (is_own_env_name(name)) return valid.error().message;
  return "a name takes 1 to 1024 bytes without '=' and NUL";
}

// "MIIE…/w0==": the last line of a key in base64, which somebody pasted without quotes.
bool is_end_of_base64(const std::string& name, const std::string& value) {
  return value.find_first_not_of('=') == std::string::npos &&
         name.find_first_of("+/") != std::string::npos;
}

class DotenvParser {
 public:
  explicit DotenvParser(std::string_view text) : text_(text) {}

  Result<Dotenv> parse() {
    if (text_.starts_with("\xEF\xBB\xBF")) at_ = 3;
    if (text_.starts_with("\xFF\xFE") || text_.starts_with("\xFE\xFF")) {
      return refuse(1, "the file is UTF-16; save it as UTF-8");
    }
    if (const auto nul = text_.find('\0'); nul != std::string_view::npos) {
      const auto before = text_.substr(0, nul);
      const auto breaks = std::count(before.begin(), before.end(), '\n');
      return refuse(static_cast<std::size_t>(breaks) + 1,
                    "there is a NUL byte; save the file as UTF-8 text");
    }
    Dotenv found;
    while (at_ < text_.size()) {
      skip_blanks();
      if (at_end_of_line() || text_[at_] == '#') {
        skip_line();
        continue;
      }
      ATLAS_TRY(auto name, take_name());
      const auto line = line_;
      ATLAS_TRY(auto value, take_value());
      if (is_end_of_base64(name, value)) {
        return refuse(line, "write NAME=VALUE, and quote a value that spans lines");
      }
      if (!is_own_env_name(name)) {
        set(found.variables, std::move(name), std::move(value));
      } else if (std::find(found.left_out.begin(), found.left_out.end(), name) ==
                 found.left_out.end()) {
        found.left_out.push_back(std::move(name));
      }
      skip_line();
    }
    return found;
  }

 private:
  [[nodiscard]] bool at_end_of_line() const { return at_ >= text_.size() || text_[at_] == '\n'; }
  void skip_blanks() {
    while (at_ < text_.size() && is_blank(text_[at_])) ++at_;
  }
  void skip_line() {
    while (at_ < text_.size() && text_[at_] != '\n') ++at_;
    if (at_ < text_.size()) ++at_;
    ++line_;
  }
  [[nodiscard]] tl::unexpected<Error> refuse(std::size_t line, const std::string& why) const {
    return fail(ErrorCode::invalid_argument, "line " + std::to_string(line) + ": " + why);
  }

  Result<std::string> take_name() {
    const auto take_word = [this] {
      const auto start = at_;
      while (!at_end_of_line() && !is_blank(text_[at_]) && text_[at_] != '=') ++at_;
      return std::string(text_.substr(start, at_ - start));
    };
    auto name = take_word();
    skip_blanks();
    if (name == "export" && !at_end_of_line() && text_[at_] != '=') {
      name = take_word();
      skip_blanks();
    }
    if (at_end_of_line() || text_[at_] != '=') {
      return refuse(line_, "write NAME=VALUE, and quote a value that spans lines");
    }
    ++at_;
    if (is_own_env_name(name)) return name;  // left out, and said
    if (auto problem = problem_of_name(name)) return refuse(line_, *problem);
    return name;
  }

  Result<std::string> take_value() {
    skip_blanks();
    if (at_end_of_line()) return std::string{};
    if (text_[at_] == '\'' || text_[at_] == '"' || text_[at_] == '`')
      return take_quoted(text_[at_]);
    const auto start = at_;
    auto end = at_;
    for (; !at_end_of_line(); ++at_) {
      if (text_[at_] == '#' && (at_ == start || is_blank(text_[at_ - 1]))) break;
      if (!is_blank(text_[at_])) end = at_ + 1;
    }
    return std::string(text_.substr(start, end - start));
  }

  Result<std::string> take_quoted(char quote) {
    const auto first_line = line_;
    std::string value;
    for (++at_; at_ < text_.size(); ++at_) {
      const char c = text_[at_];
      if (c == quote) {
        ++at_;
        skip_blanks();
        if (at_end_of_line() || text_[at_] == '#') return value;
        return refuse(line_, "there is text after the closing quote; quote the whole value");
      }
      if (c == '\n') ++line_;
      if (c == '\r' && at_ + 1 < text_.size() && text_[at_ + 1] == '\n') continue;
      if (c == '\\' && quote == '"' && at_ + 1 < text_.size()) {
        value += escaped(text_[++at_]);
      } else {
        value += c;
      }
    }
    return refuse(first_line, "the quoted value has no closing quote");
  }

  // An escape that is none of ours stays as it was written.
  std::string escaped(char c) {
    switch (c) {
      case 'n':
        return "\n";
      case 'r':
        return "\r";
      case 't':
        return "\t";
      case '"':
      case '\\':
      case '$':
        return std::string(1, c);
      case '\n':
        ++line_;
        return "\\\n";
      default:
        return std::string{'\\', c};
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t line_ = 1;
};

}  // namespace

Result<Dotenv> parse_dotenv(std::string_view text) { return DotenvParser(text).parse(); }

Result<Variables> parse_assignments(const std::vector<std::string>& arguments) {
  Variables variables;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const auto equals = arguments[i].find('=');
    if (equals == std::string::npos) {
      return fail(ErrorCode::invalid_argument, "variable " + std::to_string(i + 1) +
                                                   " has no '='; write NAME=VALUE, or --stdin NAME"
                                                   " to read the value from standard input");
    }
    auto name = arguments[i].substr(0, equals);
    if (auto problem = problem_of_name(name)) {
      return fail(ErrorCode::invalid_argument,
                  "variable " + std::to_string(i + 1) + ": " + *problem);
    }
    set(variables, std::move(name), arguments[i].substr(equals + 1));
  }
  return variables;
}

}  // namespace atlasflow::cli
