// Decides from the files in the root folder how a repository is built, and writes the Dockerfile
// for those that bring none. Pure but for reading the folder; any thread.
#pragma once

#include <filesystem>
#include <string>

#include "base/error.hpp"

namespace atlasflow::builder {

// What the generated Dockerfiles start from.
struct StackBases {
  std::string node;         // has sh, node and npm
  std::string static_site;  // has busybox with sh and httpd
};

struct Stack {
  std::string name;        // "dockerfile", "node", "static"
  std::string reason;      // "Dockerfile in the root folder"
  std::string dockerfile;  // what is to be built, as text
  std::string
      ignore;  // .containerignore or .dockerignore of the repository, else what fits the stack
};

// What the settings say of where to look.
struct StackChoice {
  std::string root_folder;  // for the messages: detect_stack() is called with the folder itself
  std::string dockerfile;   // path in the folder; empty: "Dockerfile" if it is there
};

// The first that matches: Dockerfile; package.json with a start script; index.html. user_error when
// none does: the message lists what was looked for. A Dockerfile that was chosen must be there.
[[nodiscard]] Result<Stack> detect_stack(const std::filesystem::path& folder,
                                         const StackBases& bases, const StackChoice& choice = {});

}  // namespace atlasflow::builder
