#include "builder/stack/version_files.hpp"

#include <algorithm>
#include <sstream>

#include "builder/stack/source_text.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

// Node's long-term releases by their names: "lts/iron".
std::string long_term_node(const std::string& name) {
  constexpr std::pair<std::string_view, const char*> k_names[] = {
      {"lts/hydrogen", "18"}, {"lts/iron", "20"}, {"lts/jod", "22"}, {"lts/krypton", "24"}};
  for (const auto& [known, version] : k_names) {
    if (name == known) return version;
  }
  return {};
}

bool is_one_of(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::string in_tool_versions(const std::string& text, const std::vector<std::string>& tools) {
  for (const auto& line : lines_of(text)) {
    std::istringstream words(line);
    std::string tool;
    std::string version;
    words >> tool >> version;
    if (is_one_of(tools, tool)) return version_in(version);
  }
  return {};
}

// tool = "22", tool = ["22", "20"] or tool = { version = "22" }.
std::string in_mise(const json& file, const std::vector<std::string>& tools) {
  for (const auto& tool : tools) {
    json value = object_at(file, {"tools", tool});
    if (value.is_array() && !value.empty()) value = value.front();
    if (value.is_object() && value.contains("version")) value = json(value["version"]);
    if (value.is_string()) return version_in(value.get<std::string>());
    if (value.is_number()) return value.dump();
  }
  return {};
}

}  // namespace

std::string version_in(const std::string& text) {
  if (auto known = long_term_node(text); !known.empty()) return known;
  const auto begin = text.find_first_of("0123456789");
  if (begin == std::string::npos || text.substr(0, begin).find('/') != std::string::npos) return {};
  auto end = text.find_first_not_of("0123456789.", begin);
  std::string version = text.substr(begin, end == std::string::npos ? end : end - begin);
  while (version.ends_with('.')) version.pop_back();
  // "21.0.2.0.101": a vendor's own counting stands behind the third.
  std::size_t dots = 0;
  for (std::size_t i = 0; i < version.size(); ++i) {
    if (version[i] == '.' && ++dots == 3) version.resize(i);
  }
  return parse_partial_version(version) ? version : std::string();
}

std::vector<VersionWish> wishes_of_files(const SourceTree& tree, const VersionFiles& names) {
  for (const auto& file : names.files) {
    if (!tree.has_file(file)) continue;
    for (const auto& line : lines_of(text_or_nothing(tree, file))) {
      if (line.empty() || line.front() == '#') continue;
      if (auto version = version_in(line); !version.empty()) return {{version, file}};
      break;
    }
  }
  if (tree.has_file(".tool-versions")) {
    const auto version = in_tool_versions(text_or_nothing(tree, ".tool-versions"), names.tools);
    if (!version.empty()) return {{version, ".tool-versions"}};
  }
  for (const char* file : {"mise.toml", ".mise.toml"}) {
    if (!tree.has_file(file)) continue;
    const auto parsed = parse_toml(text_or_nothing(tree, file), file);
    if (!parsed) continue;
    if (auto version = in_mise(*parsed, names.tools); !version.empty()) return {{version, file}};
  }
  return {};
}

}  // namespace atlasflow::builder
