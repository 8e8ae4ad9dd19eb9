#include "builder/stack/render.hpp"

#include <algorithm>
#include <cctype>

#include <nlohmann/json.hpp>

namespace atlasflow::builder {
namespace {

// A number, not a name: the base may not have a user, and 65534 owns nothing.
constexpr const char* k_app_user = "65534:65534";

std::string json_list(const std::vector<std::string>& words) {
  return nlohmann::json(words).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

struct Rendered {
  const RenderOptions& options;
  const PlanStage& stage;

  std::string operator()(const CopyStep& copy) const {
    std::string line = "COPY ";
    if (!copy.from.empty()) line += "--from=" + copy.from + " ";
    if (copy.is_apps_own) line += std::string("--chown=") + k_app_user + " ";
    auto words = copy.sources;
    words.push_back(copy.target);
    const bool needs_quotes = std::any_of(words.begin(), words.end(), [](const auto& word) {
      return word.find_first_of(" \t\"'\\$[") != std::string::npos;
    });
    if (needs_quotes) return line + json_list(words) + "\n";
    for (std::size_t i = 0; i < words.size(); ++i) line += (i == 0 ? "" : " ") + words[i];
    return line + "\n";
  }
  std::string operator()(const RunStep& run) const {
    std::string line = "RUN ";
    for (const auto& mount : run.mounts) line += "--mount=" + mount + " ";
    if (run.sees_secrets) {
      for (const auto& [name, id] : options.secrets) {
        // To be read by whomever the step runs as: it is the app's user in some.
        line += "--mount=type=secret,id=" + id + ",target=" + secret_target(name) + ",mode=0444 ";
      }
    }
    if (options.has_ca_certificate && !stage.ca_variables.empty()) {
      line += std::string("--mount=type=secret,id=") + k_ca_secret + ",mode=0444 export";
      for (const auto& name : stage.ca_variables)
        line += " " + name + "=/run/secrets/" + k_ca_secret;
      line += " && ";
    }
    return line + run.command + "\n";
  }
  std::string operator()(const FileStep& file) const {
    return std::string("COPY <<'") + k_file_end + "' " + file.path + "\n" + file.content +
           k_file_end + "\n";
  }
  std::string operator()(const EnvStep& env) const {
    std::string line = "ENV";
    for (const auto& [name, value] : env.variables) {
      line += " ";
      line += name;
      line += "=";
      line += value.find(' ') == std::string::npos ? value : '"' + value + '"';
    }
    return line + "\n";
  }
  std::string operator()(const ArgStep& arg) const { return "ARG " + arg.name + "\n"; }
  std::string operator()(const WorkFolderStep& folder) const {
    return "WORKDIR " + folder.path + "\n";
  }
  std::string operator()(const AppUserStep& /*user*/) const {
    return std::string("USER ") + k_app_user + "\n";
  }
};

// "/vendor/**" and "vendor/" name the folder vendor and all in it.
std::string folder_named_by(std::string line) {
  while (line.starts_with("./") || line.starts_with('/')) line.erase(0, line[0] == '.' ? 2 : 1);
  for (const char* tail : {"/**", "/*", "/"}) {
    if (line.ends_with(tail)) line.resize(line.size() - std::string_view(tail).size());
  }
  return line;
}

bool holds(const std::string& folder, const std::string& path) {
  return path == folder || path.starts_with(folder + "/");
}

std::string trimmed(std::string line) {
  while (!line.empty() && (line.back() == ' ' || line.back() == '\t' || line.back() == '\r')) {
    line.pop_back();
  }
  line.erase(0, std::min(line.find_first_not_of(" \t"), line.size()));
  return line;
}

}  // namespace

std::vector<std::string> images_of(const Plan& plan) {
  std::vector<std::string> images;
  std::vector<std::string> stages = {"scratch", "", k_static_server_context};
  const auto add = [&](const std::string& name) {
    for (const auto* known : {&stages, &images}) {
      if (std::find(known->begin(), known->end(), name) != known->end()) return;
    }
    images.push_back(name);
  };
  for (const auto& stage : plan.stages) {
    add(stage.base);
    for (const auto& step : stage.steps) {
      if (const auto* copy = std::get_if<CopyStep>(&step)) add(copy->from);
    }
    stages.push_back(stage.name);
  }
  return images;
}

std::string render_dockerfile(const Plan& plan, const RenderOptions& options) {
  // A file's name may hold a line break, and the reason names files.
  std::string reason = plan.reason;
  std::replace_if(
      reason.begin(), reason.end(), [](unsigned char c) { return std::iscntrl(c) != 0; }, ' ');
  std::string text = "# Made by Atlasflow: " + reason + ".\n";
  for (std::size_t i = 0; i < plan.stages.size(); ++i) {
    const PlanStage& stage = plan.stages[i];
    if (i > 0) text += "\n";
    text += "FROM " + stage.base + (stage.name.empty() ? "" : " AS " + stage.name) + "\n";
    for (const auto& step : stage.steps) text += std::visit(Rendered{options, stage}, step);
  }
  text += "EXPOSE 3000\n";
  text += "CMD " + json_list(plan.start) + "\n";
  return text;
}

// A line that names a needed folder, or one around it, is left out. After a line that takes all out
// ("*", as in an ignore file that lists what to keep) the needed folders are taken in again there,
// so that what the lines below leave out stays out. Files come last: they are exact names.
std::string render_ignore(const Plan& plan, const std::optional<std::string>& own) {
  std::string text;
  std::string rest = own.value_or("");
  if (!own) {
    for (const auto& pattern : plan.ignored) text += pattern + "\n";
  }
  while (!rest.empty()) {
    const auto end = std::min(rest.find('\n'), rest.size());
    const std::string line = trimmed(rest.substr(0, end));
    rest.erase(0, std::min(end + 1, rest.size()));
    const std::string folder = folder_named_by(line);
    const bool takes_all = line == "*" || line == "**" || line == "**/*" || line == "/*";
    const bool names_needed =
        !takes_all && !folder.empty() &&
        std::any_of(plan.needed_folders.begin(), plan.needed_folders.end(),
                    [&](const auto& needed) { return holds(folder, needed); });
    if (names_needed) continue;
    text += line + "\n";
    if (takes_all) {
      for (const auto& needed : plan.needed_folders) text += "!" + needed + "\n";
    }
  }
  for (const auto& pattern : plan.always_ignored) text += pattern + "\n";
  for (const auto& file : plan.needed_files) text += "!" + file + "\n";
  return text;
}

}  // namespace atlasflow::builder
