// Fetches one commit of a remote repository into a local object store, by libgit2. Internal to
// builder/; blocking, any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string>

#include "base/error.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/git_handles.hpp"

namespace atlasflow::builder {

// How far one is.
struct FetchProgress {
  std::uint64_t objects = 0;  // received, of objects_total, which is 0 before the first
  std::uint64_t objects_total = 0;
  std::uint64_t bytes = 0;   // received
  std::uint64_t deltas = 0;  // put together, of deltas_total, which is 0 until all are received
  std::uint64_t deltas_total = 0;
  std::string remote = {};  // what the remote says that it does meanwhile: any bytes
};
using OnFetchProgress = std::function<void(const FetchProgress&)>;

struct FetchOrder {
  std::string url;
  std::string sha;
  std::string ref;                // fetched first; empty: the commit is asked for by name at once
  CredentialSource credential;    // asked only when the remote wants one
  HostKeyCheck host_key;          // of an SSH remote
  std::uint64_t limit_bytes = 0;  // of received data
  OnFetchProgress progress = {};  // told often, on the same thread
};

// What came of it, whether it failed or not.
struct FetchReport {
  std::uint64_t objects = 0;  // received
  std::uint64_t bytes = 0;    // received
  bool is_fetched = false;    // the commit is there
  // It failed, and by nothing that the object store has or lacks.
  bool is_of_the_remote = false;
};

// A store that has something already is sent only what it lacks; a commit that it has is taken once
// the remote let us in. user_error or not_found: no such repository, no such commit, access denied;
// too_large: more than limit_bytes, or 10 million objects; unavailable: the remote does not answer;
// cancelled: stop was requested, and the cause says how far it was.
[[nodiscard]] Result<git::Commit> fetch_commit(git_repository* repository, const FetchOrder& order,
                                               const std::stop_token& stop,
                                               FetchReport* report = nullptr);

}  // namespace atlasflow::builder
