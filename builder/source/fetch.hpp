// Fetches one commit of a remote repository into a local object store, by libgit2. Internal to
// builder/; blocking, any thread.
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

struct FetchOrder {
  std::string url;
  std::string sha;
  std::string ref;                // fetched first; empty: the commit is asked for by name at once
  CredentialSource credential;    // asked only when the remote wants one
  HostKeyCheck host_key;          // of an SSH remote
  std::uint64_t limit_bytes = 0;  // of received data
};

// user_error or not_found: no such repository, no such commit, access denied; too_large: more than
// limit_bytes, or 10 million objects; unavailable: the remote does not answer; cancelled: stop was
// requested, and the cause says how far it was.
[[nodiscard]] Result<git::Commit> fetch_commit(git_repository* repository, const FetchOrder& order,
                                               const std::stop_token& stop);

}  // namespace atlasflow::builder
