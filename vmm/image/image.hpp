// Images from the registry, by digest. Blocking, any thread.
#pragma once

#include <filesystem>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "vmm/disk/config_drive.hpp"
#include "vmm/image/layers.hpp"

namespace atlasflow::vmm {

struct PulledImage {
  ImageConfig config;
  std::vector<LayerBlob> layers;             // bottom first
  std::filesystem::path folder;              // of its OCI layout
  std::vector<std::filesystem::path> blobs;  // all of them: manifest, configuration, layers
};

// Pulls into dir (blobs are shared between images) unless it is there already. image must name a
// digest. not_found: the registry does not have it. unavailable: the registry does not answer.
[[nodiscard]] Result<PulledImage> pull_image(const std::string& image, bool plain_http,
                                             const std::filesystem::path& dir,
                                             const std::stop_token& stop);

// The same of an image that is whole in dir; asks no registry. not_found, corrupt.
[[nodiscard]] Result<PulledImage> find_pulled_image(const std::string& image,
                                                    const std::filesystem::path& dir);

}  // namespace atlasflow::vmm
