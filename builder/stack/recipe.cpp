#include "builder/stack/recipe.hpp"

#include <algorithm>

#include "builder/stack/providers/node.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {

Result<ChosenBase> take_base(Plan& plan, const ProviderInput& input, std::string_view key,
                             const std::vector<VersionWish>& wishes) {
  ATLAS_TRY(auto base, choose_base(input.bases, language(key), wishes));
  plan.versions.push_back({std::string(key), base.version,
                           base.why == "the base image" ? base.why + " " + base.image : base.why});
  plan.notices.insert(plan.notices.end(), base.notices.begin(), base.notices.end());
  if (plan.unmet.empty()) plan.unmet = base.unmet;
  plan.has_fallback = plan.has_fallback || base.has_fallback;
  return base;
}

PlanStage build_stage(const ProviderInput& input, const std::string& base) {
  PlanStage stage{"build", base, {}};
  for (const auto& name : input.choice.build_args) stage.steps.push_back(ArgStep{name});
  stage.steps.push_back(WorkFolderStep{"/app"});
  return stage;
}

PlanStage app_stage(const std::string& base,
                    std::vector<std::pair<std::string, std::string>> variables) {
  PlanStage stage{"", base, {}};
  variables.insert(variables.begin(), {{"PORT", "3000"}, {"HOME", "/tmp"}});
  stage.steps.push_back(EnvStep{std::move(variables)});
  // The folder is the app's to write: SQLite, uploads, a framework's cache.
  stage.steps.push_back(RunStep{"mkdir -p /app && chown 65534:65534 /app", {}});
  stage.steps.push_back(WorkFolderStep{"/app"});
  stage.ca_variables.clear();
  return stage;
}

RunStep cached_run(const std::string& command, const std::vector<std::string>& folders) {
  RunStep run{command, {}};
  for (const auto& folder : folders) run.mounts.push_back("type=cache,target=" + folder);
  return run;
}

void add_install(PlanStage& stage, const ProviderInput& input, RunStep own) {
  if (const auto& command = input.choice.install_command; !command.empty()) {
    own.command = run_text(command);
  }
  own.sees_secrets = true;
  if (!own.command.empty()) stage.steps.push_back(std::move(own));
}

void add_build(PlanStage& stage, const ProviderInput& input, RunStep own) {
  if (const auto& command = input.choice.build_command; !command.empty()) {
    own.command = run_text(command);
  }
  own.sees_secrets = true;
  if (!own.command.empty()) stage.steps.push_back(std::move(own));
}

bool has_own_steps(const StackChoice& choice) {
  return !choice.install_command.empty() || !choice.build_command.empty();
}

std::string run_text(const std::string& command) {
  const auto first = command.find_first_not_of(" \t");
  const auto last = command.find_last_not_of(" \t");
  const bool is_plain = first != std::string::npos && command[first] != '-' &&
                        command[first] != '[' && command[first] != '#' && command[last] != '\\' &&
                        command.find("<<") == std::string::npos;
  return is_plain ? command : quoted_for_sh(command);
}

std::string quoted_for_sh(const std::string& command) {
  std::string quoted = "sh -c '";
  for (const char c : command) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void install_packages(PlanStage& stage, const std::vector<std::string>& packages) {
  if (packages.empty()) return;
  std::string command = "apt-get update && apt-get install -y --no-install-recommends";
  for (const auto& package : packages) command += " " + package;
  stage.steps.push_back(RunStep{command + " && rm -rf /var/lib/apt/lists/*", {}});
}

CopyStep copy_authorities(const std::string& from) {
  return {{"/etc/ssl/certs/ca-certificates.crt"}, "/etc/ssl/certs/", from, false};
}

namespace {

std::string copy_libraries(const std::string& ldd) {
  return "mkdir -p /out/lib && (" + ldd +
         " || true) | awk '$3 ~ \"^/\" { print $3 }'"
         " | grep -v -E '/(libc|libm|libdl|librt|libpthread)\\.so' | xargs -r cp -Lt /out/lib";
}

}  // namespace

std::string gather_libraries(const std::string& program) {
  return copy_libraries("ldd " + program);
}

std::string gather_all_libraries() {
  return copy_libraries("find /app /out -type f -perm /111 -exec ldd {} + 2>/dev/null");
}

PlanStage compiled_app_stage(const ProviderInput& input) {
  PlanStage last =
      app_stage(k_debian_image, {{"PATH", "/app/bin:$PATH"}, {"LD_LIBRARY_PATH", "/app/lib"}});
  last.steps.push_back(copy_authorities("build"));
  last.steps.push_back(input.choice.build_command.empty()
                           ? CopyStep{{"."}, ".", "", true}
                           : CopyStep{{"/app/"}, "/app/", "build", true});
  last.steps.push_back(CopyStep{{"/out/"}, "/app/", "build", true});
  last.steps.push_back(AppUserStep{});
  return last;
}

void copy_result(PlanStage& build, PlanStage& last, const ProviderInput& input) {
  if (!input.choice.build_command.empty()) {
    build.steps.push_back(RunStep{"mkdir -p /out", {}});
    last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  }
  last.steps.push_back(CopyStep{{"/out/"}, "/app/", "build", true});
}

std::string start_script_shell(const SourceTree& tree) {
  const std::string text = text_or_nothing(tree, "start.sh");
  const std::string first = text.starts_with("#!") ? text.substr(0, text.find('\n')) : "";
  for (const char* shell : {"bash", "zsh"}) {
    if (first.find(shell) != std::string::npos) return shell;
  }
  return "sh";
}

bool set_start(Plan& plan, const ProviderInput& input, const std::string& own,
               const std::string& why) {
  if (input.start) {
    plan.start = {"sh", "-c", input.start->command};
    plan.reason += ", started by " + input.start->why;
    const bool is_other = input.start->why.find("web") == std::string::npos;
    if (is_other && input.choice.start_command.empty()) {
      plan.notices.push_back("Procfile has no web process, so " + input.start->why +
                             " is started; health_path=none is for an app that listens nowhere");
    }
    return true;
  }
  if (!own.empty()) {
    const bool is_one = own.find("&&") == std::string::npos;
    plan.start = {"sh", "-c", (is_one ? "exec " : "") + own};
    if (!why.empty()) plan.reason += ", started by " + why;
    return true;
  }
  if (input.has("start.sh")) {
    plan.start = {start_script_shell(input.tree), "start.sh"};
    plan.reason += ", started by start.sh";
    return true;
  }
  return false;
}

Result<CopyStep> copy_sources(Plan& plan, const ProviderInput& input) {
  const CopyStep whole{{"."}, ".", "", false};
  if (!input.has("package.json")) return whole;
  ATLAS_TRY(const bool has_assets, add_assets_stage(plan, input));
  if (!has_assets) return whole;
  plan.reason += ", its assets by Node from package.json";
  return CopyStep{{"/app/"}, ".", "assets", false};
}

}  // namespace atlasflow::builder
