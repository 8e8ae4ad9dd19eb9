// A Procfile's processes, as Heroku has them: "web: command", one a line. Pure; any thread.
#pragma once

#include <optional>
#include <string>

#include "base/error.hpp"
#include "builder/stack/source_tree.hpp"

namespace atlasflow::builder {

struct StartCommand {
  std::string command;  // for sh
  std::string why;      // "the web process of Procfile"
};

// web, else worker, else the first that is not release; nullopt: there is no Procfile, or none in
// it. user_error: a line that is none of a process, a comment or empty.
[[nodiscard]] Result<std::optional<StartCommand>> procfile_start(const SourceTree& tree);
// It names what is to run before a version gets traffic.
[[nodiscard]] bool has_release_process(const SourceTree& tree);

}  // namespace atlasflow::builder
