// Files in which a repository names the versions of its tools, for version managers (asdf, mise,
// pyenv, rbenv, nvm). Pure; any thread.
#pragma once

#include <string>
#include <vector>

#include "builder/stack/source_tree.hpp"
#include "builder/stack/stack_base.hpp"

namespace atlasflow::builder {

struct VersionFiles {
  std::vector<std::string> files;  // a version alone in its first line: {".python-version"}
  std::vector<std::string> tools;  // its names in .tool-versions and mise.toml: {"python"}
};

// At most one: the first of the files that names a version, then .tool-versions, mise.toml and
// .mise.toml. It is a wish, not a strict one. What can't be read as a version asks for nothing:
// "system", "latest".
[[nodiscard]] std::vector<VersionWish> wishes_of_files(const SourceTree& tree,
                                                       const VersionFiles& names);

// "3.12.1" of "python-3.12.1", "v22", "go1.22", "temurin-21.0.2+13"; empty when there is none.
[[nodiscard]] std::string version_in(const std::string& text);

}  // namespace atlasflow::builder
