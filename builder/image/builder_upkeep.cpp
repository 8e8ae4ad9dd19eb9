// How the builder starts and how it cleans up: the probe of a rung, leftovers, reap.
#include <algorithm>
#include <iterator>

#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/file.hpp"
#include "builder/image/buildah_builder.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_probe_deadline{60 * 1000};
constexpr milliseconds k_remove_deadline{120 * 1000};
constexpr milliseconds k_wait_for_builds{5 * 1000};
constexpr std::size_t k_words_max = 400;

}  // namespace

bool is_build_id(const std::string& id) {
  return !id.empty() && id.size() <= 48 && std::all_of(id.begin(), id.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

std::string image_hex(const std::string& image_id) {
  return image_id.starts_with("sha256:") ? image_id.substr(7) : image_id;
}

Result<void> write_text(const fs::path& path, const std::string& text) {
  // Not synced: what is in a scratch folder is of no use after a power cut.
  return replace_file(path, text, 0644, Sync::skipped);
}

// ---- cleaning up
// ---------------------------------------------------------------------------------

void BuildahBuilder::clean_up(const std::string& build_id) {
  if (!cgroup_of(build_id).remove()) {
    spdlog::error("event=build_stuck build_id={} reason=\"processes in its cgroup do not end\"",
                  build_id);
  }
  std::vector<std::string> ids;
  for (const Buildah::Container& container : buildah_.containers()) {
    if (container.hooks_name == build_id) ids.push_back(container.id);
  }
  const fs::path scratch = scratch_folder() / build_id;
  if (!ids.empty()) {
    if (auto made = make_scratch(build_id)) buildah_.remove_containers(ids, scratch);
  }
  std::error_code error;
  fs::remove_all(scratch, error);
  if (error)
    spdlog::warn("event=scratch_left build_id={} reason=\"{}\"", build_id, error.message());
}

void BuildahBuilder::reap(const std::string& build_id) {
  if (!is_build_id(build_id)) return;
  std::unique_lock guard(mutex_);
  if (const auto found = active_.find(build_id); found != active_.end()) {
    found->second.request_stop();
    ended_.wait(guard, [&] { return !active_.contains(build_id); });
  }
  // Taken, so that no build of this name starts meanwhile.
  active_.emplace(build_id, std::stop_source{});
  guard.unlock();
  clean_up(build_id);
  guard.lock();
  active_.erase(build_id);
  ended_.notify_all();
}

std::vector<std::string> BuildahBuilder::leftovers() {
  std::set<std::string> names;
  for (auto& name : names_if_any(scratch_folder())) names.insert(std::move(name));
  for (const std::string& name : Cgroup::names(cgroups_, k_build_cgroups)) {
    if (name.starts_with(cgroup_tag_)) names.insert(name.substr(cgroup_tag_.size()));
  }
  for (const Buildah::Container& container : buildah_.containers())
    names.insert(container.hooks_name);
  std::vector<std::string> left;
  const std::lock_guard guard(mutex_);
  std::copy_if(names.begin(), names.end(), std::back_inserter(left),
               [this](const std::string& name) {
                 return is_build_id(name) && !active_.contains(name);  // "push.…" is no build id.
               });
  return left;
}

void BuildahBuilder::clear_unnamed() {
  std::error_code error;
  for (const auto& name : names_if_any(scratch_folder())) {
    if (name.starts_with("push.")) fs::remove_all(scratch_folder() / name, error);
  }
  std::vector<std::string> ids;
  for (const Buildah::Container& container : buildah_.containers()) {
    if (container.hooks_name.empty()) ids.push_back(container.id);
  }
  std::vector<std::string> half_written;
  for (const Buildah::Image& image : buildah_.images()) {
    if (!image.is_whole) half_written.push_back(image.id);
  }
  if (ids.empty() && half_written.empty()) return;
  const std::string name = "push.clear";
  if (auto scratch = make_scratch(name)) {
    buildah_.remove_containers(ids, *scratch);
    remove_images(half_written, *scratch, {});
    fs::remove_all(*scratch, error);
  }
}

// ---- collecting
// ---------------------------------------------------------------------------------

namespace {

// "localhost/atlasflow/<project>:<build_id>", as run_bud names what it builds.
constexpr std::string_view k_own_images = "localhost/atlasflow/";

bool is_made_by_an_owner(const std::string& name, const StoreKeep& keep) {
  const std::string build_id = name.substr(name.rfind(':') + 1);
  return keep.owners.contains(build_id.substr(0, build_id.rfind("-v")));
}

}  // namespace

void BuildahBuilder::remove_images(const std::vector<std::string>& names, const fs::path& scratch,
                                   const std::stop_token& stop) const {
  constexpr std::size_t k_at_once = 50;
  for (std::size_t i = 0; i < names.size() && !stop.stop_requested(); i += k_at_once) {
    Buildah::Call call;
    call.arguments = {"rmi"};
    const std::size_t end = std::min(names.size(), i + k_at_once);
    for (std::size_t k = i; k < end; ++k) call.arguments.push_back(names[k]);
    call.scratch = scratch;
    call.deadline = k_remove_deadline;
    call.stop = stop;
    std::string output;
    const auto ran = buildah_.run(call, [&output](std::string_view text) {
      if (output.size() < k_words_max) output += text;
    });
    if (!ran || ran->exit_code != 0) {
      spdlog::warn("event=images_not_removed reason=\"{}\"",
                   ran ? output.substr(0, k_words_max) : to_string(ran.error()));
    }
  }
}

// An image that another one is built upon goes with that one, so leaves are asked for only, each
// once: what cannot be removed is in use.
void BuildahBuilder::shrink_cache(const StoreKeep& keep, std::uint64_t bytes_max,
                                  const fs::path& scratch, const std::stop_token& stop) const {
  constexpr std::size_t k_at_once = 8;
  std::set<std::string> tried;
  while (buildah_.layers_bytes() > bytes_max && !stop.stop_requested()) {
    auto images = buildah_.images();
    std::sort(images.begin(), images.end(),
              [](const auto& a, const auto& b) { return a.created < b.created; });
    std::vector<std::string> oldest;
    for (const auto& image : images) {
      if (oldest.size() == k_at_once) break;
      if (image.names.empty() && !image.is_inner &&
          !keep.image_ids.contains("sha256:" + image.id) && tried.insert(image.id).second) {
        oldest.push_back(image.id);
      }
    }
    if (oldest.empty()) return;
    remove_images(oldest, scratch, stop);
  }
}

Result<std::vector<std::string>> BuildahBuilder::collect(
    const std::function<Result<StoreKeep>()>& keep, std::uint64_t cache_bytes_max,
    std::stop_token stop) {
  const std::unique_lock alone(store_, k_wait_for_builds);
  if (!alone) {
    return fail(ErrorCode::unavailable, "builds are running; images are removed another time");
  }
  const auto kept = keep();
  if (!kept) return tl::unexpected(kept.error());
  const auto before = buildah_.images();
  std::vector<std::string> unneeded;
  for (const auto& image : before) {
    if (kept->image_ids.contains("sha256:" + image.id)) continue;
    // Nobody writes one now: a build was ended while it did.
    if (!image.is_whole) unneeded.push_back(image.id);
    for (const auto& name : image.names) {
      if (name.starts_with(k_own_images) && !is_made_by_an_owner(name, *kept)) {
        // By its name and not by its id: an image that has another one besides stays.
        unneeded.push_back(name);
      }
    }
  }
  const bool too_large = buildah_.layers_bytes() > cache_bytes_max;
  if (unneeded.empty() && !too_large) return std::vector<std::string>{};
  const std::string name = "push.collect";  // cleared at the next start, like a push's
  auto scratch = make_scratch(name);
  if (!scratch) return tl::unexpected(scratch.error());
  remove_images(unneeded, *scratch, stop);
  shrink_cache(*kept, cache_bytes_max, *scratch, stop);
  std::error_code ignored;
  fs::remove_all(*scratch, ignored);
  std::set<std::string> left;
  for (const auto& image : buildah_.images()) left.insert(image.id);
  std::vector<std::string> removed;
  for (const auto& image : before) {
    if (!left.contains(image.id)) {
      removed.push_back(image.names.empty() ? "layers " + image.id.substr(0, 12)
                                            : image.names.front());
    }
  }
  return removed;
}

// ---- the probe
// -----------------------------------------------------------------------------------

Result<void> BuildahBuilder::probe() {
  const std::string busybox = find_program("busybox");
  if (busybox.empty()) {
    return fail(ErrorCode::unavailable,
                "busybox-static is not installed; script/bootstrap installs it");
  }
  const std::string build_id = "probe-" + std::to_string(::getpid());
  BuildRequest request;
  request.build_id = build_id;
  request.project = "probe";
  request.folder = scratch_folder() / "push.probe";  // Cleared at the next start, like a push's.
  auto attempt = [&]() -> Result<void> {
    auto scratch = make_scratch(build_id);
    if (!scratch) return tl::unexpected(scratch.error());
    std::error_code error;
    fs::create_directories(request.folder, error);
    fs::copy_file(busybox, request.folder / "busybox", fs::copy_options::overwrite_existing, error);
    if (error) return fail(ErrorCode::internal, "cannot prepare the probe", error.message());
    auto log = BuildLog::open(*scratch, build_id);
    if (!log) return tl::unexpected(log.error());
    // The pid is in it, so that no cached layer takes the place of the RUN step.
    auto written =
        write_text(*scratch / "Dockerfile",
                   "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"echo\", \"" +
                       build_id + std::to_string(calls_.fetch_add(1)) + "\"]\n")
            .and_then([&] { return write_text(*scratch / "ignore", ""); });
    if (!written) return written;
    auto image = run_bud(request, *scratch, *log, Clock::now() + k_probe_deadline, {});
    if (!image) {
      Error failure = image.error();
      failure.cause =
          log->tail().substr(log->tail().size() - std::min<std::size_t>(log->tail().size(), 600)) +
          failure.cause;
      return tl::unexpected(failure);
    }
    Buildah::Call call;
    call.arguments = {"rmi", "--force", image_hex(*image)};
    call.scratch = *scratch;
    [[maybe_unused]] const auto removed = buildah_.run(call, [](std::string_view) {});
    return {};
  };
  auto result = attempt();
  clean_up(build_id);
  if (!result && config_.network) {
    const Error with_network = result.error();
    network_works_ = false;
    result = attempt();
    clean_up(build_id);
    if (result) {
      spdlog::warn("event=build_without_network reason=\"{}\"", to_string(with_network));
    } else {
      network_works_ = true;
    }
  }
  std::error_code ignored;
  fs::remove_all(request.folder, ignored);
  return result;
}

}  // namespace atlasflow::builder
