#include "vmm/image/image.hpp"

#include <algorithm>
#include <optional>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "vmm/hypervisor/process.hpp"

namespace atlasflow::vmm {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uintmax_t k_document_bytes_max = 16U << 20;

bool is_hex_digest(std::string_view hex) {
  return hex.size() == 64 && std::all_of(hex.begin(), hex.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// "sha256:<64 hex>" -> the hex part. What goes into a path is checked here.
std::optional<std::string> digest_hex(std::string_view digest) {
  constexpr std::string_view k_algorithm = "sha256:";
  if (!digest.starts_with(k_algorithm)) return std::nullopt;
  digest.remove_prefix(k_algorithm.size());
  if (!is_hex_digest(digest)) return std::nullopt;
  return std::string(digest);
}

Result<fs::path> blob_path(const fs::path& blobs, const std::string& digest) {
  const auto hex = digest_hex(digest);
  if (!hex) return fail(ErrorCode::corrupt, "the image names a blob by a bad digest", digest);
  return blobs / "sha256" / *hex;
}

Result<json> read_json(const fs::path& path) {
  ATLAS_TRY(const auto text, read_file(path, k_document_bytes_max));
  json document = json::parse(text, nullptr, false);
  if (document.is_discarded()) {
    return fail(ErrorCode::corrupt, "a document of the image is not JSON; build it again");
  }
  return document;
}

// What is in dir; any failure means "pull it (again)".
Result<PulledImage> open_image(const fs::path& layout, const fs::path& blobs) {
  try {
    ATLAS_TRY(const auto index, read_json(layout / "index.json"));
    ATLAS_TRY(const auto manifest_path,
              blob_path(blobs, index.at("manifests").at(0).at("digest").get<std::string>()));
    ATLAS_TRY(const auto manifest, read_json(manifest_path));
    ATLAS_TRY(const auto config_path,
              blob_path(blobs, manifest.at("config").at("digest").get<std::string>()));
    ATLAS_TRY(const auto config_text, read_file(config_path, k_document_bytes_max));
    ATLAS_TRY(auto config, parse_image_config(config_text));

    PulledImage image;
    image.folder = layout;
    image.blobs = {manifest_path, config_path};
    const json& layers = manifest.at("layers");
    if (layers.size() != config.diff_ids.size()) {
      return fail(ErrorCode::corrupt, "the image's layers and configuration do not agree");
    }
    for (std::size_t i = 0; i < layers.size(); ++i) {
      ATLAS_TRY(const auto path, blob_path(blobs, layers.at(i).at("digest").get<std::string>()));
      if (!digest_hex(config.diff_ids[i])) {
        return fail(ErrorCode::corrupt, "the image names a layer by a bad digest");
      }
      std::error_code ignored;
      if (!fs::exists(path, ignored)) return fail(ErrorCode::not_found, "a blob is missing");
      image.layers.push_back({path, config.diff_ids[i]});
      image.blobs.push_back(path);
    }
    image.config = std::move(config);
    return image;
  } catch (const json::exception& error) {
    return fail(ErrorCode::corrupt, "the image's manifest is not readable; build it again",
                error.what());
  }
}

// What the image's reference says by its digest: the name of its folder.
Result<std::string> folder_of(const std::string& image) {
  const std::size_t at = image.rfind('@');
  const auto hex = at == std::string::npos ? std::nullopt : digest_hex(image.substr(at + 1));
  if (hex && at != 0 && image.front() != '-') return *hex;
  return fail(ErrorCode::invalid_argument,
              "the image '" + image + "' names no digest; use <registry>/<name>@sha256:…");
}

}  // namespace

Result<PulledImage> find_pulled_image(const std::string& image, const fs::path& dir) {
  ATLAS_TRY(const auto folder, folder_of(image));
  return open_image(dir / folder, dir / "blobs");
}

Result<PulledImage> pull_image(const std::string& image, bool plain_http, const fs::path& dir,
                               const std::stop_token& stop) {
  ATLAS_TRY(const auto folder, folder_of(image));
  const fs::path layout = dir / folder;
  const fs::path blobs = dir / "blobs";
  if (auto there = open_image(layout, blobs)) return there;

  ATLAS_TRYV(make_folder(blobs));
  const fs::path temporary = temporary_beside(layout);
  const auto copied = run_tool(
      {"skopeo", "--insecure-policy", "copy", "--quiet", "--retry-times", "2",
       plain_http ? "--src-tls-verify=false" : "--src-tls-verify=true", "--dest-shared-blob-dir",
       blobs.string(), "docker://" + image, "oci:" + temporary.string() + ":image"},
      std::chrono::minutes(10), stop);
  std::error_code ignored;
  if (!copied) {
    fs::remove_all(temporary, ignored);
    if (copied.error().code != ErrorCode::internal) return tl::unexpected<Error>(copied.error());
    const bool unknown = copied.error().cause.find("manifest unknown") != std::string::npos ||
                         copied.error().cause.find("name unknown") != std::string::npos;
    if (unknown) {
      return fail(ErrorCode::not_found,
                  "the registry does not have the image " + image + "; build it again",
                  copied.error().cause);
    }
    return fail(ErrorCode::unavailable, "cannot pull the image " + image + " from its registry",
                copied.error().cause);
  }
  auto opened = open_image(temporary, blobs);
  if (opened) {
    opened->folder = layout;
    // Two threads may have pulled the same: both are whole, the later one stays.
    fs::remove_all(layout, ignored);
    fs::rename(temporary, layout, ignored);
  }
  fs::remove_all(temporary, ignored);
  return opened;
}

}  // namespace atlasflow::vmm
