// .NET: what dotnet publish makes of a project.
#include <algorithm>

#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {
namespace {

bool is_project(const std::string& name) {
  return name.ends_with(".csproj") || name.ends_with(".fsproj");
}

// One that may stand in a command between single quotes: a plain word, or several.
bool is_plain_name(std::string name) {
  std::replace(name.begin(), name.end(), ' ', '_');
  return is_plain_word(name);
}

std::string quoted_name(const std::string& name) {
  return name.find(' ') == std::string::npos ? name : "'" + name + "'";
}

// The projects in the folder, else those one level down, of which the web ones come first.
std::vector<std::string> find_projects(const ProviderInput& input) {
  std::vector<std::string> projects;
  std::copy_if(input.names.begin(), input.names.end(), std::back_inserter(projects), is_project);
  for (const auto& parent : {std::string(), std::string("src/")}) {
    if (!projects.empty()) break;
    for (const auto& folder : parent.empty() ? input.names : input.tree.list("src")) {
      for (const auto& name : input.tree.list(parent + folder)) {
        if (is_project(name) && is_plain_name(parent + folder)) {
          projects.push_back(parent + folder + "/" + name);
        }
      }
    }
  }
  std::stable_partition(projects.begin(), projects.end(), [&](const std::string& project) {
    return text_or_nothing(input.tree, project).find("Microsoft.NET.Sdk.Web") != std::string::npos;
  });
  return projects;
}

}  // namespace

Result<Offer> plan_dotnet(const ProviderInput& input, const std::string& seen) {
  const auto projects = find_projects(input);
  if (projects.empty() || !is_plain_name(projects.front())) {
    return Offer(CannotStart{
        projects.empty()
            ? "there is no .csproj or .fsproj in it or one folder down"
            : "the name of its project may have letters, digits, spaces, '.', '_' and '-' only"});
  }
  const std::string& project = projects.front();
  ATLAS_TRY(const auto text, read_text(input.tree, project));
  if (text && text->find("<TargetFrameworkVersion>") != std::string::npos) {
    return Offer(CannotStart{project + " targets .NET Framework, which runs on Windows alone: let "
                                       "it target .NET (net8.0)"});
  }
  std::string name = first_match(text.value_or(""), R"(<AssemblyName>([^<]+)</AssemblyName>)");
  if (!is_plain_name(name)) {
    name = project.substr(project.rfind('/') + 1);
    name.resize(name.rfind('.'));
  }
  Plan plan;
  plan.provider = "dotnet";
  plan.reason = input.in_place(seen) + ", published from " + project;
  std::vector<VersionWish> wishes;
  constexpr const char* k_framework = R"(<TargetFrameworks?>\s*net([0-9]+\.[0-9]+))";
  const auto framework = first_match(text.value_or(""), k_framework);
  if (!framework.empty()) wishes.push_back({framework, "TargetFramework in " + project, true});
  const std::string shared = "Directory.Build.props";
  const auto of_all = first_match(text_or_nothing(input.tree, shared), k_framework);
  if (wishes.empty() && !of_all.empty()) {
    wishes.push_back({of_all, "TargetFramework in " + shared, true});
  }
  // Of several, the one that is published must be said.
  const auto several = first_match(text.value_or(""), R"(<TargetFrameworks>\s*(net[0-9.]+)\s*;)");
  if (wishes.empty()) {
    const auto global = parse_json(text_or_nothing(input.tree, "global.json"), "global.json", true);
    auto sdk = global ? version_in(text_at(*global, {"sdk", "version"})) : std::string();
    // Of "8.0.404" the last part counts the releases of the tools.
    sdk.resize(std::min(sdk.rfind('.'), sdk.size()));
    if (!sdk.empty()) wishes.push_back({sdk, "global.json"});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "dotnet", wishes));
  std::vector<VersionWish> same = wishes;
  if (!base.version.empty()) same = {{base.version, "the version that it is built with", true}};
  Plan unnoted;
  ATLAS_TRY(const auto runtime, take_base(unnoted, input, "dotnet-runtime", same));
  PlanStage build = build_stage(input, base.image);
  build.steps.push_back(
      EnvStep{{{"DOTNET_CLI_TELEMETRY_OPTOUT", "1"}, {"NUGET_PACKAGES", "/cache/nuget"}}});
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, cached_run("", {"/cache"}));
  add_build(build, input,
            cached_run("dotnet publish " + quoted_name(project) + " --configuration Release" +
                           (several.empty() ? "" : " --framework " + several) + " --output /out",
                       {"/cache"}));
  plan.ignored = {".git"};
  plan.always_ignored = {"**/bin", "**/obj"};
  plan.stages.push_back(std::move(build));
  PlanStage last = app_stage(runtime.image, {{"DOTNET_CLI_TELEMETRY_OPTOUT", "1"},
                                             {"ASPNETCORE_URLS", "http://0.0.0.0:3000"}});
  copy_result(plan.stages.back(), last, input);
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  // Not the variable of the image: PORT is told when it starts.
  if (!set_start(
          plan, input,
          "env ASPNETCORE_URLS=http://0.0.0.0:$PORT dotnet " + quoted_name("/app/" + name + ".dll"),
          "")) {
    return Offer(CannotStart{});
  }
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
