#include "builder/registry_store.hpp"

#include <fstream>
#include <iterator>
#include <set>

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

// Names in a folder; none when there is no such folder.
std::vector<std::string> names_in(const fs::path& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (auto it = fs::directory_iterator(folder, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  return names;
}

// Repositories are one word deep: pushes name them after projects.
fs::path repositories_in(const fs::path& blobs) {
  return blobs / "docker" / "registry" / "v2" / "repositories";
}

std::vector<std::string> digests_of(const fs::path& repository) {
  const fs::path revisions = repository / "_manifests" / "revisions" / "sha256";
  std::vector<std::string> digests;
  std::error_code error;
  for (const auto& hex : names_in(revisions)) {
    if (fs::exists(revisions / hex / "link", error)) digests.push_back("sha256:" + hex);
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
  for (const auto& repository : names_in(repositories_in(blobs))) {
    const fs::path folder = repositories_in(blobs) / repository;
    for (const auto& tag : names_in(folder / "_manifests" / "tags")) {
      if (!keep.image_ids.contains("sha256:" + tag)) continue;
      std::ifstream link(folder / "_manifests" / "tags" / tag / "current" / "link");
      wanted.insert(repository + "@" + std::string(std::istreambuf_iterator<char>(link), {}));
    }
    for (const auto& digest : digests_of(folder)) {
      RegistryManifest manifest{repository, digest};
      if (!wanted.contains(manifest.name())) unwanted.push_back(std::move(manifest));
    }
  }
  return unwanted;
}

void remove_empty_repositories(const fs::path& blobs) {
  for (const auto& repository : names_in(repositories_in(blobs))) {
    std::error_code error;
    const fs::path folder = repositories_in(blobs) / repository;
    if (digests_of(folder).empty()) fs::remove_all(folder, error);
  }
}

}  // namespace atlasflow::builder
