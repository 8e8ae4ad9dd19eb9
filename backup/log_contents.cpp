#include "backup/log_contents.hpp"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "backup/state_files.hpp"
#include "base/json_depth.hpp"
#include "base/running_digest.hpp"
#include "inspect/json.hpp"
#include "storage/readmodel/retention.hpp"

namespace atlasflow::backup {
namespace {

using inspect::Json;

constexpr std::size_t k_all = std::numeric_limits<std::size_t>::max();
// Of an image's manifest: far above any.
constexpr std::size_t k_image_manifest_bytes_max = 4U << 20U;
constexpr int k_image_manifest_depth_max = 64;

void add_json(RunningDigest& digest, const Json& json) {
  digest.add(json.dump(-1, ' ', false, Json::error_handler_t::replace));
  digest.add("\n");
}

// Looks for an image's manifest and everything that it names (OCI Image Manifest, Image Index).
class ImageSearch {
 public:
  ImageSearch(const std::vector<SavedFile>& files, const ObjectStore& objects) : objects_(objects) {
    for (const auto& file : files) {
      if (const auto digest = digest_by_name(file.path); !digest.empty()) {
        blobs_.emplace(digest, file.object);
      }
    }
  }

  // Names what is missing of the image. Each blob is looked at once, however often it is named: one
  // that is not what its name says may name itself.
  Result<void> look(const std::string& image, const std::string& digest,
                    std::vector<std::string>& missing) const {
    std::vector<Named> left{{digest, true}};
    std::set<std::string> seen{digest};
    while (!left.empty()) {
      const auto blob = left.back();
      left.pop_back();
      const auto found = blobs_.find(hex_in(blob.digest));
      if (found == blobs_.end()) {
        missing.push_back("of the image " + image + ": " + blob.digest);
        continue;
      }
      if (!blob.is_manifest) continue;
      ATLAS_TRY(const auto named, named_in(found->second));
      for (const auto& each : named) {
        if (seen.insert(each.digest).second) left.push_back(each);
      }
    }
    return {};
  }

 private:
  struct Named {
    std::string digest;
    bool is_manifest = false;
  };

  static std::string_view hex_in(std::string_view digest) {
    constexpr std::string_view k_algorithm = "sha256:";
    if (digest.starts_with(k_algorithm)) digest.remove_prefix(k_algorithm.size());
    return digest;
  }

  // What a manifest or an index names; nothing when it is neither.
  Result<std::vector<Named>> named_in(const Object& blob) const {
    std::vector<Named> named;
    if (blob.bytes > k_image_manifest_bytes_max) return named;
    std::string text;
    ATLAS_TRYV(objects_.read(blob, [&text](std::string_view piece) -> Result<void> {
      text += piece;
      return {};
    }));
    if (nests_deeper_than(text, k_image_manifest_depth_max)) return named;
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) return named;
    const auto add = [&named](const nlohmann::json& descriptor, bool is_manifest) {
      if (!descriptor.is_object()) return;
      const auto digest = descriptor.find("digest");
      if (digest == descriptor.end() || !digest->is_string()) return;
      named.push_back({digest->get<std::string>(), is_manifest});
    };
    if (json.contains("config")) add(json["config"], false);
    for (const auto& layer : json.value("layers", nlohmann::json::array())) add(layer, false);
    for (const auto& each : json.value("manifests", nlohmann::json::array())) add(each, true);
    return named;
  }

  std::map<std::string, Object, std::less<>> blobs_;
  const ObjectStore& objects_;
};

// The catalog has everything in memory, so nothing of it can fail to be read.
LogNeeds needs_of(const storage::Catalog& catalog, std::size_t rollbacks) {
  LogNeeds needs;
  needs.sealed = storage::sealed_values_of(catalog, rollbacks).value().needed;
  needs.images = storage::retention_of(catalog, rollbacks).value().image_references;
  needs.sealed.erase("");
  needs.images.erase(ImageRef{});
  return needs;
}

}  // namespace

LogContents contents_of(const storage::Catalog& catalog) {
  LogContents contents;
  RunningDigest digest;
  for (const auto& project : catalog.every_project()) {
    add_json(digest, inspect::json_of(project.state));
    const auto deployments = catalog.deployments_of(project.state.id, k_all).value();
    for (const auto& deployment : deployments) {
      add_json(digest, inspect::json_of(deployment.state));
    }
  }
  contents.state = to_hex(bytes_of(digest.finish()));
  contents.needed = needs_of(catalog, 0);
  contents.worthwhile = needs_of(catalog, storage::k_rollbacks_default);
  return contents;
}

Result<std::string> state_digest_of(const storage::EventLog& log) {
  storage::Catalog catalog;
  ATLAS_TRYV(log.read_all(Position(1), [&](const storage::Record& record) {
    catalog.apply(record);
    return true;
  }));
  return contents_of(catalog).state;
}

Result<std::vector<std::string>> missing_of(const LogNeeds& needs,
                                            const std::vector<SavedFile>& files,
                                            const ObjectStore& objects, bool images) {
  std::set<std::string> paths;
  for (const auto& file : files) paths.insert(file.path);
  std::vector<std::string> missing;
  for (const auto& ref : needs.sealed) {
    if (!paths.contains(std::string(k_secrets_folder) + "/" + ref)) {
      missing.push_back("the sealed value " + ref);
    }
  }
  if (!images) return missing;
  const ImageSearch search(files, objects);
  for (const auto& image : needs.images) {
    const auto at = image.str().rfind('@');
    if (at == std::string::npos) continue;
    ATLAS_TRYV(search.look(image.str(), image.str().substr(at + 1), missing));
  }
  return missing;
}

}  // namespace atlasflow::backup
