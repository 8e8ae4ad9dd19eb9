// Asks a remote repository where its branches stand, without fetching anything. Blocking; any
// thread.
#pragma once

#include <string>

#include "base/error.hpp"
#include "builder/source/credential.hpp"

namespace atlasflow::builder {

struct RemoteHead {
  std::string ref;  // "refs/heads/main"
  std::string sha;
};

// The head of the branch; an empty branch: of the remote's default one. not_found: no such
// repository or branch, or an empty repository; unavailable: the remote does not answer.
// credential: asked when the remote wants a login.
[[nodiscard]] Result<RemoteHead> remote_head(const std::string& url, const std::string& branch,
                                             const CredentialSource& credential = {});

}  // namespace atlasflow::builder
