// Decides from a repository's files how it is built, and writes the Dockerfile for those that bring
// none. A pure function of the tree, the base images at hand and the settings; any thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/build_secret_id.hpp"
#include "builder/stack/plan.hpp"
#include "builder/stack/source_tree.hpp"
#include "builder/stack/stack_base.hpp"

namespace atlasflow::builder {

// What the settings say.
struct StackChoice {
  std::string root_folder = {};  // for the messages: detection is called with the folder itself
  // Path in the folder, or with '/' before it in `repository`; empty: "Dockerfile" if it is there.
  std::string dockerfile = {};
  const SourceTree* repository =
      nullptr;  // that the folder is in; nullptr: the folder is all of it
  std::vector<std::string> build_args = {};  // names, for the steps of a generated Dockerfile
  std::string static_folder = {};    // what a static site serves; empty: found by its index.html
  std::string static_fallback = {};  // the page for paths without a file; empty: none
  // For sh, in place of what is detected; empty: that. One line each.
  std::string install_command = {};
  std::string build_command = {};
  std::string start_command = {};   // in place of a Dockerfile's ENTRYPOINT and CMD as well
  bool has_ca_certificate = false;  // RUN steps get the secret k_ca_secret
  SecretIds secrets = {};           // the project's, for steps that install or build
};

struct Stack {
  std::string name;                // "dockerfile", "node", "python", "static"
  std::string reason;              // "Dockerfile in the root folder"
  std::string dockerfile;          // what is to be built, as text
  std::string dockerfile_name;     // where the repository has it; empty: it is generated
  std::string ignore;              // the ignore file for it
  std::vector<std::string> start;  // the image's command; empty: the Dockerfile says
  std::vector<std::string> notices;
  // The rest is for those without a Dockerfile of their own.
  std::string install;  // the setting's command; empty: what was detected
  std::string build;    //
  std::vector<PlanVersion> versions;
  std::vector<std::string> base_images;
  std::map<std::string, std::string> secrets;  // of RUN --mount=type=secret, by id
  bool needs_static_server = false;
  std::string folder;         // of the root folder, when only that one can be built; see below
  std::string unmet;          // see Plan
  bool has_fallback = false;  //
};

// A Dockerfile; else the first of providers() that matches and has something to start; else, when
// nothing in the folder speaks for any, the one folder in it in which something does, which then is
// the build's context. user_error when there is none: the message lists what was looked for and
// what was seen, and says the way out. Other languages are refused by name.
[[nodiscard]] Result<Stack> detect_stack(const SourceTree& tree, const StackBases& bases,
                                         const StackChoice& choice = {});
[[nodiscard]] Result<Stack> detect_stack(const std::filesystem::path& folder,
                                         const StackBases& bases, const StackChoice& choice = {});

// "the root folder", or the folder's name.
[[nodiscard]] std::string place_of(const StackChoice& choice);

}  // namespace atlasflow::builder
