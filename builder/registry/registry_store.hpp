// What lies in the folder of our own registry, read from its files: the registry has no call that
// lists manifests without a tag. The layout is Distribution's "v2" (registry/storage/paths.go).
// Internal to builder/; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/registry/registry.hpp"

namespace atlasflow::builder {

struct RegistryManifest {
  std::string repository;
  std::string digest;  // "sha256:…"
  [[nodiscard]] std::string name() const { return repository + "@" + digest; }
};

// In no order. blobs: the registry's root directory.
[[nodiscard]] std::vector<RegistryManifest> manifests_without_need(
    const std::filesystem::path& blobs, const RegistryKeep& keep);

// Removes what has a name and no manifest: repositories, tags and revisions. The registry itself
// leaves a revision's name behind when it deletes it. It takes a manifest in three steps, the
// manifest, its tag, what the tag leads to, and deletes it in as many: killed in between, it leaves
// a tag that leads nowhere, which it would not remove with any manifest, or one whose link is
// empty, for which it would refuse to delete every other manifest of the repository. Nobody may
// push meanwhile; a push that is repeated writes them anew.
void remove_empty_names(const std::filesystem::path& blobs);

}  // namespace atlasflow::builder
