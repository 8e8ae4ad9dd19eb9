#include "builder/registry/registry_store.hpp"

#include <set>

#include "base/file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t k_link_bytes_max = 1'024;  // of "sha256:" and 64 digits

// Repositories are one word deep: pushes name them after projects.
fs::path repositories_in(const fs::path& blobs) {
  return blobs / "docker" / "registry" / "v2" / "repositories";
}

fs::path revisions_in(const fs::path& repository) {
  return repository / "_manifests" / "revisions" / "sha256";
}
fs::path tags_in(const fs::path& repository) { return repository / "_manifests" / "tags"; }

// The digest that a link names; empty when there is no such file.
std::string read_link(const fs::path& path) {
  return read_file(path, k_link_bytes_max).value_or("");
}

// Whether the repository has the manifest "sha256:…".
bool has_manifest(const fs::path& repository, const std::string& digest) {
  static const std::string k_algorithm = "sha256:";
  return digest.starts_with(k_algorithm) &&
         read_link(revisions_in(repository) / digest.substr(k_algorithm.size()) / "link") == digest;
}

std::vector<std::string> digests_of(const fs::path& repository) {
  std::vector<std::string> digests;
  for (const auto& hex : names_if_any(revisions_in(repository))) {
    if (has_manifest(repository, "sha256:" + hex)) digests.push_back("sha256:" + hex);
  }
  return digests;
}

// "registry:5000/shop@sha256:…" without what is before the repository.
std::string without_registry(const std::string& reference) {
  return reference.substr(reference.find('/') + 1);
}

}  // namespace

std::vector<RegistryManifest> manifests_without_need(const fs::path& blobs,
                                                     const RegistryKeep& keep) {
  std::set<std::string> wanted;
  for (const auto& reference : keep.references) wanted.insert(without_registry(reference));
  std::vector<RegistryManifest> unwanted;
  for (const auto& repository : names_if_any(repositories_in(blobs))) {
    const fs::path folder = repositories_in(blobs) / repository;
    for (const auto& tag : names_if_any(tags_in(folder))) {
      if (!keep.image_ids.contains("sha256:" + tag)) continue;
      wanted.insert(repository + "@" + read_link(tags_in(folder) / tag / "current" / "link"));
    }
    for (const auto& digest : digests_of(folder)) {
      RegistryManifest manifest{repository, digest};
      if (!wanted.contains(manifest.name())) unwanted.push_back(std::move(manifest));
    }
  }
  return unwanted;
}

void remove_empty_names(const fs::path& blobs) {
  std::error_code error;
  for (const auto& repository : names_if_any(repositories_in(blobs))) {
    const fs::path folder = repositories_in(blobs) / repository;
    if (digests_of(folder).empty()) {
      fs::remove_all(folder, error);
      continue;
    }
    for (const auto& hex : names_if_any(revisions_in(folder))) {
      if (!has_manifest(folder, "sha256:" + hex)) fs::remove_all(revisions_in(folder) / hex, error);
    }
    for (const auto& tag : names_if_any(tags_in(folder))) {
      const auto digest = read_link(tags_in(folder) / tag / "current" / "link");
      if (!has_manifest(folder, digest)) fs::remove_all(tags_in(folder) / tag, error);
    }
  }
}

}  // namespace atlasflow::builder
