// How a repository without a Dockerfile is built, as data: a provider makes a plan from the tree,
// and render.hpp writes the Dockerfile. Plain values; any thread.
#pragma once

#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace atlasflow::builder {

// ---- what a stage does ----

struct CopyStep {
  std::vector<std::string> sources;  // of the context, or of the stage `from`
  std::string target;
  std::string from;          // a stage or k_static_server_context; empty: the context
  bool is_apps_own = false;  // belongs to the user that the app runs as
};
struct RunStep {
  std::string command;              // for sh
  std::vector<std::string> mounts;  // "type=cache,target=/root/.npm"
  bool sees_secrets = false;        // it installs or builds: the project's build secrets are there
};
// A file that the plan itself brings: a here-document in the Dockerfile.
struct FileStep {
  std::string path;
  std::string content;  // lines, none of them k_file_end
};
struct EnvStep {
  std::vector<std::pair<std::string, std::string>> variables;
};
struct ArgStep {
  std::string name;
};
struct WorkFolderStep {
  std::string path;
};
// From here on as the user that the app runs as.
struct AppUserStep {};

using PlanStep =
    std::variant<CopyStep, RunStep, FileStep, EnvStep, ArgStep, WorkFolderStep, AppUserStep>;

inline constexpr const char* k_file_end = "END_OF_FILE";

struct PlanStage {
  std::string name;  // empty in the last
  std::string base;  // an image, an earlier stage or "scratch"
  std::vector<PlanStep> steps;
  // The variables by which its tools take certificate authorities (builder.ca_certificate).
  std::vector<std::string> ca_variables = {"SSL_CERT_FILE"};
};

// ---- the whole ----

struct PlanVersion {
  std::string tool;     // "node"
  std::string version;  // "18", "9.1.0"; empty: the base image's
  std::string why;      // "engines.node >=18 in package.json"
};

struct Plan {
  std::string provider;  // "node", "python", "static"
  std::string reason;    // a phrase: "package.json with a start script in the root folder"
  std::vector<PlanVersion> versions;
  std::vector<PlanStage> stages;     // in order; the last becomes the image
  std::vector<std::string> start;    // the image's command
  std::vector<std::string> notices;  // sentences for the user
  std::vector<std::string> ignored;  // what stays out of the context, unless the repository says
  std::vector<std::string> always_ignored;  // whatever the repository says
  // What the steps need, so that it is in the context whatever the ignore file says.
  std::vector<std::string> needed_files;
  std::vector<std::string> needed_folders;
  bool needs_static_server = false;
  // What the base images at hand do not have and the chosen one has, for the case that it can't be
  // pulled; empty: the chosen one is as good as any.
  std::string unmet;
  // There is a base here that does as well, with another version than the one wished for.
  bool has_fallback = false;
};

// All images that the stages start from and copy from, each once.
[[nodiscard]] std::vector<std::string> images_of(const Plan& plan);

// The build context that holds atlasflow-static-server.
inline constexpr const char* k_static_server_context = "atlasflow-static-server";
inline constexpr const char* k_static_server_program = "atlasflow-static-server";

}  // namespace atlasflow::builder
