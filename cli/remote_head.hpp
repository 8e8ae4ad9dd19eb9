// Asks a remote repository where its branches stand, without fetching anything. Blocking; any
// thread.
#pragma once

#include <string>

#include "actors/runtime/engines.hpp"
#include "base/error.hpp"

namespace atlasflow::cli {

// The head of the branch; an empty branch: of the remote's default one. not_found: no such
// repository or branch, or an empty repository; unavailable: the remote does not answer.
[[nodiscard]] Result<actors::ResolvedRef> remote_head(const std::string& url,
                                                      const std::string& branch);

}  // namespace atlasflow::cli
