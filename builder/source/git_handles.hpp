// RAII for libgit2's handles and the once-only set-up of the library. Internal to builder/. Any
// thread; a handle belongs to the thread that uses it.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>

#include <git2.h>

#include "base/error.hpp"

namespace atlasflow::builder::git {

template <auto Free>
struct Deleter {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using Repository = std::unique_ptr<git_repository, Deleter<git_repository_free>>;
using Remote = std::unique_ptr<git_remote, Deleter<git_remote_free>>;
using Commit = std::unique_ptr<git_commit, Deleter<git_commit_free>>;
using Tree = std::unique_ptr<git_tree, Deleter<git_tree_free>>;
using Blob = std::unique_ptr<git_blob, Deleter<git_blob_free>>;
using ObjectDatabase = std::unique_ptr<git_odb, Deleter<git_odb_free>>;

// Starts libgit2 for the life of the process: without the machine's git configuration (a user's
// insteadOf, proxy or filter must not change what is deployed) and without the owner check (the
// repositories that we read belong to others; we run nothing that lies in them).
void start_library();

// A bare repository in a new folder, for the objects that are fetched.
[[nodiscard]] Result<Repository> make_repository(const std::filesystem::path& path);

// What libgit2 said last on this thread; empty when it said nothing.
[[nodiscard]] std::string last_message();

}  // namespace atlasflow::builder::git
