// What of the projects' images goes, and what of their build cache when it is too large.
#include <algorithm>

#include "base/log.hpp"
#include "builder/image/buildah_builder.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_remove_deadline{120 * 1000};
constexpr milliseconds k_wait_for_builds{5 * 1000};
constexpr std::size_t k_words_max = 400;

// "localhost/atlasflow/<project>:<build_id>", as run_build names what it builds.
constexpr std::string_view k_own_images = "localhost/atlasflow/";

bool is_made_by_an_owner(const std::string& name, const StoreKeep& keep) {
  const std::string build_id = name.substr(name.rfind(':') + 1);
  return keep.owners.contains(build_id.substr(0, build_id.rfind("-v")));
}

bool is_kept(const ImageStore::Image& image, const StoreKeep& keep) {
  return keep.image_ids.contains("sha256:" + image.id) ||
         std::any_of(image.names.begin(), image.names.end(), [&keep](const std::string& name) {
           return name.starts_with(k_own_images) && is_made_by_an_owner(name, keep);
         });
}

// An image of the build cache that nothing is built upon, and whose it is.
struct CacheLeaf {
  std::string created;
  std::string id;
  std::size_t store = 0;
};

std::vector<CacheLeaf> cache_leaves(const std::vector<ImageStore>& stores, const StoreKeep& keep) {
  std::vector<CacheLeaf> leaves;
  for (std::size_t i = 0; i < stores.size(); ++i) {
    for (const auto& image : stores[i].images()) {
      if (image.names.empty() && !image.is_inner && !is_kept(image, keep)) {
        leaves.push_back({image.created, image.id, i});
      }
    }
  }
  std::sort(leaves.begin(), leaves.end(),
            [](const CacheLeaf& a, const CacheLeaf& b) { return a.created < b.created; });
  return leaves;
}

// Of what can be made or pulled again: the projects' layers and cache mounts, pulled base images.
std::uint64_t bytes_in(const std::vector<ImageStore>& stores, const ImageStore& bases) {
  std::uint64_t bytes = bases.pulled_bytes();
  for (const auto& store : stores) bytes += store.layers_bytes() + store.cache_mounts_bytes();
  return bytes;
}

std::string label_of(const ImageStore::Image& image) {
  return image.names.empty() ? "layers " + image.id.substr(0, 12) : image.names.front();
}

}  // namespace

void BuildahBuilder::remove_images(const ImageStore& store, const std::vector<std::string>& names,
                                   const fs::path& scratch, const std::stop_token& stop) const {
  constexpr std::size_t k_at_once = 50;
  for (std::size_t i = 0; i < names.size() && !stop.stop_requested(); i += k_at_once) {
    Buildah::Call call;
    call.arguments = {"rmi"};
    const std::size_t end = std::min(names.size(), i + k_at_once);
    for (std::size_t k = i; k < end; ++k) call.arguments.push_back(names[k]);
    call.store = &store;
    if (&store != &bases_) call.bases = &bases_;
    call.scratch = scratch;
    call.deadline = k_remove_deadline;
    call.stop = stop;
    std::string output;
    const auto ran = buildah_.run(call, [&output](std::string_view text) {
      if (output.size() < k_words_max) output += text;
    });
    if (!ran || ran->exit_code != 0) {
      log_event(LogLevel::warn, "builder", "images_not_removed",
                {{"store", store.folder().string()},
                 {"reason", ran ? output.substr(0, k_words_max) : to_string(ran.error())}});
    }
  }
}

std::vector<std::string> BuildahBuilder::collect_in(const ImageStore& store, const StoreKeep& keep,
                                                    const fs::path& scratch,
                                                    const std::stop_token& stop) const {
  const auto images = store.images();
  const bool is_needed = keep.projects.contains(store.folder().filename().string()) ||
                         std::any_of(images.begin(), images.end(),
                                     [&keep](const auto& image) { return is_kept(image, keep); });
  if (!is_needed) {
    std::error_code error;
    fs::remove_all(store.folder(), error);
    return {"the store of " + store.folder().filename().string()};
  }
  std::vector<std::string> unneeded;
  for (const auto& image : images) {
    if (keep.image_ids.contains("sha256:" + image.id)) continue;
    // Nobody writes one now: a build was ended while it did.
    if (!image.is_whole) unneeded.push_back(image.id);
    for (const auto& name : image.names) {
      if (name.starts_with(k_own_images) && !is_made_by_an_owner(name, keep)) {
        // By its name and not by its id: an image that has another one besides stays.
        unneeded.push_back(name);
      }
    }
  }
  if (unneeded.empty()) return {};
  remove_images(store, unneeded, scratch, stop);
  std::set<std::string> left;
  for (const auto& image : store.images()) left.insert(image.id);
  std::vector<std::string> removed;
  for (const auto& image : images) {
    if (!left.contains(image.id)) removed.push_back(label_of(image));
  }
  return removed;
}

// An image that another one is built upon goes with that one, so leaves are asked for only, each
// once: what cannot be removed is in use.
std::vector<std::string> BuildahBuilder::shrink_cache(const StoreKeep& keep,
                                                      std::uint64_t bytes_max,
                                                      const fs::path& scratch,
                                                      const std::stop_token& stop) const {
  constexpr std::size_t k_at_once = 8;
  const auto stores = project_stores();
  std::set<std::pair<std::size_t, std::string>> tried;
  std::vector<std::string> removed;
  while (bytes_in(stores, bases_) > bytes_max && !stop.stop_requested()) {
    std::vector<std::vector<std::string>> oldest(stores.size());
    std::size_t count = 0;
    for (const auto& leaf : cache_leaves(stores, keep)) {
      if (count == k_at_once) break;
      if (!tried.emplace(leaf.store, leaf.id).second) continue;
      oldest[leaf.store].push_back(leaf.id);
      ++count;
    }
    if (count == 0) break;
    for (std::size_t i = 0; i < stores.size(); ++i) {
      if (oldest[i].empty()) continue;
      remove_images(stores[i], oldest[i], scratch, stop);
      std::set<std::string> left;
      for (const auto& image : stores[i].images()) left.insert(image.id);
      for (const std::string& id : oldest[i]) {
        if (!left.contains(id)) removed.push_back("layers " + id.substr(0, 12));
      }
    }
  }
  for (const auto& store : stores) {
    if (bytes_in(stores, bases_) <= bytes_max || stop.stop_requested()) break;
    std::error_code error;
    if (fs::remove_all(store.cache_mounts(), error) > 1) {
      removed.push_back("cache mounts of " + store.folder().filename().string());
    }
  }
  return removed;
}

// Layers of projects are upon layers of base images and worth nothing without them, so a base image
// goes only when no store is built upon it.
std::vector<std::string> BuildahBuilder::shrink_bases(std::uint64_t bytes_max,
                                                      const fs::path& scratch,
                                                      const std::stop_token& stop) const {
  const auto stores = project_stores();
  std::set<std::string> needed;
  for (const auto& store : stores) needed.merge(store.layers_built_upon());
  std::vector<std::string> removed;
  for (const auto& pulled : bases_.pulled_images()) {
    if (bytes_in(stores, bases_) <= bytes_max || stop.stop_requested()) break;
    if (needed.contains(pulled.image.layer)) continue;
    // By its names: an id that has several does not go by itself.
    auto names = pulled.image.names;
    if (names.empty()) names = {pulled.image.id};
    remove_images(bases_, names, scratch, stop);
    const auto left = bases_.images();
    const bool is_gone = std::none_of(
        left.begin(), left.end(), [&](const auto& image) { return image.id == pulled.image.id; });
    if (!is_gone) continue;
    bases_.forget_pulled(pulled.image.id);
    removed.push_back(label_of(pulled.image));
  }
  return removed;
}

// What nothing is built upon goes first; without the cache, nothing may be built upon more of it.
std::vector<std::string> BuildahBuilder::shrink(const StoreKeep& keep, std::uint64_t bytes_max,
                                                const fs::path& scratch,
                                                const std::stop_token& stop) const {
  auto removed = shrink_bases(bytes_max, scratch, stop);
  for (auto& went : shrink_cache(keep, bytes_max, scratch, stop))
    removed.push_back(std::move(went));
  for (auto& went : shrink_bases(bytes_max, scratch, stop)) removed.push_back(std::move(went));
  return removed;
}

Result<std::vector<std::string>> BuildahBuilder::collect(
    const std::function<Result<StoreKeep>()>& keep, std::uint64_t cache_bytes_max,
    std::stop_token stop) {
  const std::unique_lock alone(stores_, k_wait_for_builds);
  if (!alone) {
    return fail(ErrorCode::unavailable, "builds are running; images are removed another time");
  }
  ATLAS_TRY(const auto kept, keep());
  auto scratch = make_scratch("push.collect");  // cleared at the next start, like a push's
  if (!scratch) return tl::unexpected(scratch.error());
  std::vector<std::string> removed;
  for (const auto& store : project_stores()) {
    if (stop.stop_requested()) break;
    const auto went = collect_in(store, kept, *scratch, stop);
    removed.insert(removed.end(), went.begin(), went.end());
  }
  const auto shrunk = shrink(kept, cache_bytes_max, *scratch, stop);
  removed.insert(removed.end(), shrunk.begin(), shrunk.end());
  std::error_code ignored;
  fs::remove_all(*scratch, ignored);
  return removed;
}

}  // namespace atlasflow::builder
