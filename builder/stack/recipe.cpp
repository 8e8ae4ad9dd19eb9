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

void install_packages(PlanStage& stage, const std::vector<std::string>& packages) {
  if (packages.empty()) return;
  std::string command = "apt-get update && apt-get install -y --no-install-recommends";
  for (const auto& package : packages) command += " " + package;
  stage.steps.push_back(RunStep{command + " && rm -rf /var/lib/apt/lists/*", {}});
}

CopyStep copy_authorities(const std::string& from) {
  return {{"/etc/ssl/certs/ca-certificates.crt"}, "/etc/ssl/certs/", from, false};
}

std::string gather_libraries(const std::string& program) {
  return "mkdir -p /out/lib && (ldd " + program +
         " || true) | awk '$3 ~ \"^/\" { print $3 }'"
         " | grep -v -E '/(libc|libm|libdl|librt|libpthread)\\.so' | xargs -r cp -Lt /out/lib";
}

PlanStage compiled_app_stage() {
  PlanStage last =
      app_stage(k_debian_image, {{"PATH", "/app/bin:$PATH"}, {"LD_LIBRARY_PATH", "/app/lib"}});
  last.steps.push_back(copy_authorities("build"));
  last.steps.push_back(CopyStep{{"."}, ".", "", true});
  last.steps.push_back(CopyStep{{"/out/"}, "/app/", "build", true});
  last.steps.push_back(AppUserStep{});
  return last;
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
    if (input.start->why.find("web") == std::string::npos) {
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
