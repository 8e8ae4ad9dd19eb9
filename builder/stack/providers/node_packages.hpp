// Which package manager a Node app is installed with, and its commands. Pure; any thread.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "builder/stack/providers/package_json.hpp"
#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

enum class PackageTool : std::uint8_t { npm, pnpm, yarn, yarn_berry, bun };

struct PackageInstaller {
  PackageTool tool = PackageTool::npm;
  std::string version;    // "9.1.0", "9" or "stable": what corepack takes; empty with npm
  std::string lock_file;  // empty: there is none
  std::string why;        // "pnpm-lock.yaml", "packageManager in package.json"
  std::vector<std::string> notices;

  [[nodiscard]] std::string name() const;  // "pnpm"
  // "pnpm-lock.yaml": what an installation writes where there is none.
  [[nodiscard]] std::string written_lock_file() const;
  // It is not npm, which every base has.
  [[nodiscard]] bool is_brought() const;
  // What brings it into a base that has corepack, or npm alone.
  [[nodiscard]] std::string bring_command(bool has_corepack) const;
  // with_dev: also what only the build needs.
  [[nodiscard]] std::string install_command(bool with_dev) const;
  // Takes out again what only the build needed; empty: this tool can't.
  [[nodiscard]] std::string prune_command() const;
  [[nodiscard]] std::string run_command(const std::string& script) const;
};

// packageManager decides, else the lock file; with several of them the one that comes first here:
// pnpm, Bun, Yarn, npm, as Railpack does.
[[nodiscard]] Result<PackageInstaller> find_package_installer(const SourceTree& tree,
                                                              const PackageJson& package);

}  // namespace atlasflow::builder
