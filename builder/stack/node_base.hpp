// Which of the base images a Node app is built on. Pure; any thread.
#pragma once

#include <string>

#include "builder/stack/detect.hpp"
#include "builder/stack/node_packages.hpp"

namespace atlasflow::builder {

struct NodeBase {
  std::string image;
  std::string version;  // "20"; empty: its name does not tell
  std::string unmet;    // see Plan
  bool has_corepack = true;
};

// The first that is here and has what the app asks for (engines.node, the package manager), else
// the first that has it and would be pulled. user_error when none has: it names both versions.
[[nodiscard]] Result<NodeBase> choose_node_base(const StackBases& bases, const PackageJson& package,
                                                const PackageInstaller& manager);

// What .nvmrc, .node-version or .tool-versions ask for and the base does not have; empty: nothing.
[[nodiscard]] std::string version_notice(const SourceTree& tree, const NodeBase& base);

}  // namespace atlasflow::builder
