#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <set>
#include <shared_mutex>

#include "actors/projects/sealed_env.hpp"
#include "base/deadline.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "builder/source/clone_log.hpp"
#include "builder/source/mirror.hpp"
#include "builder/source/remote_head.hpp"
#include "builder/source/repository_config.hpp"
#include "builder/source/watch_paths.hpp"
#include "events/ssh_address.hpp"
#include "github/skip_marker.hpp"
#include "receive/repositories.hpp"
#include "server/engines.hpp"
#include "server/github_app.hpp"

namespace atlasflow::server {
namespace fs = std::filesystem;

namespace {

// The project's settings with what the checkout's atlasflow.toml changes in them.
Result<void> read_settings(const actors::SourceJob& job, const fs::path& checkout,
                           pb::Cloned& cloned) {
  auto settings = with_defaults(job.settings);
  ATLAS_TRY(const auto config, builder::read_repository_config(checkout));
  if (config) {
    auto merged = apply_repository_config(settings, *config);
    if (!merged) {
      // Each line is right by itself: it is the sum of file and project that is not.
      return fail(ErrorCode::user_error,
                  std::string(builder::k_repository_config) +
                      " and the project's settings together: " + merged.error().message);
    }
    settings = *std::move(merged);
  }
  *cloned.mutable_settings() = std::move(settings);
  cloned.set_has_config(config.has_value());
  return {};
}

// Nothing when the disk does not say.
std::optional<std::int64_t> mib_free_on(const fs::path& folder) {
  std::error_code error;
  const auto space = fs::space(folder, error);
  if (error) return std::nullopt;
  return static_cast<std::int64_t>(space.available >> 20U);
}

constexpr auto k_wait_for_registry = std::chrono::seconds(10);

// An error's text stands in the log for ever, where no path of this machine belongs.
Error without_place(Error error, const std::string& place) {
  for (auto* text : {&error.message, &error.cause}) {
    for (auto at = text->find(place); at != std::string::npos; at = text->find(place, at)) {
      text->replace(at, place.size(), "the project's repository");
    }
  }
  return error;
}

}  // namespace

TimestampUs SystemClock::now() const {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

std::string LocalBuildEngine::place_of(const std::string& url) const {
  const auto owner = owner_of_repository(url);
  return owner.empty() ? url : receive::repository_path(config_.repositories, owner.str()).string();
}

Result<actors::ResolvedRef> LocalBuildEngine::resolve(const ProjectState& project,
                                                      const std::string& branch,
                                                      std::chrono::milliseconds at_most) {
  const auto& url = project.repository_url;
  const auto place = place_of(url);
  Deadline deadline({}, at_most);
  auto head =
      builder::remote_head(place, branch, credential_for(project.id, url, deadline.token()),
                           host_key_check_for(project.id, deadline.token()), deadline.token());
  if (head) return actors::ResolvedRef{std::move(head->ref), std::move(head->sha)};
  if (is_own_repository(url)) {
    if (head.error().code != ErrorCode::not_found) {
      return tl::unexpected(without_place(head.error(), place));
    }
    return fail(ErrorCode::not_found,
                "nothing was pushed to branch '" + branch + "' of the project yet; push it first");
  }
  if (!deadline.passed()) return tl::unexpected(head.error());
  return fail(ErrorCode::unavailable,
              url + " did not say within " + std::to_string(at_most.count() / 1000) +
                  " s where its branches stand; try again in a moment",
              head.error().cause);
}

builder::CredentialSource LocalBuildEngine::credential_for(const ProjectId& project,
                                                           const std::string& url,
                                                           std::stop_token stop) const {
  builder::CredentialSource app;
  if (config_.app != nullptr && !is_ssh_url(url)) app = clone_credential(*config_.app, url, stop);
  if (config_.access == nullptr) return app;
  return config_.access->credential_of(project, url, std::move(app), std::move(stop));
}

builder::HostKeyCheck LocalBuildEngine::host_key_check_for(const ProjectId& project,
                                                           std::stop_token stop) const {
  if (config_.access == nullptr) return {};
  return config_.access->host_key_check_of(project, std::move(stop));
}

namespace {

// For the log of a clone, which shows no path of this machine, and nothing that somebody may have
// written before an "@".
std::string name_of_source(const actors::SourceJob& job) {
  constexpr std::size_t k_sha_digits = 12;
  const auto& url = job.repository_url;
  const bool is_shown =
      !is_own_repository(url) && (is_ssh_url(url) || url.find('@') == std::string::npos);
  return job.sha.substr(0, k_sha_digits) + (job.ref.empty() ? "" : " of " + job.ref) + " from " +
         (is_shown ? url : "the project's repository");
}

}  // namespace

Result<builder::Checkout> LocalBuildEngine::check_out(const actors::SourceJob& job,
                                                      const fs::path& folder,
                                                      const std::stop_token& stop) const {
  builder::CheckoutRequest request;
  request.url = place_of(job.repository_url);
  request.sha = job.sha;
  request.ref = job.ref;
  request.base_sha = job.base_sha;
  request.folder = folder;
  Deadline deadline(stop, job.remaining);
  const ProjectId project(job.project_id);
  request.credential = credential_for(project, job.repository_url, deadline.token());
  request.host_key = host_key_check_for(project, deadline.token());
  if (!config_.mirrors.empty() && config_.mirrors_bytes_max > 0 && !job.project.empty()) {
    request.mirror = config_.mirrors / job.project;
    request.mirror_owner = job.project_id;
  }
  builder::CloneLog log(config_.logs, job.effect.str(), name_of_source(job));
  request.progress = [&log](const auto& progress) { log.tell(progress); };
  auto checkout = builder::check_out(request, deadline.token());
  if (checkout) {
    log.done(*checkout);
    return checkout;
  }
  auto error = std::move(checkout.error());
  if (deadline.passed()) {
    error = {ErrorCode::timed_out,
             job.repository_url +
                 " did not send the commit in time; try again, or make the "
                 "repository smaller",
             error.cause};
  } else if (is_own_repository(job.repository_url)) {
    error = without_place(std::move(error), request.url);
  }
  log.failed(error);
  return tl::unexpected(std::move(error));
}

Result<pb::Cloned> LocalBuildEngine::clone(const actors::SourceJob& job, std::stop_token stop) {
  ATLAS_TRYV(check_disk());
  const auto folder = config_.work / job.deployment.str();
  const auto checkout = check_out(job, folder, stop);
  if (!checkout) return tl::unexpected(checkout.error());
  pb::Cloned cloned;
  cloned.set_sha(checkout->sha);
  cloned.set_subject(checkout->subject);
  cloned.set_author(checkout->author);
  cloned.set_size_bytes(static_cast<std::int64_t>(checkout->size_bytes));
  for (const auto& notice : checkout->notices) cloned.add_notices(notice);
  ATLAS_TRYV(read_settings(job, folder, cloned));
  if (const auto marker = github::skip_marker(checkout->message); marker && job.is_pushed) {
    cloned.set_skip_reason("the commit's message says " + *marker);
    return cloned;
  }
  const auto& globs = cloned.settings().watch_paths();
  const auto verdict =
      builder::judge_changes(checkout->changed_paths, job.base_sha, {globs.begin(), globs.end()});
  if (!verdict.notice.empty()) cloned.add_notices(verdict.notice);
  cloned.set_skip_reason(verdict.skip_reason);
  return cloned;
}

namespace {

// Such as "production": a name rather than a secret, and hiding it would hide words of the build.
bool is_plain_word(std::string_view value) {
  constexpr std::size_t k_letters_max = 12;
  return value.size() <= k_letters_max &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 'a' && c <= 'z'; });
}

}  // namespace

Result<void> LocalBuildEngine::open_values(const actors::SourceJob& job,
                                           builder::BuildRequest& request) const {
  for (const auto& [name, entry] : job.secrets) {
    auto value =
        secrets_.open(actors::build_secret_context(job.project_id, name), entry.sealed_ref);
    if (!value) {
      auto error = value.error();
      error.message = "the build secret " + name + " can't be opened: " + error.message +
                      "; set it again with 'atlasflow build-secret set " + job.project + " " +
                      name + " < FILE' and redeploy";
      return tl::unexpected(error);
    }
    request.secrets.push_back({name, entry.digest, Secret(*std::move(value))});
  }
  for (const auto& [name, entry] : job.env) {
    // One that does not open is in nobody's hands; the start of the app says so.
    auto value = secrets_.open(actors::env_context(job.project_id, name), entry.sealed_ref);
    if (value && !is_plain_word(*value)) request.hidden.emplace_back(*std::move(value));
  }
  return {};
}

Result<pb::Built> LocalBuildEngine::build(const actors::SourceJob& job, std::stop_token stop) {
  ATLAS_TRYV(check_disk());
  builder::BuildRequest request;
  request.build_id = job.effect.str();
  request.folder = config_.work / job.deployment.str();
  request.project = job.project;
  request.store = job.store;
  request.is_of_fork = job.from_fork;
  request.project_id = job.project_id;
  request.root_folder = job.settings.root_folder();
  request.dockerfile = job.settings.dockerfile();
  request.build_target = job.settings.build_target();
  request.static_folder = job.settings.static_folder();
  request.static_fallback = job.settings.static_fallback();
  request.install_command = job.settings.install_command();
  request.build_command = job.settings.build_command();
  request.start_command = job.settings.start_command();
  request.no_cache = job.no_cache;
  request.source = builder::source_of(request.folder, job.sha);
  request.earlier = job.earlier;
  for (const auto& arg : job.settings.build_args()) {
    request.build_args.emplace_back(arg.name(), arg.value());
  }
  ATLAS_TRYV(open_values(job, request));
  request.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(job.remaining);
  const auto started = std::chrono::steady_clock::now();
  ATLAS_TRY(auto image, images_.build(request, std::move(stop)));
  pb::Built built;
  built.set_image_id(image.image_id);
  built.set_stack(image.stack);
  built.set_stack_reason(image.stack_reason);
  for (const auto& notice : image.notices) built.add_notices(notice);
  built.set_toolchain(images_.toolchain());
  for (const auto& used : image.base_images) {
    auto* base = built.add_base_images();
    base->set_name(used.name);
    base->set_digest(used.digest);
  }
  for (const auto& used : image.secrets) {
    auto* secret = built.add_secrets();
    secret->set_name(used.name);
    secret->set_digest(used.digest);
  }
  built.set_inputs(image.inputs);
  built.set_reused_from(image.reused_from);
  built.set_reuse_reason(image.reuse_reason);
  built.set_duration_us(std::chrono::duration_cast<std::chrono::microseconds>(
                            std::chrono::steady_clock::now() - started)
                            .count());
  return built;
}

Result<pb::ImagePushed> LocalBuildEngine::push(const std::string& image_id,
                                               const std::string& repository,
                                               std::stop_token stop) {
  const std::shared_lock pushes(gate_);
  ATLAS_TRY(auto image, images_.push(image_id, config_.registry, repository, std::move(stop)));
  pb::ImagePushed pushed;
  pushed.set_reference(image.reference);
  pushed.set_digest(image.digest);
  pushed.set_size_bytes(static_cast<std::int64_t>(image.size_bytes));
  return pushed;
}

std::vector<actors::SourceRemains> LocalBuildEngine::inventory() {
  using Kind = actors::SourceRemains::Kind;
  std::set<actors::SourceRemains> found;
  for (auto& build_id : images_.leftovers()) found.insert({Kind::build, std::move(build_id)});
  // A checkout is a folder and files beside it, all named after the deployment.
  for (const auto& name : names_if_any(config_.work)) {
    found.insert({Kind::checkout, name.substr(0, name.find('.'))});
  }
  return {found.begin(), found.end()};
}

void LocalBuildEngine::reap(const actors::SourceRemains& remains) {
  if (remains.kind == actors::SourceRemains::Kind::build) {
    images_.reap(remains.name);
  } else {
    forget(DeploymentId(remains.name));
  }
}

void LocalBuildEngine::forget(const DeploymentId& deployment) {
  for (const auto& name : names_if_any(config_.work)) {
    if (name.substr(0, name.find('.')) != deployment.str()) continue;
    const fs::path path = config_.work / name;
    std::error_code error;
    fs::remove_all(path, error);
    if (error) {
      log_event(
          LogLevel::warn, "builder", "checkout_not_removed",
          {{"deployment", deployment.str()}, {"path", path.string()}, {"cause", error.message()}});
    }
  }
}

Result<void> LocalBuildEngine::check_disk() const {
  const auto free_mib = mib_free_on(config_.work);
  if (!free_mib || *free_mib >= config_.min_free_mib) return {};
  return fail(ErrorCode::unavailable, "the disk of " + config_.work.string() + " has " +
                                          std::to_string(*free_mib) + " MiB free; builds need " +
                                          std::to_string(config_.min_free_mib) +
                                          " MiB: free space or lower builder.min_free_mib");
}

Result<std::vector<std::string>> LocalBuildEngine::collect_registry(const actors::KeepSource& keep,
                                                                    const std::stop_token& stop) {
  const std::unique_lock alone(gate_, k_wait_for_registry);
  if (!alone) return fail(ErrorCode::unavailable, "the registry is in use; it is cleaned up later");
  ATLAS_TRY(const auto kept, keep());
  builder::RegistryKeep images{{}, kept.image_ids};
  for (const auto& image : kept.image_references) images.references.insert(image.str());
  return config_.own_registry->collect(images, stop);
}

// They may be fetched again: with too little room they all go.
Result<std::vector<std::string>> LocalBuildEngine::collect_clones(
    const actors::KeepSource& keep, const std::stop_token& stop) const {
  if (config_.mirrors.empty()) return std::vector<std::string>();
  const auto projects = [&keep]() -> Result<std::set<std::string>> {
    ATLAS_TRY(auto kept, keep());
    return std::move(kept.projects);
  };
  return builder::collect_mirrors(config_.mirrors, projects,
                                  check_disk() ? config_.mirrors_bytes_max : 0, stop);
}

Result<std::vector<std::string>> LocalBuildEngine::collect_images(const actors::KeepSource& keep,
                                                                  std::stop_token stop) {
  // With too little room the build cache goes whole: it costs time, and its lack no builds at all.
  const auto cache_bytes_max = check_disk() ? config_.cache_bytes_max : 0;
  auto removed = images_.collect(
      [&keep]() -> Result<builder::StoreKeep> {
        ATLAS_TRY(const auto kept, keep());
        builder::StoreKeep store{kept.image_ids, {}, kept.projects};
        for (const auto& deployment : kept.unfinished) store.owners.insert(deployment.str());
        return store;
      },
      cache_bytes_max, stop);
  if (stop.stop_requested()) return removed;
  // Builds may run for long; neither the clones nor the registry need wait for them.
  const auto add = [&removed](Result<std::vector<std::string>> more) {
    if (!removed) return;
    if (!more) {
      removed = std::move(more);
      return;
    }
    removed->insert(removed->end(), more->begin(), more->end());
  };
  add(collect_clones(keep, stop));
  if (config_.own_registry != nullptr && !stop.stop_requested()) add(collect_registry(keep, stop));
  return removed;
}

std::string LocalBuildEngine::describe() const {
  return images_.isolation() + " isolation, " + images_.toolchain() + ", registry " +
         config_.registry + (config_.registry_healthy() ? "" : " does not answer");
}

}  // namespace atlasflow::server
