// Ecosystems that are known by their files and have no provider, so that they need a Dockerfile:
// what was seen, and what such a Dockerfile starts from. Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

struct Ecosystem {
  std::string name;   // "Scala"
  std::string seen;   // "build.sbt"
  std::string image;  // "haskell:9"
  std::string start;  // "CMD [\"cabal\", \"run\"]"
};

// The first that matches.
[[nodiscard]] std::optional<Ecosystem> find_ecosystem(const SourceTree& tree);

}  // namespace atlasflow::builder
