// Gets one commit of a repository into a folder, by libgit2. Blocking; any thread; one call per
// folder.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/fetch.hpp"

namespace atlasflow::builder {

struct CheckoutRequest {
  std::string url;               // https://, http://, SSH, file:// or a path; no credentials in it
  std::string sha;               // 40 hex digits
  std::string ref;               // "refs/heads/main": fetched first, so that sha is likely in it
  std::string base_sha;          // the commit to tell changed_paths from; empty: none
  std::filesystem::path folder;  // ends up holding exactly the tree of sha, without .git
  CredentialSource credential;   // asked only when the remote wants one
  HostKeyCheck host_key = {};    // of an SSH remote
  std::uint64_t limit_bytes = 2ULL << 30;  // of received data and of the tree
  // Keeps what was fetched for the next checkout of that owner and URL; one folder an owner
  // (builder/source/mirror.hpp). Empty: nothing is kept.
  std::filesystem::path mirror = {};
  std::string mirror_owner = {};
  OnFetchProgress progress = {};
};

struct Checkout {
  std::string sha;
  std::string subject;               // first line of the message, at most 200 bytes
  std::string message;               // all of it, at most 64 KiB
  std::string author;                // name only
  std::uint64_t size_bytes = 0;      // of the files
  std::vector<std::string> notices;  // e.g. "submodule 'vendor/x' was left out: …"
  // That differ from base_sha, by the trees of both commits. nullopt: no base was given, the remote
  // has it no more, or more than 100 000 paths differ.
  std::optional<std::vector<std::string>> changed_paths;
  // The same for the same files: git's name of the commit's tree, and a digest of what was left
  // out.
  std::string source;
  std::uint64_t received_objects = 0;  // by this call
  std::uint64_t received_bytes = 0;
};

// Idempotent: a folder from an earlier, unfinished call is cleared; one that is complete and at sha
// is kept and returned. user_error or not_found: no such repository, no such commit, access denied;
// unavailable: the remote does not answer; cancelled: stop was requested.
[[nodiscard]] Result<Checkout> check_out(const CheckoutRequest& request,
                                         const std::stop_token& stop);

// `source` of the finished checkout of that commit in the folder; empty when there is none.
[[nodiscard]] std::string source_of(const std::filesystem::path& folder, const std::string& sha);

}  // namespace atlasflow::builder
