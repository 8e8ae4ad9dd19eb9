// Asks a remote repository where its branches stand, without fetching anything. Blocking; any
// thread.
#pragma once

#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/remote_call.hpp"

namespace atlasflow::builder {

struct RemoteHead {
  std::string ref;  // "refs/heads/main"
  std::string sha;
};

// The head of the branch; an empty branch: of the remote's default one. not_found: no such
// repository or branch, or an empty repository; unavailable: the remote does not answer; too_large:
// it says more than refs_bytes_max before it is through; cancelled: stop was requested, which ends
// it at once. credential: asked when the remote wants a login; host_key: of an SSH remote.
[[nodiscard]] Result<RemoteHead> remote_head(const std::string& url, const std::string& branch,
                                             const CredentialSource& credential = {},
                                             const HostKeyCheck& host_key = {},
                                             const std::stop_token& stop = {},
                                             std::uint64_t refs_bytes_max = k_refs_bytes_max);

}  // namespace atlasflow::builder
