// Elixir: a release by mix; Phoenix, with its assets.
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"
#include "builder/stack/version_range.hpp"

namespace atlasflow::builder {

Result<Offer> plan_elixir(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto text, read_text(input.tree, "mix.exs"));
  if (!text) return Offer(CannotStart{"mix.exs is no file"});
  const auto app = first_match(*text, R"(\bapp:\s*:([a-z_0-9]+))");
  if (app.empty()) return Offer(CannotStart{"mix.exs names no app: (app: :NAME)"});
  const bool is_phoenix = text->find(":phoenix,") != std::string::npos;
  Plan plan;
  plan.provider = "elixir";
  plan.reason = input.in_place(seen) + (is_phoenix ? ", Phoenix" : "") + ", a release of " + app;
  auto wishes = wishes_of_files(input.tree, {{".elixir-version"}, {"elixir"}});
  if (const auto range = first_match(*text, R"(\belixir:\s*"([^"]+)\")"); !range.empty()) {
    wishes.push_back({npm_range_of(range, RangeDialect::ruby), "elixir in mix.exs", true});
  }
  ATLAS_TRY(const auto base, take_base(plan, input, "elixir", wishes));
  PlanStage build = build_stage(input, base.image);
  install_packages(build, {"build-essential", "git"});
  build.steps.push_back(EnvStep{{{"MIX_ENV", "prod"}, {"LANG", "C.UTF-8"}}});
  build.steps.push_back(RunStep{"mix local.hex --force && mix local.rebar --force", {}});
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, {"mix deps.get --only prod && mix deps.compile", {}});
  const bool has_assets = text->find("assets.deploy") != std::string::npos;
  if (has_assets && input.choice.build_command.empty()) {
    build.steps.push_back(RunStep{"mix assets.deploy", {}, true});
  }
  add_build(build, input, {"mix compile && mix release --overwrite --path /out", {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"_build", "deps"};
  plan.stages.push_back(std::move(build));
  PlanStage last = app_stage(base.image, {{"LANG", "C.UTF-8"}, {"PHX_SERVER", "true"}});
  copy_result(plan.stages.back(), last, input);
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  if (is_phoenix) {
    plan.notices.push_back(
        "SECRET_KEY_BASE must be set (atlasflow env set), and PHX_HOST to the app's hostname");
  }
  if (!set_start(plan, input, "/app/bin/" + app + " start", "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
