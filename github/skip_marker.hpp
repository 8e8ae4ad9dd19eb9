// Whether a commit's message asks that nothing is deployed: GitHub's own markers, read as GitHub
// does. Pure, any thread. Source: docs.github.com, "Skipping workflow runs".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::github {

// The marker that is in the message of the head commit: "[skip ci]", "[ci skip]", "[no ci]", "[skip
// actions]", "[actions skip]" anywhere in it, whatever the case, or "skip-checks: true" (also
// "skip-checks:true") as a trailer: a line of the last paragraph, behind an empty line, that is all
// trailers. Nothing when there is none.
[[nodiscard]] std::optional<std::string> skip_marker(std::string_view message);

}  // namespace atlasflow::github
