// `atlasflow detect`: what a deployment would make of a folder, told without a server.
#include <nlohmann/json.hpp>

#include "builder/source/repository_config.hpp"
#include "builder/source/source_file.hpp"
#include "builder/stack/detect.hpp"
#include "builder/stack/dockerfile.hpp"
#include "cli/format.hpp"
#include "cli/server_verbs.hpp"
#include "events/settings.hpp"

namespace atlasflow::cli {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// What a build reads in the Dockerfile before anything runs. Which secrets the project has is not
// known here, so none is missed.
Result<void> take_plan(builder::Stack& stack, const pb::Settings& settings) {
  builder::DockerfileRequest request{.name = stack.dockerfile_name,
                                     .build_args = {},
                                     .target = settings.build_target(),
                                     .start = stack.start,
                                     .knows_secrets = false};
  for (const auto& arg : settings.build_args()) {
    request.build_args.emplace_back(arg.name(), arg.value());
  }
  ATLAS_TRY(const auto plan, builder::plan_dockerfile(stack.dockerfile, request));
  for (const auto& image : plan.images) stack.base_images.push_back(image.value);
  stack.notices.insert(stack.notices.end(), plan.notices.begin(), plan.notices.end());
  return {};
}

Result<builder::Stack> detect(const std::string& name) {
  const fs::path folder(name);
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return fail(ErrorCode::invalid_argument, "there is no folder " + name);
  }
  auto settings = default_settings();
  ATLAS_TRY(const auto config, builder::read_repository_config(folder));
  if (config) {
    ATLAS_TRY(auto merged, apply_repository_config(settings, *config));
    settings = std::move(merged);
  }
  ATLAS_TRY(const auto root, builder::find_source_folder(folder, settings.root_folder()));
  if (!root) {
    return fail(ErrorCode::user_error, "there is no folder " + settings.root_folder() + " in " +
                                           name + ", which the setting root_folder names");
  }
  const builder::FolderTree repository(folder);
  builder::StackChoice choice;
  choice.repository = &repository;
  choice.root_folder = settings.root_folder();
  choice.dockerfile = settings.dockerfile();
  choice.static_folder = settings.static_folder();
  choice.static_fallback = settings.static_fallback();
  choice.install_command = settings.install_command();
  choice.build_command = settings.build_command();
  choice.start_command = settings.start_command();
  for (const auto& arg : settings.build_args()) choice.build_args.push_back(arg.name());
  ATLAS_TRY(auto stack, builder::detect_stack(*root, builder::StackBases{}, choice));
  if (stack.name == "dockerfile") ATLAS_TRYV(take_plan(stack, settings));
  return stack;
}

json json_of(const builder::Stack& stack) {
  json versions = json::array();
  for (const auto& version : stack.versions) {
    versions.push_back(
        {{"tool", version.tool}, {"version", version.version}, {"reason", version.why}});
  }
  return {{"stack", stack.name},
          {"reason", stack.reason},
          {"versions", versions},
          {"folder", stack.folder},
          {"base_images", stack.base_images},
          {"start", stack.start},
          {"install_command", stack.install},
          {"build_command", stack.build},
          {"notices", stack.notices},
          {"dockerfile", stack.dockerfile},
          {"ignore", stack.ignore}};
}

std::string text_of(const builder::Stack& stack) {
  std::vector<std::vector<std::string>> rows = {{"Stack", stack.name}, {"Because", stack.reason}};
  if (!stack.folder.empty()) rows.push_back({"Folder", stack.folder});
  for (const auto& version : stack.versions) {
    rows.push_back({"Version", version.tool + (version.version.empty() ? "" : " ") +
                                   version.version + " (" + version.why + ")"});
  }
  if (stack.name == "dockerfile") {
    for (const auto& image : stack.base_images) rows.push_back({"From", image});
  }
  if (!stack.install.empty()) rows.push_back({"Install", stack.install});
  if (!stack.build.empty()) rows.push_back({"Build", stack.build});
  std::string start;
  for (const auto& word : stack.start) start += (start.empty() ? "" : " ") + word;
  if (!start.empty()) rows.push_back({"Start", start});
  for (const auto& notice : stack.notices) rows.push_back({"Note", notice});
  for (auto& row : rows) row[1] = printable(row[1]);
  return table(rows);
}

}  // namespace

int run(const DetectCommand& command, const Connection& /*connection*/, const Terminal& terminal) {
  const auto stack = detect(command.folder);
  if (!stack) {
    // What is wrong with the folder is what is wrong with the input.
    auto error = stack.error();
    if (error.code == ErrorCode::user_error) error.code = ErrorCode::invalid_argument;
    return report(terminal, error);
  }
  if (command.json) {
    terminal.out << json_of(*stack).dump(2, ' ', false, json::error_handler_t::replace) << "\n";
  } else if (command.dockerfile) {
    terminal.out << stack->dockerfile;
  } else {
    terminal.out << text_of(*stack);
    if (stack->name != "dockerfile") terminal.out << "\n" << stack->dockerfile;
  }
  return k_exit_ok;
}

}  // namespace atlasflow::cli
