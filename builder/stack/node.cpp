#include "builder/stack/node.hpp"

#include <algorithm>
#include <array>

#include "builder/stack/node_base.hpp"
#include "builder/stack/node_packages.hpp"
#include "builder/stack/static_site.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_small_bytes_max = 1U << 20U;
constexpr const char* k_npmrc_secret = "npmrc";

struct Framework {
  const char* package;
  std::vector<std::string> start;
};
const std::vector<Framework>& frameworks() {
  static const std::vector<Framework> known = {
      {"next", {"node_modules/.bin/next", "start"}},
      {"nuxt", {"node", ".output/server/index.mjs"}},
      {"@sveltejs/adapter-node", {"node", "build"}},
  };
  return known;
}

// These show a project to whoever works on it; what they show to everybody else is what the build
// script makes.
bool is_development_server(const std::string& script) {
  constexpr std::array<std::string_view, 12> k_commands = {"react-scripts start",
                                                           "ng serve",
                                                           "vue-cli-service serve",
                                                           "webpack serve",
                                                           "webpack-dev-server",
                                                           "astro dev",
                                                           "vite dev",
                                                           "vite serve",
                                                           "parcel index.html",
                                                           "gatsby dev",
                                                           "eleventy --serve",
                                                           "vite --"};
  return script == "vite" || script == "ng serve" ||
         std::any_of(k_commands.begin(), k_commands.end(),
                     [&](std::string_view command) { return script.starts_with(command); });
}

Result<std::optional<std::string>> web_process(const SourceTree& tree) {
  ATLAS_TRY(auto text, tree.read("Procfile", k_small_bytes_max));
  std::string rest = text.value_or("");
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    std::string line = rest.substr(0, end);
    rest.erase(0, std::min(end + 1, rest.size()));
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ')) line.pop_back();
    if (!line.starts_with("web:")) continue;
    line.erase(0, std::min(line.find_first_not_of(' ', 4), line.size()));
    if (!line.empty()) return std::optional(line);
  }
  return std::optional<std::string>{};
}

// What package.json calls main is a file, or one with .js behind it, or a folder's index.js.
std::optional<std::string> main_file(const SourceTree& tree, const PackageJson& package) {
  if (package.main.empty()) return std::nullopt;
  std::string name = package.main;
  while (name.starts_with("./")) name.erase(0, 2);
  for (const auto& candidate : {name, name + ".js", name + "/index.js"}) {
    if (tree.has_file(candidate)) return candidate;
  }
  return std::nullopt;
}

// Lines of an .npmrc that say who asks: they are for the install, and for nobody who has the image.
bool has_credentials(const std::string& npmrc) {
  constexpr std::array<std::string_view, 7> k_words = {"_auth",     "_password", ":username", "${",
                                                       ":certfile", ":keyfile",  "key="};
  return std::any_of(k_words.begin(), k_words.end(),
                     [&](std::string_view word) { return npmrc.find(word) != std::string::npos; });
}

std::string where_is_it(const StackChoice& choice) { return " in " + place_of(choice); }

// Everything about an app's installation that its plans share.
class NodeBuild {
 public:
  NodeBuild(const SourceTree& tree, const PackageJson& package, const StackChoice& choice)
      : tree_(tree), package_(package), choice_(choice) {}

  Result<void> prepare(const StackBases& bases, std::map<std::string, std::string>& secrets) {
    ATLAS_TRY(auto manager, find_package_installer(tree_, package_));
    manager_ = std::move(manager);
    ATLAS_TRY(auto base, choose_node_base(bases, package_, manager_));
    base_ = std::move(base);
    for (const auto& path : package_.local_dependencies()) {
      if (path.starts_with("..")) {
        return fail(ErrorCode::user_error, "package.json depends on " + path +
                                               ", which is outside of " + place_of(choice_) +
                                               ": let root_folder be a folder that holds both");
      }
    }
    ATLAS_TRY(auto npmrc, tree_.read(".npmrc", k_small_bytes_max));
    has_npmrc_ = npmrc.has_value();
    npmrc_is_secret_ = has_npmrc_ && has_credentials(*npmrc);
    if (npmrc_is_secret_) secrets[k_npmrc_secret] = *npmrc;
    has_workspaces_ = !package_.workspaces.empty() || tree_.has_file("pnpm-workspace.yaml");
    installs_ = !package_.dependencies.empty() || has_workspaces_ ||
                !package_.dev_dependencies.empty() || package_.install_script().has_value();
    return {};
  }

  // What npm reads besides its manifest is in the tree: scripts, workspaces, folders.
  [[nodiscard]] bool needs_sources_to_install() const {
    return has_workspaces_ || package_.install_script() || !package_.local_dependencies().empty() ||
           manager_.tool != PackageTool::npm;
  }
  // The dependencies that are needed to run come in one step, and nothing else is done.
  [[nodiscard]] bool is_plain() const {
    return build_script_of(package_) == nullptr && !needs_sources_to_install() && !npmrc_is_secret_;
  }
  [[nodiscard]] bool has_to_install() const {
    return is_plain() ? !package_.dependencies.empty() : installs_;
  }

  [[nodiscard]] Plan start_plan(const std::string& provider, const std::string& reason) const {
    Plan plan;
    plan.provider = provider;
    plan.reason = reason;
    plan.base_images = {base_.image};
    plan.unmet = base_.unmet;
    plan.notices = manager_.notices;
    plan.versions.push_back({"node", base_.version, "the base image " + base_.image});
    if (has_to_install()) {
      plan.versions.push_back({manager_.name(), manager_.version, manager_.why});
      plan.reason += manager_.lock_file.empty() ? ", dependencies without a lock file"
                                                : ", dependencies from " + manager_.lock_file;
      if (manager_.lock_file.empty()) {
        plan.notices.push_back(
            "there is no lock file, so every build may install other versions; commit the "
            "package-lock.json that npm install writes");
      }
      plan.always_ignored = {"node_modules", "**/node_modules"};
    }
    if (build_script_of(package_) != nullptr) {
      plan.reason += std::string(", built by npm run ") + build_script_of(package_);
    }
    if (auto notice = version_notice(tree_, base_); !notice.empty()) plan.notices.push_back(notice);
    plan.ignored = {"node_modules", "**/node_modules", ".git", "npm-debug.log"};
    plan.needed_files = manifests();
    plan.needed_folders = package_.local_dependencies();
    for (std::string folder : package_.workspaces) {
      while (folder.starts_with("./")) folder.erase(0, 2);
      folder.resize(std::min(folder.find_first_of("*!"), folder.size()));
      while (folder.ends_with('/')) folder.pop_back();
      if (!folder.empty()) plan.needed_folders.push_back(folder);
    }
    if (npmrc_is_secret_) plan.always_ignored.push_back(".npmrc");
    return plan;
  }

  // What the build and the final stage start from, with the package manager.
  [[nodiscard]] std::string add_tools(Plan& plan) const {
    if (!manager_.is_brought() || !has_to_install()) return base_.image;
    PlanStage tools{"tools", base_.image, {}};
    if (base_.has_corepack) {
      tools.steps.push_back(
          EnvStep{{{"COREPACK_HOME", "/opt/corepack"}, {"COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"}}});
    }
    tools.steps.push_back(RunStep{manager_.bring_command(base_.has_corepack), {}});
    plan.stages.push_back(std::move(tools));
    return "tools";
  }

  // Installs with what only the build needs, builds, and takes that out again.
  [[nodiscard]] PlanStage build_stage(const std::string& base, bool prunes) const {
    PlanStage stage{"build", base, {}};
    EnvStep environment{{{"NPM_CONFIG_UPDATE_NOTIFIER", "false"}, {"HUSKY", "0"}}};
    if (manager_.tool == PackageTool::yarn_berry) {
      // What a Plug'n'Play app loads is the cache, which is then of the folder that is copied.
      environment.variables.emplace_back("YARN_ENABLE_GLOBAL_CACHE", "false");
    }
    stage.steps.push_back(std::move(environment));
    for (const auto& name : choice_.build_args) stage.steps.push_back(ArgStep{name});
    stage.steps.push_back(WorkFolderStep{"/app"});
    const bool all_first = needs_sources_to_install() || !has_to_install();
    stage.steps.push_back(all_first ? CopyStep{{"."}, ".", "", false}
                                    : CopyStep{manifests(), "./", "", false});
    if (has_to_install()) {
      // The tools of a build are dev dependencies, and NODE_ENV=production would leave them out.
      stage.steps.push_back(with_npmrc("NODE_ENV=development " + manager_.install_command(true)));
    }
    if (!all_first) stage.steps.push_back(CopyStep{{"."}, ".", "", false});
    if (const char* script = build_script_of(package_)) {
      stage.steps.push_back(RunStep{"NODE_ENV=production " + manager_.run_command(script), {}});
    }
    const auto prune = manager_.prune_command();
    if (prunes && has_to_install() && !prune.empty() && !package_.dev_dependencies.empty() &&
        (!has_workspaces_ || manager_.tool == PackageTool::npm)) {
      stage.steps.push_back(with_npmrc(prune));
    }
    return stage;
  }

  [[nodiscard]] PlanStage plain_stage() const {
    PlanStage stage = app_stage(base_.image);
    stage.steps.push_back(AppUserStep{});
    if (has_to_install()) {
      stage.steps.push_back(CopyStep{manifests(), "./", "", true});
      stage.steps.push_back(RunStep{manager_.install_command(false) + " && rm -rf /tmp/.npm", {}});
    }
    stage.steps.push_back(CopyStep{{"."}, ".", "", true});
    return stage;
  }

  // The folder is the app's to write: SQLite, uploads, a framework's cache.
  [[nodiscard]] PlanStage app_stage(const std::string& base) const {
    PlanStage stage{"", base, {}};
    stage.steps.push_back(EnvStep{{{"NODE_ENV", "production"},
                                   {"PORT", "3000"},
                                   {"NPM_CONFIG_UPDATE_NOTIFIER", "false"},
                                   {"HOME", "/tmp"}}});
    stage.steps.push_back(RunStep{"mkdir -p /app && chown 65534:65534 /app", {}});
    stage.steps.push_back(WorkFolderStep{"/app"});
    return stage;
  }

  [[nodiscard]] std::vector<std::string> start_command() const {
    return {manager_.is_brought() && has_to_install() ? manager_.name() : "npm", "start"};
  }

 private:
  [[nodiscard]] std::vector<std::string> manifests() const {
    std::vector<std::string> files = {"package.json"};
    if (!manager_.lock_file.empty()) files.push_back(manager_.lock_file);
    if (has_npmrc_ && !npmrc_is_secret_) files.emplace_back(".npmrc");
    for (const char* name : {".yarnrc.yml", ".yarnrc", "pnpm-workspace.yaml", ".pnpmfile.cjs"}) {
      if (manager_.is_brought() && tree_.has_file(name)) files.emplace_back(name);
    }
    return files;
  }

  [[nodiscard]] RunStep with_npmrc(const std::string& command) const {
    RunStep run{command, {}};
    if (npmrc_is_secret_) {
      run.mounts.push_back(std::string("type=secret,id=") + k_npmrc_secret +
                           ",target=/app/.npmrc,mode=0444");
    }
    return run;
  }

  const SourceTree& tree_;
  const PackageJson& package_;
  const StackChoice& choice_;
  PackageInstaller manager_;
  NodeBase base_;
  bool has_npmrc_ = false;
  bool npmrc_is_secret_ = false;
  bool has_workspaces_ = false;
  bool installs_ = false;
};

// "node server.js --flag" starts a file that must be in the context.
void need_started_file(const SourceTree& tree, const std::string& script, Plan& plan) {
  std::size_t at = 0;
  while (at < script.size()) {
    const auto end = std::min(script.find(' ', at), script.size());
    std::string word = script.substr(at, end - at);
    at = end + 1;
    if (word.starts_with("./")) word.erase(0, 2);
    if (word.find('.') != std::string::npos && tree.has_file(word)) {
      plan.needed_files.push_back(word);
    }
  }
}

}  // namespace

const char* build_script_of(const PackageJson& package) {
  for (const char* name : {"heroku-postbuild", "build"}) {
    if (package.script(name) != nullptr) return name;
  }
  return nullptr;
}

Result<std::optional<NodeStart>> find_node_start(const SourceTree& tree,
                                                 const PackageJson& package) {
  ATLAS_TRY(const auto web, web_process(tree));
  if (web) return std::optional(NodeStart{{"sh", "-c", *web}, "the web process of Procfile"});
  const bool builds = build_script_of(package) != nullptr;
  const auto* script = package.script("start");
  if (script != nullptr && !(builds && is_development_server(*script))) {
    return std::optional(NodeStart{{}, "a start script"});
  }
  for (const auto& framework : frameworks()) {
    if (builds && script == nullptr && package.depends_on(framework.package)) {
      return std::optional(NodeStart{framework.start, framework.package});
    }
  }
  if (script != nullptr) return std::optional<NodeStart>{};
  if (tree.has_file("server.js"))
    return std::optional(NodeStart{{"node", "server.js"}, "server.js"});
  // Beside a page, main and index.js are the page's.
  if (tree.has_file("index.html")) return std::optional<NodeStart>{};
  if (const auto file = main_file(tree, package)) {
    return std::optional(NodeStart{{"node", *file}, "main"});
  }
  for (const char* name : {"index.js", "index.mjs", "server.mjs"}) {
    if (tree.has_file(name)) return std::optional(NodeStart{{"node", name}, name});
  }
  return std::optional<NodeStart>{};
}

Result<Plan> plan_node(const SourceTree& tree, const PackageJson& package, const NodeStart& start,
                       const StackBases& bases, const StackChoice& choice,
                       std::map<std::string, std::string>& secrets) {
  NodeBuild build(tree, package, choice);
  ATLAS_TRYV(build.prepare(bases, secrets));
  Plan plan = build.start_plan("node", "package.json with " + start.why + where_is_it(choice));
  if (build.is_plain()) {
    plan.stages.push_back(build.plain_stage());
  } else {
    const std::string base = build.add_tools(plan);
    plan.stages.push_back(build.build_stage(base, true));
    PlanStage last = build.app_stage(base);
    last.steps.push_back(CopyStep{{"/app"}, "/app", "build", true});
    last.steps.push_back(AppUserStep{});
    plan.stages.push_back(std::move(last));
  }
  plan.start = start.command.empty() ? build.start_command() : start.command;
  const auto* script = package.script("start");
  need_started_file(tree, start.command.empty() && script != nullptr ? *script : plan.start.back(),
                    plan);
  return plan;
}

Result<Plan> plan_built_site(const SourceTree& tree, const PackageJson& package,
                             const StackBases& bases, const StackChoice& choice,
                             std::map<std::string, std::string>& secrets) {
  NodeBuild build(tree, package, choice);
  ATLAS_TRYV(build.prepare(bases, secrets));
  Plan plan = build.start_plan(
      "static", "package.json with a build script and nothing to start" + where_is_it(choice));
  PlanStage stage = build.build_stage(build.add_tools(plan), false);
  stage.steps.push_back(RunStep{gather_site_command(choice.static_folder), {}});
  plan.stages.push_back(std::move(stage));
  finish_site(plan, {{"/site"}, "/srv", "build", false}, built_site_fallback(package, choice));
  return plan;
}

}  // namespace atlasflow::builder
