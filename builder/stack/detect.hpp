// Decides from a repository's files how it is built, and writes the Dockerfile for those that bring
// none. A pure function of the tree, the base images at hand and the settings; any thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/plan.hpp"
#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

struct StackBase {
  std::string image;        // has sh; "…/node:20-…" tells its version
  bool is_present = false;  // in the local store; others would have to be pulled
};

// What generated Dockerfiles may start from, in the order of preference.
struct StackBases {
  std::vector<StackBase> node;  // with node and npm
};

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
  bool has_ca_certificate = false;   // RUN steps get the secret k_ca_secret
};

struct Stack {
  std::string name;             // "dockerfile", "node", "static"
  std::string reason;           // "Dockerfile in the root folder"
  std::string dockerfile;       // what is to be built, as text
  std::string dockerfile_name;  // where the repository has it; empty: it is generated
  std::string ignore;           // the ignore file for it
  // The rest is for those without a Dockerfile of their own.
  std::vector<PlanVersion> versions;
  std::vector<std::string> base_images;
  std::vector<std::string> start;
  std::vector<std::string> notices;
  std::map<std::string, std::string> secrets;  // of RUN --mount=type=secret, by id
  bool needs_static_server = false;
  std::string unmet;  // see Plan
};

// The first that matches: Dockerfile; a Node app that can be started; a known ecosystem that needs
// a Dockerfile (refused by name); a site that a build script makes; static files. user_error when
// none does: the message lists what was looked for and what was seen.
[[nodiscard]] Result<Stack> detect_stack(const SourceTree& tree, const StackBases& bases,
                                         const StackChoice& choice = {});
[[nodiscard]] Result<Stack> detect_stack(const std::filesystem::path& folder,
                                         const StackBases& bases, const StackChoice& choice = {});

// "the root folder", or the folder's name.
[[nodiscard]] std::string place_of(const StackChoice& choice);

}  // namespace atlasflow::builder
