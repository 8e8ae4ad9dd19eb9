// Layers of an image as read-only disks: a layer's tar is unpacked the way overlayfs stores a layer
// and packed as erofs, under its diff id, so that images which share a base share the disk and its
// page cache. Blocking, any thread; two threads that want one layer make it once.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::vmm {

struct LayerBlob {
  std::filesystem::path path;  // a tar, plain or compressed by gzip or zstd
  std::string diff_id;         // "sha256:…" of the uncompressed tar; verified
};

enum class WhiteoutStyle {
  overlayfs,  // a deletion becomes a char device 0:0 or an opaque mark, for a layer on its own
  apply,      // a deletion deletes what an earlier layer put there, for several layers in one tree
};

// Unpacks into root, which exists. Never writes outside it: absolute paths are taken as relative,
// and a path with "..", or one that leads through a symbolic link, is a user_error. Device nodes
// are left out. corrupt when the tar's digest is not diff_id.
[[nodiscard]] Result<void> unpack_layer(const LayerBlob& layer, const std::filesystem::path& root,
                                        WhiteoutStyle style, const std::stop_token& stop);

class LayerStore {
 public:
  // compress: lz4. Pays under KVM; under TCG the guest's CPU is the dearer part.
  LayerStore(std::filesystem::path dir, bool compress)
      : dir_(std::move(dir)), compress_(compress) {}

  // The disks that a guest stacks to the image, bottom first; at most k_disks_max of them: what is
  // more is merged at the bottom.
  [[nodiscard]] Result<std::vector<std::filesystem::path>> disks_for(
      const std::vector<LayerBlob>& layers, const std::stop_token& stop);

  // The file names of those disks, made or not.
  [[nodiscard]] static std::vector<std::string> disk_names(const std::vector<LayerBlob>& layers);

  static constexpr std::size_t k_disks_max = 12;  // of microvm's 24 virtio slots

 private:
  [[nodiscard]] Result<std::filesystem::path> disk_for(const std::vector<LayerBlob>& merged,
                                                       const std::stop_token& stop);
  std::shared_ptr<std::mutex> lock_of(const std::string& name);

  std::filesystem::path dir_;
  bool compress_;
  std::mutex mutex_;
  std::map<std::string, std::weak_ptr<std::mutex>> making_;
};

}  // namespace atlasflow::vmm
