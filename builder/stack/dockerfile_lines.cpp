#include "builder/stack/dockerfile_lines.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <set>

#include <nlohmann/json.hpp>

namespace atlasflow::builder {
namespace {

constexpr std::string_view k_byte_order_mark = "\xEF\xBB\xBF";
constexpr std::array<std::string_view, 18> k_names = {
    "ADD",    "ARG",   "CMD",         "COPY",  "ENTRYPOINT", "ENV",
    "EXPOSE", "FROM",  "HEALTHCHECK", "LABEL", "MAINTAINER", "ONBUILD",
    "RUN",    "SHELL", "STOPSIGNAL",  "USER",  "VOLUME",     "WORKDIR"};
constexpr std::size_t k_shown_bytes_max = 40;

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::toupper(c)); });
  return out;
}

std::string_view without_leading(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

std::string_view trimmed(std::string_view text) {
  text = without_leading(text);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::string_view without_newline(std::string_view line) {
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return line;
}

// ---- the words in which a here-document is announced --------------------------------------------

// What the quote or brace at `at` ends with, or nothing when it has no end.
std::optional<std::size_t> end_of_group(std::string_view text, std::size_t at) {
  const char open = text[at];
  if (open == '\'') {
    const auto end = text.find('\'', at + 1);
    return end == std::string_view::npos ? std::nullopt : std::optional(end);
  }
  const char close = open == '{' ? '}' : '"';
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == close) {
      return i;
    } else if (text[i] == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      const auto inner = end_of_group(text, i + 1);
      if (!inner) return std::nullopt;
      i = *inner;
    }
  }
  return std::nullopt;
}

// The words of a shell's line with their quotes; nullopt when a quote has no end.
std::optional<std::vector<std::string>> quoted_words(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (is_space(c)) {
      if (!word.empty()) words.push_back(std::move(word));
      word.clear();
      continue;
    }
    std::size_t end = i;
    if (c == '\'' || c == '"') {
      const auto close = end_of_group(text, i);
      if (!close) return std::nullopt;
      end = *close;
    } else if (c == '$' && i + 1 < text.size() && text[i + 1] == '{') {
      const auto close = end_of_group(text, i + 1);
      if (!close) return std::nullopt;
      end = *close;
    } else if (c == '\\') {
      end = std::min(i + 1, text.size() - 1);
    }
    word.append(text.substr(i, end - i + 1));
    i = end;
  }
  if (!word.empty()) words.push_back(std::move(word));
  return words;
}

std::string without_quotes(std::string_view word) {
  std::string out;
  char quote = 0;
  for (std::size_t i = 0; i < word.size(); ++i) {
    const char c = word[i];
    if (quote == 0 && (c == '\'' || c == '"')) {
      quote = c;
    } else if (c == quote) {
      quote = 0;
    } else if (c == '\\' && quote != '\'' && i + 1 < word.size()) {
      out += word[++i];
    } else {
      out += c;
    }
  }
  return out;
}

// "<<EOF", "3<<-'EOF'"; nullopt for every other word, "<<<" among them.
std::optional<HereDocument> announced_by(std::string_view word) {
  while (!word.empty() && std::isdigit(static_cast<unsigned char>(word.front())) != 0) {
    word.remove_prefix(1);
  }
  if (!word.starts_with("<<")) return std::nullopt;
  word.remove_prefix(2);
  HereDocument document;
  document.strips = word.starts_with('-');
  if (document.strips) word.remove_prefix(1);
  if (word.empty() || word.find('<') != std::string_view::npos) return std::nullopt;
  document.name = without_quotes(word);
  document.expands = document.name == word;
  return document;
}

// ---- one instruction ----------------------------------------------------------------------------

// Takes the words that start with "--" from the front of `rest`; "--" alone ends them.
std::vector<InstructionFlag> take_flags(std::string_view& rest) {
  std::vector<InstructionFlag> flags;
  for (rest = without_leading(rest); rest.starts_with("--"); rest = without_leading(rest)) {
    std::string text;
    char quote = 0;
    std::size_t i = 0;
    for (; i < rest.size() && (quote != 0 || !is_space(rest[i])); ++i) {
      const char c = rest[i];
      if (quote != 0 && c == quote) {
        quote = 0;
      } else if (quote == 0 && (c == '\'' || c == '"')) {
        quote = c;
      } else if (c == '\\') {
        if (i + 1 < rest.size()) text += rest[++i];
      } else {
        text += c;
      }
    }
    InstructionFlag flag{text, std::string(rest.substr(0, i))};
    rest.remove_prefix(i);
    if (flag.text == "--") break;
    flags.push_back(std::move(flag));
  }
  return flags;
}

Result<Instruction> read_instruction(std::string_view line, int start) {
  line = trimmed(line);
  const auto end =
      static_cast<std::size_t>(std::find_if(line.begin(), line.end(), is_space) - line.begin());
  Instruction instruction;
  instruction.line = start;
  instruction.name = upper(line.substr(0, end));
  if (instruction.name.starts_with("<<<<<<<")) {
    return wrong_line(start, "a merge was left half done (<<<<<<<); resolve it and push again");
  }
  if (std::find(k_names.begin(), k_names.end(), instruction.name) == k_names.end()) {
    return wrong_line(start, "there is no instruction '" +
                                 std::string(line.substr(0, std::min(end, k_shown_bytes_max))) +
                                 "'");
  }
  auto rest = line.substr(end);
  instruction.flags = take_flags(rest);
  instruction.arguments = trimmed(rest);
  if (instruction.arguments.empty() && instruction.name != "CMD" &&
      instruction.name != "ENTRYPOINT") {
    return wrong_line(start, instruction.name + " has nothing behind it");
  }
  return instruction;
}

// ---- lines --------------------------------------------------------------------------------------

// # name = value, at the file's top.
struct Directive {
  std::string name;  // in upper case
  std::string value;
};

std::optional<Directive> directive_in(std::string_view line) {
  if (!line.starts_with('#')) return std::nullopt;
  line = without_leading(line.substr(1));
  const auto name_end = static_cast<std::size_t>(
      std::find_if_not(line.begin(), line.end(),
                       [](unsigned char c) { return std::isalnum(c) != 0; }) -
      line.begin());
  if (name_end == 0 || std::isdigit(static_cast<unsigned char>(line.front())) != 0) {
    return std::nullopt;
  }
  const auto rest = without_leading(line.substr(name_end));
  if (!rest.starts_with('=')) return std::nullopt;
  Directive found{upper(line.substr(0, name_end)), std::string(trimmed(rest.substr(1)))};
  if (found.value.empty()) return std::nullopt;
  return found;
}

class Reader {
 public:
  explicit Reader(std::string_view text) : rest_(text) {
    if (rest_.starts_with(k_byte_order_mark)) rest_.remove_prefix(k_byte_order_mark.size());
  }

  Result<DockerfileLines> read() {
    while (auto line = next()) {
      ATLAS_TRYV(take(without_leading(without_newline(*line))));
    }
    return std::move(out_);
  }

 private:
  std::optional<std::string_view> next() {
    if (rest_.empty()) return std::nullopt;
    const auto end = std::min(rest_.find('\n'), rest_.size() - 1);
    const auto line = rest_.substr(0, end + 1);
    rest_.remove_prefix(end + 1);
    ++number_;
    return line;
  }

  Result<void> take(std::string_view line) {
    if (!directives_ended_) {
      ATLAS_TRYV(take_directive(line));
    }
    if (line.starts_with('#')) return {};
    const int start = number_;
    bool continues = false;
    std::string joined(without_continuation(line, continues));
    if (!continues && joined.empty()) return {};
    while (continues) {
      const auto more = next();
      if (!more) break;
      const auto plain = without_newline(*more);
      const auto content = without_leading(plain);
      // Comments and empty lines between continued ones are none of the instruction.
      if (content.empty() || content.front() == '#') continue;
      joined += without_continuation(plain, continues);
    }
    if (trimmed(joined).empty()) return {};
    ATLAS_TRY(auto instruction, read_instruction(joined, start));
    if (auto read = read_documents(instruction); !read) return read;
    instruction.last_line = number_;
    out_.instructions.push_back(std::move(instruction));
    return {};
  }

  Result<void> take_directive(std::string_view line) {
    const auto directive = directive_in(line);
    const bool is_known = directive && (directive->name == "ESCAPE" ||
                                        directive->name == "SYNTAX" || directive->name == "CHECK");
    if (!is_known) {
      directives_ended_ = true;
      return {};
    }
    if (!seen_.insert(directive->name).second) {
      return wrong_line(number_, "the directive is there twice; keep one");
    }
    if (directive->name != "ESCAPE") return {};
    if (directive->value != "\\" && directive->value != "`") {
      return wrong_line(number_, "escape must be \\ or `, and is '" + directive->value + "'");
    }
    out_.escape = directive->value.front();
    return {};
  }

  // Without the escape character at the end, when it is there and not itself escaped.
  std::string_view without_continuation(std::string_view line, bool& continues) const {
    auto end = line;
    while (!end.empty() && is_blank(end.back())) end.remove_suffix(1);
    const std::size_t size = end.size();
    continues =
        size > 0 && end[size - 1] == out_.escape && (size == 1 || end[size - 2] != out_.escape);
    return continues ? end.substr(0, size - 1) : line;
  }

  Result<void> read_documents(Instruction& instruction);

  std::string_view rest_;
  int number_ = 0;
  bool directives_ended_ = false;
  std::set<std::string> seen_;
  DockerfileLines out_;
};

Result<void> Reader::read_documents(Instruction& instruction) {
  const bool may_have =
      instruction.name == "RUN" || instruction.name == "COPY" || instruction.name == "ADD";
  const bool is_trigger = instruction.name == "ONBUILD";
  if ((!may_have && !is_trigger) || instruction.arguments.find("<<") == std::string::npos ||
      is_json_list(instruction.arguments)) {
    return {};
  }
  const auto words = quoted_words(instruction.arguments);
  if (!words) {
    return wrong_line(instruction.line,
                      "a quote has no end, so that the here-document behind << "
                      "cannot be told");
  }
  for (const std::string& word : *words) {
    auto document = announced_by(word);
    if (!document) continue;
    if (is_trigger) {
      return wrong_line(instruction.line,
                        "ONBUILD with a here-document is not supported; write the commands "
                        "behind it in one line, with && between them");
    }
    bool ended = false;
    while (auto line = next()) {
      auto end = without_newline(*line);
      while (document->strips && end.starts_with('\t')) end.remove_prefix(1);
      if (end == document->name) {
        ended = true;
        break;
      }
      document->content += *line;
    }
    if (!ended) {
      return wrong_line(instruction.line, "the here-document <<" + document->name +
                                              " has no end: a line with nothing but " +
                                              document->name);
    }
    instruction.documents.push_back(std::move(*document));
  }
  return {};
}

}  // namespace

std::string_view InstructionFlag::name() const {
  return std::string_view(text).substr(0, text.find('='));
}

std::string_view InstructionFlag::value() const {
  const auto equals = text.find('=');
  return equals == std::string::npos ? std::string_view{}
                                     : std::string_view(text).substr(equals + 1);
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

std::optional<int> whole_number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

tl::unexpected<Error> wrong_line(int line, const std::string& why) {
  return fail(ErrorCode::user_error, "line " + std::to_string(line) + ": " + why);
}

Result<DockerfileLines> read_instructions(std::string_view text) {
  const auto refuse = [](const char* why) { return fail(ErrorCode::user_error, why); };
  if (text.starts_with("\xFF\xFE") || text.starts_with("\xFE\xFF")) {
    return refuse("it is UTF-16, as some editors of Windows write it; save it as UTF-8");
  }
  if (text.starts_with("version https://git-lfs.github.com/")) {
    return refuse("it is in Git LFS and came as a pointer, without content; keep it in git itself");
  }
  if (text.find('\0') != std::string_view::npos) return refuse("it has a NUL byte: it is no text");
  if (text.find('\n') == std::string_view::npos && text.find('\r') != std::string_view::npos) {
    return refuse("its lines end with CR alone; save it with LF line ends");
  }
  return Reader(text).read();
}

Result<Instruction> read_trigger(const Instruction& outer) {
  auto inner = read_instruction(outer.arguments, outer.line);
  if (!inner) return inner;
  inner->last_line = outer.last_line;
  if (inner->name == "ONBUILD" || inner->name == "FROM" || inner->name == "MAINTAINER") {
    return wrong_line(outer.line, "ONBUILD " + inner->name + " is not allowed");
  }
  return inner;
}

std::vector<std::string> read_json_list(std::string_view arguments) {
  const auto json = nlohmann::json::parse(arguments, nullptr, false);
  std::vector<std::string> list;
  if (!json.is_array()) return list;
  for (const auto& entry : json) {
    if (!entry.is_string()) return {};
    list.push_back(entry.get<std::string>());
  }
  return list;
}

bool is_json_list(std::string_view arguments) {
  if (!arguments.starts_with('[')) return false;
  const auto json = nlohmann::json::parse(arguments, nullptr, false);
  return json.is_array() &&
         std::all_of(json.begin(), json.end(), [](const auto& entry) { return entry.is_string(); });
}

}  // namespace atlasflow::builder
