// One containers-storage and what belongs to it: a project's own, or the base images that all
// share. What lies in it was written by builds, so its files are read as foreign ones: no link is
// followed and no name believed. Internal to builder/; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"

namespace atlasflow::builder {

class ImageStore {
 public:
  explicit ImageStore(std::filesystem::path folder) : folder_(std::move(folder)) {}

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path storage() const { return folder_ / "storage"; }
  // What buildah knows of the registry's blobs.
  [[nodiscard]] std::filesystem::path cache() const { return folder_ / "cache"; }
  // What RUN --mount=type=cache keeps between builds.
  [[nodiscard]] std::filesystem::path cache_mounts() const { return folder_ / "mounts"; }

  struct Image {
    std::string id;  // 64 hex digits
    std::vector<std::string> names;
    std::string digest;     // of its manifest
    std::string layer;      // the topmost; of the store itself, or of one that it reads
    std::string created;    // RFC 3339 in UTC, so that the text's order is the time's
    bool is_inner = false;  // another image is built upon it
    bool is_whole = true;   // false: buildah writes it just now, or was killed while it did
  };
  // From the store's files, which change as a whole; one image that is not whole makes `buildah
  // images` fail for all.
  [[nodiscard]] std::vector<Image> images() const;
  // All names of all images in the store.
  [[nodiscard]] std::set<std::string> image_names() const;
  // Of all its own layers, unpacked, as the store has written them down.
  [[nodiscard]] std::uint64_t layers_bytes() const;
  // Of what cache mounts keep.
  [[nodiscard]] std::uint64_t cache_mounts_bytes() const;
  // The layers that its layers and images are directly upon, also those of a store that it reads.
  [[nodiscard]] std::set<std::string> layers_built_upon() const;

  // Of a project's store: builds that begin from now on take no layer that is in it now. buildah
  // takes the oldest layer that fits, so those of a build without the cache would never be found.
  [[nodiscard]] Result<void> outdate_layers() const;
  // How long ago a layer may have been made that a build may take; none: as long as it likes, zero:
  // it takes none.
  [[nodiscard]] std::optional<std::chrono::microseconds> layer_age_max() const;

  // Of a store of base images: which were pulled, and so can be pulled again, and when a build last
  // started from them. It is a file for each beside the store, and its time.
  struct Pulled {
    Image image;
    std::filesystem::file_time_type used;
  };
  // Those first that were used longest ago.
  [[nodiscard]] std::vector<Pulled> pulled_images() const;
  // Of all their layers, unpacked.
  [[nodiscard]] std::uint64_t pulled_bytes() const;
  // It was pulled just now.
  [[nodiscard]] Result<void> note_pulled(const std::string& image_id) const;
  // A build starts from it; nothing for one that was brought.
  void note_used(const std::string& image_id) const;
  // It is gone.
  void forget_pulled(const std::string& image_id) const;

  // Working containers, each with the hooks name of the build that made it; empty when that is not
  // known (the build was ended before it wrote it down).
  struct Container {
    std::string id;
    std::string hooks_name;
  };
  [[nodiscard]] std::vector<Container> containers() const;
  // Removes buildah's copies of what steps mounted, which a build leaves that is killed. Nothing
  // may be building in the store.
  void forget_secrets() const;

 private:
  [[nodiscard]] nlohmann::json state_file(const std::string& name) const;
  [[nodiscard]] std::filesystem::path mark_of(const std::string& image_id) const {
    return folder_ / "pulled" / image_id;
  }

  std::filesystem::path folder_;
};

// What the folder's files take on the disk, in bytes, and how many they are; links are not
// followed, and what cannot be read counts nothing.
struct FolderUse {
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
};
[[nodiscard]] FolderUse use_of(const std::filesystem::path& folder);

}  // namespace atlasflow::builder
