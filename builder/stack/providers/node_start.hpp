// What starts a Node app: its own script, a framework's server, a file; in one folder, or in one of
// the packages of a workspace. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "builder/stack/providers/package_json.hpp"
#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

struct NodeStart {
  std::vector<std::string> command;  // empty: the package manager's start
  std::string why;                   // "a start script"
  std::string folder = {};           // the workspace's package that is started; empty: the root
};

// scripts.start, unless it is a development server and there is a build script; what a known
// framework starts with; main, server.js and index.js, as far as they are there. nullopt: nothing
// would start it.
[[nodiscard]] std::optional<NodeStart> find_node_start(const SourceTree& tree,
                                                       const PackageJson& package);

// A dev dependency whose program or module is used by `command`, or by a script that it runs:
// "ts-node src/index.ts" needs it where the app runs. An empty command: the start script. Empty:
// none.
[[nodiscard]] std::string started_dev_dependency(const PackageJson& package,
                                                 const std::string& command);
// A port in the same other than $PORT's: "next start -p 8080". Empty: none.
[[nodiscard]] std::string started_port(const PackageJson& package, const std::string& command);

// The script that builds: heroku-postbuild wins over build, as Heroku has it. nullptr: none.
[[nodiscard]] const char* build_script_of(const PackageJson& package);
// Its build writes files for a web server and nothing that runs.
[[nodiscard]] bool builds_site(const SourceTree& tree, const PackageJson& package);

struct WorkspaceApp {
  std::string folder;
  PackageJson package;
  std::optional<NodeStart> start;  // nullopt: a site that its build script makes
};
// The packages of the workspaces (package.json's, pnpm-workspace.yaml's; apps/* with nx.json) that
// can be started, or, when there is none, those that are built to a site.
[[nodiscard]] Result<std::vector<WorkspaceApp>> find_workspace_apps(const SourceTree& tree,
                                                                    const PackageJson& root);
[[nodiscard]] std::vector<std::string> workspace_patterns(const SourceTree& tree,
                                                          const PackageJson& root);

}  // namespace atlasflow::builder
