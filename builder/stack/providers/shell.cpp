// A script, start.sh, run by the shell that its first line names.
#include "builder/stack/recipe.hpp"

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
  last.steps.push_back(CopyStep{{"."}, ".", "", true});
  last.steps.push_back(AppUserStep{});
  plan.ignored = {".git"};
  plan.stages.push_back(std::move(last));
  if (!set_start(plan, input, "", "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
