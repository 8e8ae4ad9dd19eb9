#include "backup/log_contents.hpp"

#include <algorithm>
#include <limits>

#include <nlohmann/json.hpp>

#include "backup/state_files.hpp"
#include "base/running_digest.hpp"
#include "inspect/json.hpp"
#include "storage/readmodel/retention.hpp"

namespace atlasflow::backup {
namespace {

using inspect::Json;

constexpr std::size_t k_all = std::numeric_limits<std::size_t>::max();
// Of an image's manifest: far above any.
constexpr std::size_t k_image_manifest_bytes_max = 4U << 20U;

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

  // Names what is missing of the blob and below it.
  Result<void> look(const std::string& image, const std::string& digest, bool is_manifest,
                    std::vector<std::string>& missing) const {
    constexpr std::string_view k_algorithm = "sha256:";
    const auto blob =
        blobs_.find(digest.starts_with(k_algorithm) ? digest.substr(k_algorithm.size()) : digest);
    if (blob == blobs_.end()) {
      missing.push_back("of the image " + image + ": " + digest);
      return {};
    }
    if (!is_manifest || blob->second.bytes > k_image_manifest_bytes_max) return {};
    std::string text;
    ATLAS_TRYV(objects_.read(blob->second, [&text](std::string_view piece) -> Result<void> {
      text += piece;
      return {};
    }));
    const auto json = nlohmann::json::parse(text, nullptr, false);
    if (!json.is_object()) return {};
    if (json.contains("config")) ATLAS_TRYV(look_at(image, json["config"], false, missing));
    for (const auto& layer : json.value("layers", nlohmann::json::array())) {
      ATLAS_TRYV(look_at(image, layer, false, missing));
    }
    for (const auto& manifest : json.value("manifests", nlohmann::json::array())) {
      ATLAS_TRYV(look_at(image, manifest, true, missing));
    }
    return {};
  }

 private:
  Result<void> look_at(const std::string& image, const nlohmann::json& descriptor, bool is_manifest,
                       std::vector<std::string>& missing) const {
    if (!descriptor.is_object() || !descriptor.contains("digest") ||
        !descriptor["digest"].is_string()) {
      return {};
    }
    return look(image, descriptor["digest"].get<std::string>(), is_manifest, missing);
  }

  std::map<std::string, Object, std::less<>> blobs_;
  const ObjectStore& objects_;
};

LogNeeds needs_of(const storage::Catalog& catalog, std::size_t rollbacks) {
  LogNeeds needs;
  needs.sealed = storage::sealed_values_of(catalog, rollbacks).needed;
  needs.images = storage::retention_of(catalog, rollbacks).image_references;
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
    for (const auto& deployment : catalog.deployments_of(project.state.id, k_all)) {
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
    ATLAS_TRYV(search.look(image.str(), image.str().substr(at + 1), true, missing));
  }
  return missing;
}

}  // namespace atlasflow::backup
