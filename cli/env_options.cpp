#include "cli/env_options.hpp"

#include <memory>

#include "cli/add_verb.hpp"

namespace atlasflow::cli {
void add_env_verbs(CLI::App& app, Command& chosen) {
  auto* env = app.add_subcommand("env", "Set, list and unset a project's environment variables");
  env->require_subcommand(1);

  auto set = std::make_shared<EnvSetCommand>();
  auto* verb = add_verb(*env, chosen, set, "set", "Set variables; they apply to later deployments");
  verb->add_option("NAME", set->project, "The project")->required();
  auto* assignments =
      verb->add_option("ASSIGNMENT", set->assignments, "K=V, any number")->type_name("K=V");
  auto* file = verb->add_option("--from-file", set->from_file, "A .env file, - for standard input");
  auto* from_stdin = verb->add_option("--stdin", set->stdin_name,
                                      "Read this variable's value from standard input");
  file->excludes(assignments)->excludes(from_stdin);

  auto list = std::make_shared<EnvListCommand>();
  verb = add_verb(*env, chosen, list, "list", "List names and digests; values are never shown");
  verb->add_option("NAME", list->project, "The project")->required();
  add_json(verb, list);

  auto unset = std::make_shared<EnvUnsetCommand>();
  verb = add_verb(*env, chosen, unset, "unset", "Remove variables");
  verb->add_option("NAME", unset->project, "The project")->required();
  verb->add_option("VARIABLE", unset->names, "Names")->required();
}

void add_build_secret_verbs(CLI::App& app, Command& chosen) {
  auto* secrets = app.add_subcommand(
      "build-secret", "Set, list and unset what a project's builds may mount, such as NPM_TOKEN");
  secrets->require_subcommand(1);

  auto set = std::make_shared<BuildSecretSetCommand>();
  auto* verb = add_verb(*secrets, chosen, set, "set",
                        "Set one from standard input or a file; later deployments build with it");
  verb->add_option("NAME", set->project, "The project")->required();
  verb->add_option("SECRET", set->name, "Its name: RUN --mount=type=secret,id=SECRET")->required();
  verb->add_option("--from-file", set->file, "The file with its value (default: standard input)");
  // Without a place of its own it would be quoted as an argument too many. Not in the help.
  verb->add_option("VALUE", set->mistaken)->group("");

  auto list = std::make_shared<BuildSecretListCommand>();
  verb = add_verb(*secrets, chosen, list, "list", "List names and digests; values are never shown");
  verb->add_option("NAME", list->project, "The project")->required();
  add_json(verb, list);

  auto unset = std::make_shared<BuildSecretUnsetCommand>();
  verb = add_verb(*secrets, chosen, unset, "unset", "Remove build secrets");
  verb->add_option("NAME", unset->project, "The project")->required();
  verb->add_option("SECRET", unset->names, "Names")->required();
}

}  // namespace atlasflow::cli
