// Ecosystems that are known by their files and need a Dockerfile: what was seen, and what such a
// Dockerfile starts from. Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

struct Ecosystem {
  std::string name;   // "Python"
  std::string seen;   // "requirements.txt"
  std::string image;  // "python:3.12-slim"
  std::string start;  // "CMD [\"python\", \"app.py\"]"
};

// The first that matches, in Railpack's order of providers.
[[nodiscard]] std::optional<Ecosystem> find_ecosystem(const SourceTree& tree);

}  // namespace atlasflow::builder
