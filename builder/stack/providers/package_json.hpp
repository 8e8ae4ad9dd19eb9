// What is read of a Node package's package.json. Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

struct PackageJson {
  std::map<std::string, std::string> scripts;  // those that are not empty
  std::string main;
  std::string node_range;       // engines.node; empty: none
  std::string volta_node;       // volta.node: the version that its author works with
  std::string package_manager;  // "pnpm@9.1.0", without the hash behind '+'
  std::vector<std::string> workspaces;
  std::map<std::string, std::string> dependencies;      // dependencies and optionalDependencies
  std::map<std::string, std::string> dev_dependencies;  //

  [[nodiscard]] const std::string* script(const std::string& name) const;
  [[nodiscard]] bool depends_on(const std::string& name) const;  // of either kind
  // Folders and archives of the repository that it depends on: "vendor/tool" for
  // "file:./vendor/tool".
  [[nodiscard]] std::vector<std::string> local_dependencies() const;
  // Scripts that an install runs: they need the sources.
  [[nodiscard]] std::optional<std::string> install_script() const;
};

// user_error names the line and the reason. `name` is for the message: "package.json".
[[nodiscard]] Result<PackageJson> parse_package_json(const std::string& text,
                                                     const std::string& name);

}  // namespace atlasflow::builder
