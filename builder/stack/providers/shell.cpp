// A script, start.sh, run by the shell that its first line names.
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {

Result<Offer> plan_shell(const ProviderInput& input, const std::string& seen) {
  if (!input.tree.has_file(seen)) return Offer(CannotStart{"start.sh is no file"});
  Plan plan;
  plan.provider = "shell";
  plan.reason = input.in_place(seen);
  ATLAS_TRY(const auto base, take_base(plan, input, "shell", {}));
  const std::string shell = start_script_shell(input.tree);
  plan.versions.back() = {shell, "", "the first line of start.sh"};
  PlanStage last = app_stage(base.image, {});
  if (shell == "zsh") install_packages(last, {"zsh"});
  if (has_own_steps(input.choice)) {
    PlanStage build = build_stage(input, base.image);
    build.steps.push_back(CopyStep{{"."}, ".", "", false});
    add_install(build, input, {});
    add_build(build, input, {});
    plan.stages.push_back(std::move(build));
    last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  } else {
    last.steps.push_back(CopyStep{{"."}, ".", "", true});
  }
  if (text_or_nothing(input.tree, seen).find("\r\n") != std::string::npos) {
    last.steps.push_back(RunStep{"sed -i 's/\\r$//' " + seen, {}});
    plan.notices.push_back(seen +
                           " has line ends of Windows (CRLF), which no shell takes; the image has "
                           "it without them");
  }
  last.steps.push_back(AppUserStep{});
  plan.ignored = {".git"};
  plan.stages.push_back(std::move(last));
  if (!set_start(plan, input, "", "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
