#include "builder/image/image_store.hpp"

#include <algorithm>
#include <map>
#include <utility>

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include "base/file.hpp"
#include "base/rfc3339.hpp"
#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_state_bytes_max = 8U << 20U;
constexpr std::size_t k_index_bytes_max = 64U << 20U;
constexpr const char* k_outdated_file = "outdated";  // RFC 3339: layers made until then are
constexpr std::size_t k_time_bytes_max = 64;
constexpr std::uint64_t k_block_bytes = 512;  // of st_blocks, whatever the file system's are

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

std::uint64_t size_of(const nlohmann::json& layer) {
  const auto size = layer.find("diff-size");
  return size != layer.end() && size->is_number_unsigned() ? size->get<std::uint64_t>() : 0;
}

// It becomes part of a path and of an argument list.
bool is_id(const std::string& id) {
  return id.size() == 64 && id.find_first_not_of("0123456789abcdef") == std::string::npos;
}

}  // namespace

nlohmann::json ImageStore::state_file(const std::string& name) const {
  const auto text = read_source_file(storage(), name, k_index_bytes_max);
  if (!text || !*text) return nlohmann::json::array();
  auto json = nlohmann::json::parse(**text, nullptr, false);
  if (!json.is_array()) return nlohmann::json::array();
  json.erase(std::remove_if(json.begin(), json.end(),
                            [](const auto& entry) { return !entry.is_object(); }),
             json.end());
  return json;
}

std::vector<ImageStore::Image> ImageStore::images() const {
  std::map<std::string, std::string> parents;  // layer to the one below
  for (const auto& layer : state_file("overlay-layers/layers.json")) {
    parents[text_of(layer, "id")] = text_of(layer, "parent");
  }
  std::vector<Image> found;
  std::vector<std::string> tops;
  std::set<std::string> inner;
  for (const auto& image : state_file("overlay-images/images.json")) {
    Image entry;
    entry.id = text_of(image, "id");
    entry.digest = text_of(image, "digest");
    entry.layer = text_of(image, "layer");
    entry.created = text_of(image, "created");
    if (!is_id(entry.id)) continue;
    // The manifest is written after the image's record, layers and configuration.
    std::error_code error;
    const auto manifest =
        fs::symlink_status(storage() / "overlay-images" / entry.id / "manifest", error);
    entry.is_whole = fs::exists(manifest);
    if (const auto names = image.find("names"); names != image.end() && names->is_array()) {
      for (const auto& name : *names) {
        if (name.is_string()) entry.names.push_back(name.get<std::string>());
      }
    }
    tops.push_back(entry.layer);
    for (auto layer = parents[tops.back()]; !layer.empty() && inner.insert(layer).second;) {
      layer = parents[layer];
    }
    found.push_back(std::move(entry));
  }
  for (std::size_t i = 0; i < found.size(); ++i) found[i].is_inner = inner.contains(tops[i]);
  return found;
}

std::set<std::string> ImageStore::image_names() const {
  std::set<std::string> names;
  for (const auto& image : images()) names.insert(image.names.begin(), image.names.end());
  return names;
}

std::uint64_t ImageStore::layers_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& layer : state_file("overlay-layers/layers.json")) bytes += size_of(layer);
  return bytes;
}

std::uint64_t ImageStore::cache_mounts_bytes() const { return use_of(cache_mounts()).bytes; }

std::set<std::string> ImageStore::layers_built_upon() const {
  std::set<std::string> found;
  for (const auto& layer : state_file("overlay-layers/layers.json")) {
    found.insert(text_of(layer, "parent"));
  }
  // One that only changes the configuration has no layer of its own.
  for (const auto& image : images()) found.insert(image.layer);
  found.erase("");
  return found;
}

Result<void> ImageStore::outdate_layers() const {
  std::optional<std::int64_t> newest;
  for (const auto& image : images()) newest = std::max(newest, parse_rfc3339_us(image.created));
  if (!newest) return {};
  return replace_file(folder_ / k_outdated_file, rfc3339(*newest), 0600);
}

std::optional<std::chrono::microseconds> ImageStore::layer_age_max() const {
  using std::chrono::microseconds;
  const auto text = read_source_file(folder_, k_outdated_file, k_time_bytes_max);
  if (text && !*text) return std::nullopt;
  const auto until = text ? parse_rfc3339_us(**text) : std::nullopt;
  if (!until) return microseconds(0);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::max(std::chrono::duration_cast<microseconds>(now) - microseconds(*until),
                  microseconds(0));
}

std::vector<ImageStore::Pulled> ImageStore::pulled_images() const {
  std::vector<Pulled> found;
  for (auto& image : images()) {
    std::error_code error;
    const auto used = fs::last_write_time(mark_of(image.id), error);
    if (!error) found.push_back({std::move(image), used});
  }
  std::sort(found.begin(), found.end(),
            [](const Pulled& a, const Pulled& b) { return a.used < b.used; });
  return found;
}

std::uint64_t ImageStore::pulled_bytes() const {
  struct Layer {
    std::string parent;
    std::uint64_t bytes = 0;
  };
  std::map<std::string, Layer> layers;
  for (const auto& layer : state_file("overlay-layers/layers.json")) {
    layers[text_of(layer, "id")] = {text_of(layer, "parent"), size_of(layer)};
  }
  std::uint64_t bytes = 0;
  for (const auto& pulled : pulled_images()) {
    // Each counts once, so that what is taken out is what images share.
    for (auto at = layers.find(pulled.image.layer); at != layers.end();) {
      bytes += at->second.bytes;
      const auto parent = at->second.parent;
      layers.erase(at);
      at = layers.find(parent);
    }
  }
  return bytes;
}

Result<void> ImageStore::note_pulled(const std::string& image_id) const {
  const auto mark = mark_of(image_id);
  return make_folder(mark.parent_path()).and_then([&] {
    return replace_file(mark, "", 0600, Sync::skipped);
  });
}

void ImageStore::note_used(const std::string& image_id) const {
  std::error_code ignored;  // There is no such file for an image that was brought.
  fs::last_write_time(mark_of(image_id), fs::file_time_type::clock::now(), ignored);
}

void ImageStore::forget_pulled(const std::string& image_id) const {
  std::error_code ignored;
  fs::remove(mark_of(image_id), ignored);
}

// Read from the store's files, not by `buildah containers`, which does not tell what a container is
// for.
std::vector<ImageStore::Container> ImageStore::containers() const {
  std::vector<Container> found;
  for (const auto& container : state_file("overlay-containers/containers.json")) {
    Container entry{text_of(container, "id"), {}};
    if (!is_id(entry.id)) continue;
    const auto state = read_source_file(
        storage(), "overlay-containers/" + entry.id + "/userdata/buildah.json", k_state_bytes_max);
    if (state && *state) {
      const auto parsed = nlohmann::json::parse(**state, nullptr, false);
      const auto hooks = nlohmann::json::json_pointer("/CommonBuildOpts/OCIHooksDir/0");
      if (parsed.is_object() && parsed.contains(hooks) && parsed[hooks].is_string()) {
        entry.hooks_name = fs::path(parsed[hooks].get<std::string>()).filename().string();
      }
    }
    found.push_back(std::move(entry));
  }
  return found;
}

void ImageStore::forget_secrets() const {
  const auto folder = storage() / "overlay-containers";
  std::error_code ignored;  // What cannot be removed goes with its container.
  for (const auto& name : names_if_any(folder)) {
    if (is_id(name)) fs::remove_all(folder / name / "userdata" / "secrets", ignored);
  }
}

FolderUse use_of(const fs::path& folder) {
  FolderUse use;
  std::error_code error;
  constexpr auto k_options = fs::directory_options::skip_permission_denied;
  for (fs::recursive_directory_iterator i(folder, k_options, error), end; !error && i != end;
       i.increment(error)) {
    struct stat status {};
    if (::lstat(i->path().c_str(), &status) != 0) continue;
    use.bytes += static_cast<std::uint64_t>(status.st_blocks) * k_block_bytes;
    ++use.files;
  }
  return use;
}

}  // namespace atlasflow::builder
