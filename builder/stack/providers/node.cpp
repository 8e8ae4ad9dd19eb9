#include "builder/stack/providers/node.hpp"

#include <algorithm>
#include <array>

#include "builder/stack/providers/node_packages.hpp"
#include "builder/stack/providers/node_start.hpp"
#include "builder/stack/providers/static_site.hpp"
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_package_bytes_max = 4U << 20U;
constexpr const char* k_npmrc_secret = "atlasflow.npmrc";
const std::vector<std::string> k_ca_variables = {"NODE_EXTRA_CA_CERTS"};

// Lines of an .npmrc that say who asks: they are for the install, and for nobody who has the image.
bool has_credentials(const std::string& npmrc) {
  constexpr std::array<std::string_view, 7> k_words = {"_auth",     "_password", ":username", "${",
                                                       ":certfile", ":keyfile",  "key="};
  return std::any_of(k_words.begin(), k_words.end(),
                     [&](std::string_view word) { return npmrc.find(word) != std::string::npos; });
}

// Everything about an app's installation that its plans share.
class NodeBuild {
 public:
  NodeBuild(const ProviderInput& input, const PackageJson& package)
      : input_(input), tree_(input.tree), package_(package), choice_(input.choice) {}

  // `app` of the workspaces is what is built and started; nullptr: the root.
  Result<void> prepare(Plan& plan, const WorkspaceApp* app) {
    app_ = app;
    ATLAS_TRY(manager_, find_package_installer(tree_, package_));
    ATLAS_TRY(base_, take_base(plan, input_, "node", wishes()));
    for (const auto& path : package_.local_dependencies()) {
      if (path.starts_with("..")) {
        return fail(ErrorCode::user_error, "package.json depends on " + path +
                                               ", which is outside of " + place_of(choice_) +
                                               ": let root_folder be a folder that holds both");
      }
    }
    ATLAS_TRY(const auto npmrc, read_text(tree_, ".npmrc"));
    has_npmrc_ = npmrc.has_value();
    npmrc_is_secret_ = has_npmrc_ && has_credentials(*npmrc);
    if (npmrc_is_secret_) input_.secrets[k_npmrc_secret] = *npmrc;
    has_workspaces_ = !package_.workspaces.empty() || tree_.has_file("pnpm-workspace.yaml");
    installs_ = !package_.dependencies.empty() || has_workspaces_ ||
                !package_.dev_dependencies.empty() || package_.install_script().has_value() ||
                !choice_.install_command.empty();
    return {};
  }

  // The programs that start it stay, whoever is meant to have them.
  void keep_what_starts(Plan& plan, const PackageJson& started, const NodeStart& start) {
    const std::string command = start.command.empty() ? "" : start.command.back();
    const std::string what = command.empty() ? "the start script" : "what starts the app";
    const auto used = started_dev_dependency(started, command);
    keeps_dev_ = !used.empty();
    if (keeps_dev_) {
      plan.notices.push_back(what + " uses " + used +
                             ", which is a dev dependency, so all of those are in the image; move "
                             "it to the dependencies for a smaller one");
    }
    if (const auto port = started_port(started, command); !port.empty()) {
      plan.notices.push_back(what + " names port " + port + ": the setting port has to be " + port +
                             " as well, unless it is made to listen on $PORT");
    }
  }

  // What npm reads besides its manifest is in the tree: scripts, workspaces, folders. A command of
  // the project's own may read any of it.
  [[nodiscard]] bool needs_sources_to_install() const {
    return has_workspaces_ || package_.install_script() || !package_.local_dependencies().empty() ||
           manager_.tool != PackageTool::npm || !choice_.install_command.empty();
  }
  // The dependencies that are needed to run come in one step, and nothing else is done.
  [[nodiscard]] bool is_plain() const {
    return build_command().empty() && !needs_sources_to_install() && !npmrc_is_secret_ &&
           !keeps_dev_;
  }
  [[nodiscard]] bool has_to_install() const {
    return is_plain() ? !package_.dependencies.empty() : installs_;
  }

  // What the plan says of the installation, and what that needs of the context.
  void describe(Plan& plan) const {
    plan.notices.insert(plan.notices.end(), manager_.notices.begin(), manager_.notices.end());
    if (has_to_install()) plan.always_ignored = {"node_modules", "**/node_modules"};
    if (has_to_install() && choice_.install_command.empty()) {
      plan.versions.push_back({manager_.name(), manager_.version, manager_.why});
      plan.reason += manager_.lock_file.empty() ? ", dependencies without a lock file"
                                                : ", dependencies from " + manager_.lock_file;
      if (manager_.lock_file.empty()) {
        plan.notices.push_back(
            "there is no lock file, so every build may install other versions; commit the " +
            manager_.written_lock_file() + " that " + manager_.name() + " install writes");
      }
    }
    if (const auto build = build_command(); !build.empty() && choice_.build_command.empty()) {
      plan.reason += ", built by " + build;
    }
    plan.ignored = {"node_modules", "**/node_modules", ".git", "npm-debug.log"};
    plan.needed_files = manifests();
    plan.needed_folders = package_.local_dependencies();
    for (std::string folder : workspace_patterns(tree_, package_)) {
      while (folder.starts_with("./")) folder.erase(0, 2);
      folder.resize(std::min(folder.find_first_of("*!"), folder.size()));
      while (folder.ends_with('/')) folder.pop_back();
      if (!folder.empty()) plan.needed_folders.push_back(folder);
    }
    if (npmrc_is_secret_) plan.always_ignored.push_back(".npmrc");
  }

  // What the build and the final stage start from, with the package manager.
  [[nodiscard]] std::string add_tools(Plan& plan) const {
    if (!manager_.is_brought() || !has_to_install()) return base_.image;
    PlanStage tools{"tools", base_.image, {}, k_ca_variables};
    if (has_corepack() && manager_.tool != PackageTool::bun) {
      tools.steps.push_back(
          EnvStep{{{"COREPACK_HOME", "/opt/corepack"}, {"COREPACK_ENABLE_DOWNLOAD_PROMPT", "0"}}});
    }
    tools.steps.push_back(RunStep{manager_.bring_command(has_corepack()), {}});
    plan.stages.push_back(std::move(tools));
    return "tools";
  }

  // Installs with what only the build needs, builds, and takes that out again.
  [[nodiscard]] PlanStage build_stage(const std::string& name, const std::string& base,
                                      bool prunes) const {
    PlanStage stage{name, base, {}, k_ca_variables};
    EnvStep environment{{{"NPM_CONFIG_UPDATE_NOTIFIER", "false"}, {"HUSKY", "0"}}};
    if (manager_.tool == PackageTool::yarn_berry) {
      // What a Plug'n'Play app loads is the cache, which is then of the folder that is copied.
      environment.variables.emplace_back("YARN_ENABLE_GLOBAL_CACHE", "false");
    }
    stage.steps.push_back(std::move(environment));
    for (const auto& arg : choice_.build_args) stage.steps.push_back(ArgStep{arg});
    stage.steps.push_back(WorkFolderStep{"/app"});
    const bool all_first = needs_sources_to_install() || !has_to_install();
    stage.steps.push_back(all_first ? CopyStep{{"."}, ".", "", false}
                                    : CopyStep{manifests(), "./", "", false});
    if (has_to_install()) {
      // The tools of a build are dev dependencies, and NODE_ENV=production would leave them out.
      const auto& own = choice_.install_command;
      stage.steps.push_back(with_npmrc(
          own.empty() ? "NODE_ENV=development " + manager_.install_command(true) : run_text(own)));
    }
    if (!all_first) stage.steps.push_back(CopyStep{{"."}, ".", "", false});
    if (const auto build = build_command(); !build.empty()) {
      const bool is_one = build.find("&&") == std::string::npos && choice_.build_command.empty();
      stage.steps.push_back(RunStep{
          (is_one ? "NODE_ENV=production " : "export NODE_ENV=production && ") + build, {}, true});
    }
    const auto prune = manager_.prune_command();
    if (prunes && !keeps_dev_ && has_to_install() && choice_.install_command.empty() &&
        !prune.empty() && !package_.dev_dependencies.empty() &&
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
      stage.steps.push_back(
          RunStep{manager_.install_command(false) + " && rm -rf /tmp/.npm", {}, true});
    }
    stage.steps.push_back(CopyStep{{"."}, ".", "", true});
    return stage;
  }

  // The folder is the app's to write: SQLite, uploads, a framework's cache.
  [[nodiscard]] PlanStage app_stage(const std::string& base) const {
    PlanStage stage{"", base, {}, k_ca_variables};
    stage.steps.push_back(EnvStep{{{"NODE_ENV", "production"},
                                   {"PORT", "3000"},
                                   {"NPM_CONFIG_UPDATE_NOTIFIER", "false"},
                                   {"HOME", "/tmp"}}});
    stage.steps.push_back(RunStep{"mkdir -p /app && chown 65534:65534 /app", {}});
    stage.steps.push_back(WorkFolderStep{"/app"});
    return stage;
  }

  [[nodiscard]] std::vector<std::string> start_command(const NodeStart& start) const {
    std::vector<std::string> words = start.command;
    if (words.empty()) words = {program(), "start"};
    if (start.folder.empty()) return words;
    std::string line = "cd " + start.folder + " && exec";
    for (const auto& word : words) line += " " + word;
    return {"sh", "-c", line};
  }

  [[nodiscard]] std::string run_command(const std::string& script) const {
    return "NODE_ENV=production " + program() + " run " + script;
  }

  // For sh: the setting, the root's own script, else that of the package which is started.
  [[nodiscard]] std::string build_command() const {
    if (!choice_.build_command.empty()) return run_text(choice_.build_command);
    const PackageJson& package = app_ == nullptr ? package_ : app_->package;
    if (const char* script = build_script_of(package_)) {
      return program() + " run " + script;
    }
    const char* script = build_script_of(package);
    if (script == nullptr) return {};
    if (package.scripts.at(script).starts_with("nx build ")) {
      return "node_modules/.bin/" + package.scripts.at(script);
    }
    return "cd " + app_->folder + " && " + program() + " run " + script;
  }

 private:
  [[nodiscard]] std::string program() const {
    return manager_.is_brought() && has_to_install_any() ? manager_.name() : "npm";
  }
  [[nodiscard]] bool has_to_install_any() const {
    return installs_ || !package_.dependencies.empty();
  }

  [[nodiscard]] std::vector<VersionWish> wishes() const {
    auto wishes = wishes_of_files(tree_, {{".nvmrc", ".node-version"}, {"nodejs", "node"}});
    if (wishes.empty() && !package_.volta_node.empty()) {
      wishes.push_back({package_.volta_node, "volta.node in package.json"});
    }
    if (!package_.node_range.empty()) {
      wishes.push_back({package_.node_range, "engines.node in package.json", true});
    }
    return wishes;
  }

  // Every official image from 16 to 24 has it; Debian's package has not. Another image is taken at
  // its word: the operator chose it.
  [[nodiscard]] bool has_corepack() const {
    if (base_.is_own) return false;
    const auto version = parse_partial_version(base_.version);
    return !version || (version->parts[0] >= 16 && version->parts[0] <= 24);
  }

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
    RunStep run{command, {}, true};
    if (npmrc_is_secret_) {
      run.mounts.push_back(std::string("type=secret,id=") + k_npmrc_secret +
                           ",target=/app/.npmrc,mode=0444");
    }
    return run;
  }

  const ProviderInput& input_;
  const SourceTree& tree_;
  const PackageJson& package_;
  const StackChoice& choice_;
  const WorkspaceApp* app_ = nullptr;
  PackageInstaller manager_;
  ChosenBase base_;
  bool has_npmrc_ = false;
  bool npmrc_is_secret_ = false;
  bool has_workspaces_ = false;
  bool installs_ = false;
  bool keeps_dev_ = false;  // dev dependencies, where the app runs
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

Result<Plan> plan_app(const ProviderInput& input, const PackageJson& package,
                      const NodeStart& start, const WorkspaceApp* app) {
  NodeBuild build(input, package);
  Plan plan;
  plan.provider = "node";
  plan.reason = "package.json with " + start.why + " in " + place_of(input.choice);
  if (app != nullptr) plan.reason += ", of which " + app->folder + " is started";
  ATLAS_TRYV(build.prepare(plan, app));
  if (start.command.empty() || input.start) {
    build.keep_what_starts(plan, app == nullptr ? package : app->package, start);
  }
  build.describe(plan);
  if (build.is_plain()) {
    plan.stages.push_back(build.plain_stage());
  } else {
    const std::string base = build.add_tools(plan);
    plan.stages.push_back(build.build_stage("build", base, true));
    PlanStage last = build.app_stage(base);
    last.steps.push_back(CopyStep{{"/app"}, "/app", "build", true});
    last.steps.push_back(AppUserStep{});
    plan.stages.push_back(std::move(last));
  }
  plan.start = build.start_command(start);
  const auto* script = package.script("start");
  need_started_file(input.tree,
                    start.command.empty() && script != nullptr ? *script : plan.start.back(), plan);
  return plan;
}

// A site of files that the build script makes: built as a Node app, served by the static server.
Result<Plan> plan_built_site(const ProviderInput& input, const PackageJson& package,
                             const WorkspaceApp* app) {
  NodeBuild build(input, package);
  Plan plan;
  plan.provider = "static";
  plan.reason = std::string("package.json with ") +
                (input.choice.build_command.empty() ? "a build script and " : "") +
                "nothing to start in " + place_of(input.choice);
  if (app != nullptr) plan.reason += ", of which " + app->folder + " is a site";
  ATLAS_TRYV(build.prepare(plan, app));
  build.describe(plan);
  PlanStage stage = build.build_stage("build", build.add_tools(plan), false);
  std::string gather = gather_site_command(input.choice.static_folder);
  const auto* script = app == nullptr ? nullptr : app->package.script("build");
  const bool is_nx = script != nullptr && script->starts_with("nx build ");
  if (app != nullptr)
    gather = "cd " + (is_nx ? "dist/" : std::string()) + app->folder + " && " + gather;
  stage.steps.push_back(RunStep{gather, {}});
  plan.stages.push_back(std::move(stage));
  finish_site(plan, {{"/site"}, "/srv", "build", false},
              built_site_fallback(app == nullptr ? package : app->package, input.choice));
  return plan;
}

Result<PackageJson> read_package(const ProviderInput& input) {
  const std::string folder = input.choice.root_folder;
  const std::string name = (folder.empty() ? "" : folder + "/") + "package.json";
  ATLAS_TRY(const auto text, input.tree.read("package.json", k_package_bytes_max));
  // A folder of that name, or a link out of the repository, says nothing.
  return parse_package_json(text.value_or("{}"), name);
}

CannotStart several(const std::vector<WorkspaceApp>& apps) {
  std::string names;
  for (const auto& app : apps) names += (names.empty() ? "" : ", ") + app.folder;
  return {"the workspace has several packages that could be deployed (" + names +
          "), and no start script at its root: add \"start\" to the package.json at the root, or "
          "let root_folder name one of them"};
}

}  // namespace

Result<bool> add_assets_stage(Plan& plan, const ProviderInput& input) {
  ATLAS_TRY(const auto package, read_package(input));
  if (build_script_of(package) == nullptr) return false;
  // The settings' commands are for the app, which is of another language.
  StackChoice choice = input.choice;
  choice.install_command.clear();
  choice.build_command.clear();
  const ProviderInput assets{input.tree, input.names, input.bases,
                             choice,     input.start, input.secrets};
  NodeBuild build(assets, package);
  ATLAS_TRYV(build.prepare(plan, nullptr));
  Plan own;
  build.describe(own);
  plan.notices.insert(plan.notices.end(), own.notices.begin(), own.notices.end());
  plan.versions.insert(plan.versions.end(), own.versions.begin(), own.versions.end());
  plan.needed_files.insert(plan.needed_files.end(), own.needed_files.begin(),
                           own.needed_files.end());
  plan.always_ignored.insert(plan.always_ignored.end(), own.always_ignored.begin(),
                             own.always_ignored.end());
  PlanStage stage = build.build_stage("assets", build.add_tools(plan), false);
  if (package.script("build:css") != nullptr) {
    stage.steps.push_back(RunStep{build.run_command("build:css"), {}, true});
  }
  stage.steps.push_back(RunStep{"rm -rf node_modules", {}});
  plan.stages.push_back(std::move(stage));
  return true;
}

Result<Offer> plan_node(const ProviderInput& input, const std::string& /*seen*/) {
  ATLAS_TRY(const auto package, read_package(input));
  const bool has_root_build =
      build_script_of(package) != nullptr || !input.choice.build_command.empty();
  if (!input.choice.static_folder.empty()) {
    if (!has_root_build) return Offer(CannotStart{});
    ATLAS_TRY(auto site, plan_built_site(input, package, nullptr));
    return Offer(std::move(site));
  }
  std::optional<NodeStart> start = find_node_start(input.tree, package);
  if (input.start) start = NodeStart{{"sh", "-c", input.start->command}, input.start->why};
  const WorkspaceApp* app = nullptr;
  std::vector<WorkspaceApp> apps;
  if (!start) {
    ATLAS_TRY(apps, find_workspace_apps(input.tree, package));
    if (apps.size() > 1) return Offer(several(apps));
    if (apps.size() == 1) {
      app = &apps.front();
      start = app->start;
    }
  }
  if (start) {
    ATLAS_TRY(auto plan, plan_app(input, package, *start, app));
    return Offer(std::move(plan));
  }
  if (has_root_build || app != nullptr) {
    ATLAS_TRY(auto site, plan_built_site(input, package, app));
    return Offer(std::move(site));
  }
  return Offer(CannotStart{
      "package.json has no start script, no main and no build script, and there is no server.js or "
      "index.js: add \"scripts\": {\"start\": \"node server.js\"} to it"});
}

}  // namespace atlasflow::builder
