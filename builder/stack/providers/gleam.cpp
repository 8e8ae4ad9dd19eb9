// Gleam on Erlang: what gleam export erlang-shipment makes.
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {

Result<Offer> plan_gleam(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto manifest, read_toml(input.tree, "gleam.toml"));
  if (text_at(manifest, {"target"}) == "javascript" && !input.start) {
    return Offer(CannotStart{"its target is JavaScript: let gleam.toml say target = \"erlang\""});
  }
  Plan plan;
  plan.provider = "gleam";
  plan.reason = input.in_place(seen) + ", a shipment for Erlang";
  auto wishes = wishes_of_files(input.tree, {{}, {"gleam"}});
  if (const auto range = text_at(manifest, {"gleam"}); !range.empty()) {
    wishes.push_back({range, "gleam in gleam.toml", true});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "gleam", wishes));
  PlanStage build = build_stage(input, base.image);
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, {});
  add_build(build, input, {"gleam export erlang-shipment", {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"build"};
  plan.stages.push_back(std::move(build));
  PlanStage last = app_stage(base.image, {});
  const bool is_detected = input.choice.build_command.empty();
  const std::string shipment = "/app/build/erlang-shipment/";
  last.steps.push_back(CopyStep{{is_detected ? shipment : "/app/"}, "/app/", "build", true});
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  if (!set_start(plan, input, "sh " + (is_detected ? "/app/" : shipment) + "entrypoint.sh run", ""))
    return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
