// Deno: its start task, or a file.
#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"
#include "builder/stack/version_files.hpp"

namespace atlasflow::builder {
namespace {

using nlohmann::json;

// JSON with comments, which deno.json may have under either name.
Result<json> read_config(const ProviderInput& input) {
  for (const char* name : {"deno.json", "deno.jsonc"}) {
    ATLAS_TRY(const auto text, read_text(input.tree, name));
    if (!text) continue;
    auto parsed = parse_json(*text, name, true);
    if (!parsed || parsed->is_object()) return parsed;
    return fail(ErrorCode::user_error, std::string(name) + " must hold an object");
  }
  return json();
}

}  // namespace

Result<Offer> plan_deno(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto config, read_config(input));
  std::string command;
  std::string why;
  const auto has_task = [&config](const char* name) {
    return !object_at(config, {"tasks", name}).is_null();
  };
  std::string entry;
  for (const char* name : {"main.ts", "main.js", "main.tsx", "mod.ts", "server.ts", "app.ts",
                           "index.ts", "index.js", "src/main.ts"}) {
    if (!entry.empty() || !input.tree.has_file(name)) continue;
    entry = name;
  }
  if (has_task("start")) {
    command = "deno task start";
    why = "its start task";
  } else if (!entry.empty()) {
    command = "deno run --allow-all " + entry;
    why = entry;
  }
  Plan plan;
  plan.provider = "deno";
  plan.reason = input.in_place(seen);
  if (!set_start(plan, input, command, why)) {
    return Offer(CannotStart{"it has no start task, and there is no main.ts: add one"});
  }
  ATLAS_TRY(const auto base,
            take_base(plan, input, "deno", wishes_of_files(input.tree, {{".dvmrc"}, {"deno"}})));
  PlanStage build = build_stage(input, base.image);
  build.ca_variables = {"DENO_CERT"};
  build.steps.push_back(EnvStep{{{"DENO_DIR", "/app/.deno"}}});
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, {entry.empty() ? "" : "deno cache " + entry, {}});
  add_build(build, input, {has_task("build") ? "deno task build" : "", {}});
  plan.ignored = {".git", "node_modules"};
  plan.stages.push_back(std::move(build));
  // Deno.serve() without options takes its address from there.
  PlanStage last = app_stage(
      base.image, {{"DENO_DIR", "/app/.deno"}, {"DENO_SERVE_ADDRESS", "tcp:0.0.0.0:3000"}});
  last.steps.push_back(CopyStep{{"/app/"}, "/app/", "build", true});
  last.steps.push_back(AppUserStep{});
  plan.stages.push_back(std::move(last));
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
