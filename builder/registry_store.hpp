// What lies in the folder of our own registry, read from its files: the registry has no call that
// lists manifests without a tag. The layout is Distribution's "v2" (registry/storage/paths.go).
// Internal to builder/; any thread.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "builder/registry.hpp"

namespace atlasflow::builder {

struct RegistryManifest {
  std::string repository;
  std::string digest;  // "sha256:…"
  [[nodiscard]] std::string name() const { return repository + "@" + digest; }
};

// In no order. blobs: the registry's root directory.
[[nodiscard]] std::vector<RegistryManifest> manifests_without_need(
    const std::filesystem::path& blobs, const RegistryKeep& keep);

// Repositories that have no manifest any more: what is left of them is names. Nobody may push
// meanwhile.
void remove_empty_repositories(const std::filesystem::path& blobs);

}  // namespace atlasflow::builder
