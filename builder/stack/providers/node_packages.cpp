#include "builder/stack/providers/node_packages.hpp"

#include <array>
#include <cstdlib>

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_lock_bytes_max = 64U << 20U;

struct LockFile {
  const char* name;
  PackageTool tool;
};
constexpr std::array k_lock_files = {LockFile{"pnpm-lock.yaml", PackageTool::pnpm},
                                     LockFile{"bun.lockb", PackageTool::bun},
                                     LockFile{"bun.lock", PackageTool::bun},
                                     LockFile{"yarn.lock", PackageTool::yarn},
                                     LockFile{"npm-shrinkwrap.json", PackageTool::npm},
                                     LockFile{"package-lock.json", PackageTool::npm}};

bool same_program(PackageTool left, PackageTool right) {
  const auto plain = [](PackageTool tool) {
    return tool == PackageTool::yarn_berry ? PackageTool::yarn : tool;
  };
  return plain(left) == plain(right);
}

// "pnpm@9.1.0"; nullopt for a name that is not known.
std::optional<PackageInstaller> named(const std::string& text) {
  const auto at = text.find('@');
  const std::string name = text.substr(0, at);
  PackageInstaller manager;
  manager.version = at == std::string::npos ? "" : text.substr(at + 1);
  manager.why = "packageManager in package.json";
  if (name == "npm") {
    manager.tool = PackageTool::npm;
  } else if (name == "pnpm") {
    manager.tool = PackageTool::pnpm;
  } else if (name == "yarn") {
    const bool is_classic = manager.version.starts_with("1.") || manager.version == "1";
    manager.tool = is_classic ? PackageTool::yarn : PackageTool::yarn_berry;
  } else if (name == "bun") {
    manager.tool = PackageTool::bun;
  } else {
    return std::nullopt;
  }
  return manager;
}

bool is_version(const std::string& text) {
  return text.find_first_not_of(
             "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-^~") ==
         std::string::npos;
}

// What wrote the lock file: the major version that reads it as it is.
Result<void> take_lock_version(const SourceTree& tree, PackageInstaller& manager) {
  if (manager.tool == PackageTool::bun) manager.version = "1";
  if (manager.tool != PackageTool::pnpm && manager.tool != PackageTool::yarn) return {};
  ATLAS_TRY(const auto text, tree.read(manager.lock_file, k_lock_bytes_max));
  const std::string lock = text.value_or("").substr(0, 4096);
  const auto version_after = [&lock](std::string_view key) {
    const auto at = lock.find(key);
    const auto digits = at == std::string::npos ? at : lock.find_first_of("0123456789", at);
    return digits == std::string::npos ? 99 : std::atoi(lock.c_str() + digits);
  };
  if (manager.tool == PackageTool::pnpm) {
    const int format = version_after("lockfileVersion:");
    manager.version = format == 5 ? "7" : format == 6 ? "8" : "9";
  } else if (lock.find("__metadata:") != std::string::npos) {
    manager.tool = PackageTool::yarn_berry;
    // Yarn 4 would write the format of Yarn 3 anew, and an immutable install refuses that.
    manager.version = version_after("__metadata:") < 8 ? "3" : "stable";
  } else {
    manager.version = "1";
  }
  return {};
}

}  // namespace

std::string PackageInstaller::name() const {
  switch (tool) {
    case PackageTool::npm:
      return "npm";
    case PackageTool::pnpm:
      return "pnpm";
    case PackageTool::yarn:
    case PackageTool::yarn_berry:
      return "yarn";
    case PackageTool::bun:
      return "bun";
  }
  return "npm";
}

std::string PackageInstaller::written_lock_file() const {
  for (const auto& lock : k_lock_files) {
    const bool is_older = std::string_view(lock.name) == "bun.lockb" || lock.tool != tool;
    if (!is_older && std::string_view(lock.name) != "npm-shrinkwrap.json") return lock.name;
  }
  return tool == PackageTool::yarn_berry ? "yarn.lock" : "package-lock.json";
}

bool PackageInstaller::is_brought() const { return tool != PackageTool::npm; }

std::string PackageInstaller::bring_command(bool has_corepack) const {
  if (has_corepack && tool != PackageTool::bun) {
    return "corepack enable && corepack prepare " + name() + "@" + version +
           " --activate && chmod -R a+rX /opt/corepack";
  }
  // Yarn's later versions are published under another name, and know no "stable".
  const std::string package = tool == PackageTool::yarn_berry ? "@yarnpkg/cli-dist" : name();
  return "npm install --global --no-audit --no-fund " + package + "@" +
         (version == "stable" ? "latest" : version);
}

std::string PackageInstaller::install_command(bool with_dev) const {
  switch (tool) {
    case PackageTool::pnpm:
      return std::string("pnpm install ") +
             (lock_file.empty() ? "--no-frozen-lockfile" : "--frozen-lockfile") +
             (with_dev ? " --prod=false" : " --prod");
    case PackageTool::yarn:
      return std::string("yarn install --non-interactive") +
             (lock_file.empty() ? "" : " --frozen-lockfile") +
             (with_dev ? " --production=false" : " --production");
    case PackageTool::yarn_berry:
      return lock_file.empty() ? "yarn install --no-immutable" : "yarn install --immutable";
    case PackageTool::bun:
      return std::string("bun install") + (lock_file.empty() ? "" : " --frozen-lockfile") +
             (with_dev ? "" : " --production");
    case PackageTool::npm:
      break;
  }
  return std::string(lock_file.empty() ? "npm install" : "npm ci") +
         (with_dev ? " --include=dev" : " --omit=dev") + " --no-audit --no-fund";
}

std::string PackageInstaller::prune_command() const {
  switch (tool) {
    case PackageTool::npm:
      return "npm prune --omit=dev --ignore-scripts --no-audit --no-fund";
    case PackageTool::pnpm:
      // Without a terminal it asks, unless it takes itself for a build server's.
      return "CI=true pnpm prune --prod";
    case PackageTool::yarn:
      return install_command(false) + " --ignore-scripts --prefer-offline";
    case PackageTool::bun:
      // It installs what is missing and takes nothing out.
      return "rm -rf node_modules && " + install_command(false) + " --ignore-scripts";
    case PackageTool::yarn_berry:
      return {};
  }
  return {};
}

std::string PackageInstaller::run_command(const std::string& script) const {
  return (is_brought() ? name() : "npm") + " run " + script;
}

Result<PackageInstaller> find_package_installer(const SourceTree& tree,
                                                const PackageJson& package) {
  std::vector<LockFile> locks;
  for (const auto& lock : k_lock_files) {
    if (tree.has_file(lock.name)) locks.push_back(lock);
  }
  if (!package.package_manager.empty()) {
    auto manager = named(package.package_manager);
    if (!manager || !is_version(manager->version)) {
      return fail(ErrorCode::user_error, "package.json: packageManager is '" +
                                             package.package_manager.substr(0, 60) +
                                             "'; it takes npm, pnpm, yarn or bun, @ and a version");
    }
    for (const auto& lock : locks) {
      if (manager->lock_file.empty() && same_program(lock.tool, manager->tool)) {
        manager->lock_file = lock.name;
      }
    }
    if (manager->is_brought() && manager->version.empty()) manager->version = "latest";
    return *manager;
  }
  PackageInstaller manager;
  if (locks.empty() && tree.has_file("pnpm-workspace.yaml")) {
    // The others do not know its packages.
    return PackageInstaller{PackageTool::pnpm, "latest", {}, "pnpm-workspace.yaml", {}};
  }
  if (locks.empty()) {
    manager.why = "no lock file";
    return manager;
  }
  manager.tool = locks.front().tool;
  manager.lock_file = locks.front().name;
  manager.why = manager.lock_file;
  for (const auto& lock : locks) {
    if (same_program(lock.tool, manager.tool)) continue;
    manager.notices.push_back("there are lock files of several package managers; " +
                              manager.lock_file + " is used, " + lock.name + " is not");
    break;
  }
  ATLAS_TRYV(take_lock_version(tree, manager));
  return manager;
}

}  // namespace atlasflow::builder
