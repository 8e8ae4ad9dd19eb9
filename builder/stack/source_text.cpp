#include "builder/stack/source_text.hpp"

#include <algorithm>
#include <cctype>
#include <regex>

#include <toml++/toml.h>

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
  const auto text = tree.read(name, k_source_text_bytes_max);
  return text && *text ? **text : std::string();
}

Result<json> parse_toml(const std::string& text, const std::string& shown) {
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

json object_at(const json& object, const std::vector<std::string>& keys) {
  const json* at = &object;
  for (const auto& key : keys) {
    if (!at->is_object() || !at->contains(key)) return {};
    at = &(*at)[key];
  }
  return *at;
}

std::string text_at(const json& object, const std::vector<std::string>& keys) {
  const json found = object_at(object, keys);
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
