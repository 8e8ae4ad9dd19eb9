// Which files of a state folder a backup holds beside the event log: what cannot be made again. Not
// in it: checkouts, build caches, microVMs, sockets, records of processes. Values; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::backup {

inline constexpr std::string_view k_secret_key = "secret.key";
inline constexpr std::string_view k_secrets_folder = "secrets";
// Of custom domains: certificates, accounts and orders, and the sealed values that they name.
inline constexpr std::string_view k_certificates_folder = "certificates";
// The repositories that are pushed to, each with its project's id.
inline constexpr std::string_view k_git_folder = "git";
// Of the registry's own layout, CNCF Distribution's "v2".
inline constexpr std::string_view k_registry_folder = "registry/blobs/docker/registry/v2";

struct StateFiles {
  std::vector<std::string> paths;     // of regular files, sorted, relative to the state folder
  std::vector<std::string> nameless;  // of branches and tags whose names are no UTF-8: left out
};
// keys: with those that open values or sign certificates. A file that goes meanwhile may be among
// them. invalid_argument: the name of another file is not UTF-8.
[[nodiscard]] Result<StateFiles> files_to_save(const std::filesystem::path& state, bool keys);

// Of these only what branches of repositories point to.
[[nodiscard]] Result<std::vector<std::string>> git_objects_to_save(
    const std::filesystem::path& state);

// Whether files_to_save() could have named it: what a manifest from elsewhere may restore.
[[nodiscard]] bool belongs_to_backup(std::string_view path);

// The SHA-256 that the registry's layout says the file has, in hex; empty where it says nothing.
[[nodiscard]] std::string_view digest_by_name(std::string_view path);

}  // namespace atlasflow::backup
