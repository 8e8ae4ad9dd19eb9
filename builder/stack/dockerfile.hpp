// Reads a Dockerfile as Docker's own builder does, before anything runs: which stages the target
// needs, which images they start from, and the text that buildah is to read. What cannot be built
// is refused with its line; nothing is ignored silently. Pure; any thread.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "builder/stack/base_image.hpp"
#include "builder/stack/build_secret_id.hpp"

namespace atlasflow::builder {

// The name of a build context that stands for a file or folder of the build's own as it is now: for
// another content another name. "" where there is no such name.
using NameOfPart = std::function<Result<std::string>(const std::string& source)>;
inline constexpr std::string_view k_part_context = "atlasflow-context-";

struct DockerfileRequest {
  std::string name = "Dockerfile";  // for messages
  std::vector<std::pair<std::string, std::string>> build_args;
  std::string target;             // a stage's name in any case, or its number; empty: the last
  bool may_use_any_base = false;  // not check_base_image(): the operator chose the bases
  std::vector<std::string> start = {};  // in place of ENTRYPOINT and CMD; empty: theirs
  std::string project = {};             // for messages
  bool is_of_fork = false;              // likewise: such a build is given no secret
  SecretIds secrets = {};  // what steps may mount; a mount of another one is left out, as by Docker
  bool knows_secrets = true;     // else none is missed, and nothing is said of those left out
  NameOfPart name_of_part = {};  // of what steps mount; null: it has none
};

// What an instruction states, and where.
struct Stated {
  std::string value;
  int line = 0;

  friend bool operator==(const Stated&, const Stated&) = default;
};

struct DockerfilePlan {
  std::vector<std::string> stages;   // as written; one without a name has its number
  std::string target;                // buildah's --target; empty: the last stage
  std::vector<Stated> images;        // full names to have before the build, each once
  std::string text;                  // what buildah is to read
  std::string numbered;              // its lines as they are numbered in the file; empty: as `text`
  std::vector<std::string> notes;    // for the build log: what was left out, and where
  std::vector<std::string> notices;  // for the user: what the Dockerfile asks for and is not done
  std::vector<std::string> parts;    // build contexts that it needs, each the whole context
  bool copies_parents = false;       // it needs the program of builder/copy_parents
  bool adds_remote_files = false;    // ADD of a URL without a checksum: each build asks for it anew
};

// Images are those of the stages that the target needs: FROM (but not an earlier stage or
// scratch), COPY --from and RUN --mount=…,from=. user_error: "Dockerfile, line 3: " and the reason.
[[nodiscard]] Result<DockerfilePlan> plan_dockerfile(std::string_view dockerfile,
                                                     const DockerfileRequest& request);

}  // namespace atlasflow::builder
