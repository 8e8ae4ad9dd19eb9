// How the builder starts and how it cleans up: the probe of a rung, leftovers, reap.
#include <algorithm>
#include <iterator>

#include <unistd.h>

#include "base/file.hpp"
#include "base/log.hpp"
#include "builder/image/buildah_builder.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_probe_deadline{60 * 1000};

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

std::vector<ImageStore> BuildahBuilder::project_stores() const {
  std::vector<ImageStore> stores;
  for (const auto& name : names_if_any(projects_folder())) {
    stores.emplace_back(projects_folder() / name);
  }
  return stores;
}

void BuildahBuilder::clean_up_in(const ImageStore& store, const std::string& build_id) {
  std::vector<std::string> ids;
  for (const ImageStore::Container& container : store.containers()) {
    if (container.hooks_name == build_id) ids.push_back(container.id);
  }
  if (ids.empty()) return;
  if (auto scratch = make_scratch(build_id)) buildah_.remove_containers(store, ids, *scratch);
}

void BuildahBuilder::clean_up(const std::string& build_id) {
  if (!cgroup_of(build_id).remove()) {
    log_event(LogLevel::error, "builder", "build_stuck",
              {{"build_id", build_id}, {"reason", "processes in its cgroup do not end"}});
  }
  for (const ImageStore& store : project_stores()) clean_up_in(store, build_id);
  const fs::path scratch = scratch_folder() / build_id;
  std::error_code error;
  fs::remove_all(scratch, error);
  if (error)
    log_event(LogLevel::warn, "builder", "scratch_left",
              {{"build_id", build_id}, {"reason", error.message()}});
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
  for (const ImageStore& store : project_stores()) {
    for (const ImageStore::Container& container : store.containers())
      names.insert(container.hooks_name);
  }
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
  fs::remove_all(probe_folder(), error);
  clear_unnamed_in(bases_);
  for (const ImageStore& store : project_stores()) {
    store.forget_secrets();
    clear_unnamed_in(store);
  }
}

void BuildahBuilder::clear_unnamed_in(const ImageStore& store) {
  std::vector<std::string> ids;
  for (const ImageStore::Container& container : store.containers()) {
    if (container.hooks_name.empty()) ids.push_back(container.id);
  }
  std::vector<std::string> half_written;
  for (const ImageStore::Image& image : store.images()) {
    if (!image.is_whole) half_written.push_back(image.id);
  }
  if (ids.empty() && half_written.empty()) return;
  if (auto scratch = make_scratch("push.clear")) {
    buildah_.remove_containers(store, ids, *scratch);
    remove_images(store, half_written, *scratch, {});
    std::error_code error;
    fs::remove_all(*scratch, error);
  }
}

Result<void> BuildahBuilder::prepare() {
  std::error_code error;
  if (fs::is_directory(bases_.storage() / "overlay-layers", error)) return {};
  ATLAS_TRY(auto scratch, make_scratch("push.prepare"));
  auto made = buildah_.prepare(bases_, scratch);
  fs::remove_all(scratch, error);
  return made;
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
  const ImageStore store(probe_folder());            // Of no project, and it does not stay.
  request.folder = scratch_folder() / "push.probe";  // Cleared at the next start, like a push's.
  auto attempt = [&]() -> Result<void> {
    ATLAS_TRY(auto scratch, make_scratch(build_id));
    std::error_code error;
    fs::create_directories(request.folder, error);
    fs::copy_file(busybox, request.folder / "busybox", fs::copy_options::overwrite_existing, error);
    if (error) return fail(ErrorCode::internal, "cannot prepare the probe", error.message());
    ATLAS_TRY(auto log, BuildLog::open(scratch, build_id));
    // The pid is in it, so that no cached layer takes the place of the RUN step.
    auto written =
        write_text(scratch / "Dockerfile",
                   "FROM scratch\nCOPY busybox /busybox\nRUN [\"/busybox\", \"echo\", \"" +
                       build_id + std::to_string(calls_.fetch_add(1)) + "\"]\n")
            .and_then([&] { return write_text(scratch / "ignore", ""); });
    if (!written) return written;
    auto image = run_build(request, store, {}, scratch, log, Clock::now() + k_probe_deadline, {});
    if (!image) {
      Error failure = image.error();
      failure.cause =
          log.tail().substr(log.tail().size() - std::min<std::size_t>(log.tail().size(), 600)) +
          failure.cause;
      return tl::unexpected(failure);
    }
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
      log_event(LogLevel::warn, "builder", "build_without_network",
                {{"reason", to_string(with_network)}});
    } else {
      network_works_ = true;
    }
  }
  std::error_code ignored;
  fs::remove_all(request.folder, ignored);
  fs::remove_all(probe_folder(), ignored);
  return result;
}

}  // namespace atlasflow::builder
