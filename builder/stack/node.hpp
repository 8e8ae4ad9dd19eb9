// Node apps: what starts them, and the plan that builds them. Pure; any thread.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "builder/stack/detect.hpp"
#include "builder/stack/package_json.hpp"

namespace atlasflow::builder {

struct NodeStart {
  std::vector<std::string> command;  // empty: the package manager's start
  std::string why;                   // "a start script"
};

// Procfile's web process; scripts.start, unless it is a development server and there is a build
// script; what a known framework starts with; main, server.js and index.js, as far as they are
// there. nullopt: nothing would start it.
[[nodiscard]] Result<std::optional<NodeStart>> find_node_start(const SourceTree& tree,
                                                               const PackageJson& package);

// The script that builds: heroku-postbuild wins over build, as Heroku has it. nullptr: none.
[[nodiscard]] const char* build_script_of(const PackageJson& package);

[[nodiscard]] Result<Plan> plan_node(const SourceTree& tree, const PackageJson& package,
                                     const NodeStart& start, const StackBases& bases,
                                     const StackChoice& choice,
                                     std::map<std::string, std::string>& secrets);

// A site of files that the build script makes: built as a Node app, served by the static server.
[[nodiscard]] Result<Plan> plan_built_site(const SourceTree& tree, const PackageJson& package,
                                           const StackBases& bases, const StackChoice& choice,
                                           std::map<std::string, std::string>& secrets);

}  // namespace atlasflow::builder
