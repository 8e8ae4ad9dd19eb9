#include "builder/stack/source_text.hpp"

#include <algorithm>
#include <cctype>
#include <regex>

#include <toml++/toml.h>

#include "builder/source/toml_depth.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

// std::regex recurses by the character, so it is not given more than what its stack holds.
constexpr std::size_t k_matched_bytes_max = 64U << 10U;
constexpr std::size_t k_matched_line_bytes_max = 2000;

json json_of(const toml::node& node) {
  if (const auto* table = node.as_table()) {
    json object = json::object();
    for (const auto& [key, value] : *table) object[std::string(key.str())] = json_of(value);
    return object;
  }
  if (const auto* array = node.as_array()) {
    json list = json::array();
    for (const auto& entry : *array) list.push_back(json_of(entry));
    return list;
  }
  if (const auto* text = node.as_string()) return text->get();
  if (const auto* number = node.as_integer()) return number->get();
  if (const auto* number = node.as_floating_point()) return number->get();
  if (const auto* flag = node.as_boolean()) return flag->get();
  return {};
}

// "parse error at line 3, column 5: syntax error while parsing object key - unexpected '}'; …" is
// what the library says: the place by the byte, and what follows the dash.
// A number that no double holds ("1e999") is an error of another type, without a place.
Error not_json(const std::string& text, const std::string& shown, const json::exception& error) {
  std::string where;
  if (const auto* placed = dynamic_cast<const json::parse_error*>(&error)) {
    const auto end =
        text.begin() + static_cast<std::ptrdiff_t>(std::min(placed->byte, text.size()));
    where = ", line " + std::to_string(1 + std::count(text.begin(), end, '\n'));
  }
  std::string why = error.what();
  for (const std::string_view mark : {" - ", "] "}) {
    const auto at = why.find(mark);
    if (at == std::string::npos) continue;
    why.erase(0, at + mark.size());
    break;
  }
  if (why.size() > 200) why.resize(200);
  return {ErrorCode::user_error, shown + where + " is not JSON: " + why, {}};
}

void append_utf8(std::string& text, char32_t c) {
  const auto byte = [&text](char32_t bits) { text += static_cast<char>(bits); };
  if (c < 0x80) return byte(c);
  if (c < 0x800) {
    byte(0xC0U | (c >> 6U));
  } else if (c < 0x10000) {
    byte(0xE0U | (c >> 12U));
    byte(0x80U | ((c >> 6U) & 0x3FU));
  } else {
    byte(0xF0U | (c >> 18U));
    byte(0x80U | ((c >> 12U) & 0x3FU));
    byte(0x80U | ((c >> 6U) & 0x3FU));
  }
  byte(0x80U | (c & 0x3FU));
}

std::string utf8_of_utf16(std::string_view bytes, bool is_little_endian) {
  constexpr char32_t k_no_character = 0xFFFD;
  const auto unit_at = [&](std::size_t at) {
    const auto first = static_cast<unsigned char>(bytes[at]);
    const auto second = static_cast<unsigned char>(bytes[at + 1]);
    return static_cast<char32_t>(is_little_endian ? first | (second << 8U)
                                                  : second | (first << 8U));
  };
  std::string text;
  for (std::size_t at = 0; at + 1 < bytes.size(); at += 2) {
    char32_t c = unit_at(at);
    const bool is_high = c >= 0xD800 && c < 0xDC00;
    const char32_t low = is_high && at + 3 < bytes.size() ? unit_at(at + 2) : 0;
    if (low >= 0xDC00 && low < 0xE000) {
      c = 0x10000U + ((c - 0xD800U) << 10U) + (low - 0xDC00U);
      at += 2;
    } else if (c >= 0xD800 && c < 0xE000) {
      c = k_no_character;
    }
    append_utf8(text, c);
  }
  return text;
}

// Windows' editors begin UTF-8 with a byte order mark, and its PowerShell writes UTF-16
// ("pip freeze > requirements.txt"), which the tools of the languages read as well.
std::string without_byte_order_mark(std::string text) {
  if (text.starts_with("\xEF\xBB\xBF")) return text.substr(3);
  const std::string_view rest =
      std::string_view(text).substr(std::min<std::size_t>(text.size(), 2));
  if (text.starts_with("\xFF\xFE")) return utf8_of_utf16(rest, true);
  if (text.starts_with("\xFE\xFF")) return utf8_of_utf16(rest, false);
  return text;
}

std::vector<std::string> matches_in(const std::string& text, const std::string& pattern,
                                    std::size_t matches_max) {
  std::vector<std::string> matches;
  const std::regex expression(pattern);
  for (const auto& line : lines_of(std::string_view(text).substr(0, k_matched_bytes_max))) {
    std::smatch match;
    if (line.size() > k_matched_line_bytes_max || !std::regex_search(line, match, expression)) {
      continue;
    }
    const auto group =
        std::find_if(match.begin() + 1, match.end(), [](const auto& each) { return each.matched; });
    if (group != match.end()) matches.push_back(group->str());
    if (matches.size() >= matches_max) break;
  }
  return matches;
}

}  // namespace

Result<std::optional<std::string>> read_text(const SourceTree& tree, const std::string& name) {
  auto text = tree.read(name, k_source_text_bytes_max);
  if (!text && text.error().code == ErrorCode::too_large) {
    return fail(ErrorCode::user_error, text.error().message);
  }
  if (!text || !*text) return text;
  **text = without_byte_order_mark(std::move(**text));
  std::size_t line = 1;
  for (std::size_t at = 0; at < (*text)->size(); ++line) {
    if (std::string_view(**text).substr(at).starts_with("<<<<<<< ")) {
      return fail(ErrorCode::user_error, name + ", line " + std::to_string(line) +
                                             ": a merge was left half done (<<<<<<<); resolve it "
                                             "and push again");
    }
    const auto end = (*text)->find('\n', at);
    if (end == std::string::npos) break;
    at = end + 1;
  }
  return text;
}

std::string text_or_nothing(const SourceTree& tree, const std::string& name) {
  auto text = tree.read(name, k_source_text_bytes_max);
  return text && *text ? without_byte_order_mark(std::move(**text)) : std::string();
}

Result<json> parse_toml(const std::string& text, const std::string& shown) {
  ATLAS_TRYV(refuse_deep_toml(text, shown));
  try {
    return json_of(toml::parse(text));
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::user_error, shown + ", line " +
                                           std::to_string(error.source().begin.line) +
                                           " is not TOML: " + std::string(error.description()));
  }
}

Result<json> read_toml(const SourceTree& tree, const std::string& name) {
  ATLAS_TRY(const auto text, read_text(tree, name));
  if (!text) return json();
  return parse_toml(*text, name);
}

namespace {

// What comes behind white space and comments (// and /* */).
std::size_t past_space(std::string_view text, std::size_t at) {
  while (at < text.size()) {
    if (std::string_view(" \t\r\n").find(text[at]) != std::string_view::npos) {
      ++at;
    } else if (text.substr(at, 2) == "//") {
      at = std::min(text.find('\n', at), text.size());
    } else if (text.substr(at, 2) == "/*") {
      const auto end = text.find("*/", at + 2);
      at = end == std::string_view::npos ? text.size() : end + 2;
    } else {
      break;
    }
  }
  return at;
}

// JSON with comments may have a comma behind the last entry. Places stay, for what is told of them.
std::string without_trailing_commas(std::string text) {
  char before = '{';  // a comma behind it ends no entry
  for (std::size_t i = past_space(text, 0); i < text.size(); i = past_space(text, i + 1)) {
    const bool ends_entry = before != '{' && before != '[' && before != ',' && before != ':';
    before = text[i];
    if (text[i] == '"') {
      while (++i < text.size() && text[i] != '"') i += text[i] == '\\' ? 1 : 0;
    } else if (text[i] == ',' && ends_entry) {
      const auto next = past_space(text, i + 1);
      if (next < text.size() && (text[next] == '}' || text[next] == ']')) text[i] = ' ';
    }
  }
  return text;
}

}  // namespace

Result<json> parse_json(const std::string& written, const std::string& shown, bool comments) {
  const auto text = comments ? without_trailing_commas(written) : written;
  bool is_too_deep = false;
  // What is left out here is read on by the parser, which takes no stack for it.
  const auto keep = [&is_too_deep](int level, json::parse_event_t, const json&) {
    is_too_deep = is_too_deep || level > k_json_levels_max;
    return !is_too_deep;
  };
  try {
    auto parsed = json::parse(text, keep, true, comments);
    if (!is_too_deep) return parsed;
  } catch (const json::exception& error) {
    if (!is_too_deep) return tl::unexpected(not_json(text, shown, error));
  }
  return fail(ErrorCode::user_error, shown + " has more than " + std::to_string(k_json_levels_max) +
                                         " levels of brackets: it may have no more");
}

const json& object_at(const json& object, const std::vector<std::string>& keys) {
  static const json nothing;
  const json* at = &object;
  for (const auto& key : keys) {
    if (!at->is_object() || !at->contains(key)) return nothing;
    at = &(*at)[key];
  }
  return *at;
}

std::string text_at(const json& object, const std::vector<std::string>& keys) {
  const json& found = object_at(object, keys);
  return found.is_string() ? found.get<std::string>() : std::string();
}

std::string trimmed(std::string_view text) {
  const auto begin = std::min(text.find_first_not_of(" \t\r\n"), text.size());
  text.remove_prefix(begin);
  const auto end = text.find_last_not_of(" \t\r\n");
  return std::string(text.substr(0, end == std::string_view::npos ? 0 : end + 1));
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const auto end = std::min(text.find('\n'), text.size());
    lines.push_back(trimmed(text.substr(0, end)));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

std::string first_match(const std::string& text, const std::string& pattern) {
  auto matches = matches_in(text, pattern, 1);
  return matches.empty() ? std::string() : std::move(matches.front());
}

std::vector<std::string> matches_by_line(const std::string& text, const std::string& pattern) {
  return matches_in(text, pattern, text.size());
}

bool is_plain_word(std::string_view word) {
  return !word.empty() && word.size() <= 200 && word.front() != '-' &&
         word.find("..") == std::string_view::npos &&
         std::all_of(word.begin(), word.end(), [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-' || c == '/' || c == '@';
         });
}

}  // namespace atlasflow::builder
