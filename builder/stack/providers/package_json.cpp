#include "builder/stack/providers/package_json.hpp"

#include <algorithm>
#include <filesystem>

#include <nlohmann/json.hpp>

namespace atlasflow::builder {
namespace {

using nlohmann::json;

std::string text_at(const json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::map<std::string, std::string> texts_at(const json& object, const char* key) {
  std::map<std::string, std::string> texts;
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) return texts;
  for (const auto& [name, value] : found->items()) {
    if (value.is_string()) texts.emplace(name, value.get<std::string>());
  }
  return texts;
}

std::vector<std::string> list_of(const json& list) {
  std::vector<std::string> texts;
  for (const auto& entry : list) {
    if (entry.is_string()) texts.push_back(entry.get<std::string>());
  }
  return texts;
}

// "workspaces": [...], or with Yarn {"packages": [...]}.
std::vector<std::string> workspaces_of(const json& package) {
  const auto found = package.find("workspaces");
  if (found == package.end()) return {};
  if (found->is_array()) return list_of(*found);
  if (found->is_object() && found->contains("packages") && (*found)["packages"].is_array()) {
    return list_of((*found)["packages"]);
  }
  return {};
}

// "parse error at line 3, column 5: syntax error while parsing object key - unexpected '}'; …" is
// what the library says: the place by the byte, and what follows the dash.
Error not_json(const std::string& name, const std::string& text, const json::parse_error& error) {
  const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
  const auto line = 1 + std::count(text.begin(), end, '\n');
  std::string why = error.what();
  if (const auto dash = why.find(" - "); dash != std::string::npos) why.erase(0, dash + 3);
  if (why.size() > 200) why.resize(200);
  return {
      ErrorCode::user_error, name + ", line " + std::to_string(line) + " is not JSON: " + why, {}};
}

Error wrong_type(const std::string& name, const std::string& key, const std::string& rule) {
  return {ErrorCode::user_error, name + ": \"" + key + "\" must be " + rule, {}};
}

bool is_local(std::string_view spec) {
  for (const std::string_view prefix : {"file:", "link:", "portal:", "./", "../"}) {
    if (spec.starts_with(prefix)) return true;
  }
  return false;
}

}  // namespace

const std::string* PackageJson::script(const std::string& name) const {
  const auto found = scripts.find(name);
  return found == scripts.end() ? nullptr : &found->second;
}

bool PackageJson::depends_on(const std::string& name) const {
  return dependencies.contains(name) || dev_dependencies.contains(name);
}

std::vector<std::string> PackageJson::local_dependencies() const {
  std::vector<std::string> paths;
  for (const auto* list : {&dependencies, &dev_dependencies}) {
    for (const auto& [name, spec] : *list) {
      if (!is_local(spec)) continue;
      const auto colon = spec.find(':');
      const std::string path = colon == std::string::npos ? spec : spec.substr(colon + 1);
      paths.push_back(std::filesystem::path(path).lexically_normal().generic_string());
      while (paths.back().ends_with('/')) paths.back().pop_back();
    }
  }
  return paths;
}

std::optional<std::string> PackageJson::install_script() const {
  for (const char* name : {"preinstall", "install", "postinstall", "prepare"}) {
    if (scripts.contains(name)) return name;
  }
  return std::nullopt;
}

Result<PackageJson> parse_package_json(const std::string& text, const std::string& name) {
  json parsed;
  try {
    parsed = json::parse(text);
  } catch (const json::parse_error& error) {
    return tl::unexpected(not_json(name, text, error));
  }
  if (!parsed.is_object()) {
    return fail(ErrorCode::user_error, name + " must hold an object: { \"name\": … }");
  }
  for (const char* key : {"scripts", "dependencies", "devDependencies", "optionalDependencies"}) {
    const auto found = parsed.find(key);
    if (found != parsed.end() && !found->is_object()) {
      return tl::unexpected(wrong_type(name, key, "an object of names and texts"));
    }
  }
  PackageJson package;
  package.scripts = texts_at(parsed, "scripts");
  std::erase_if(package.scripts, [](const auto& script) { return script.second.empty(); });
  package.main = text_at(parsed, "main");
  if (const auto engines = parsed.find("engines");
      engines != parsed.end() && engines->is_object()) {
    package.node_range = text_at(*engines, "node");
  }
  if (const auto volta = parsed.find("volta"); volta != parsed.end() && volta->is_object()) {
    package.volta_node = text_at(*volta, "node");
  }
  package.package_manager = text_at(parsed, "packageManager");
  package.package_manager.resize(
      std::min(package.package_manager.find('+'), package.package_manager.size()));
  package.workspaces = workspaces_of(parsed);
  package.dependencies = texts_at(parsed, "dependencies");
  package.dependencies.merge(texts_at(parsed, "optionalDependencies"));
  package.dev_dependencies = texts_at(parsed, "devDependencies");
  return package;
}

}  // namespace atlasflow::builder
