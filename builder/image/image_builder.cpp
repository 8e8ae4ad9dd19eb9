#include <algorithm>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <sstream>

#include <fcntl.h>
#include <nlohmann/json.hpp>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cgroup.hpp"
#include "base/log.hpp"
#include "builder/image/build_failure.hpp"
#include "builder/image/build_log.hpp"
#include "builder/image/build_watch.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/image/context_parts.hpp"
#include "builder/image/ignored_files.hpp"
#include "builder/source/source_file.hpp"
#include "builder/stack/build_secret_id.hpp"
#include "builder/stack/detect.hpp"
#include "builder/stack/dockerfile.hpp"
#include "events/earlier_builds.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_build_deadline_default{15 * 60 * 1000};
constexpr std::uint64_t k_files_max = 4'000'000;           // that one build makes
constexpr std::uint64_t k_output_bytes_max = 256U << 20U;  // that it prints; its log keeps 8 MiB
constexpr std::int64_t k_processes_max = 4096;             // of it at once; threads count too
constexpr std::size_t k_small_file_bytes_max = 4096;
constexpr const char* k_owner_file = "project";  // whose store it is: the project's id
// A build argument may have any name, and a variable of that name would be obeyed by buildah, by
// what it starts, or by the loader before them (LD_PRELOAD, PATH, GIT_SSH_COMMAND, STORAGE_OPTS).
// Names with one of these words in them are kept out of buildah's environment; a word too many
// costs nothing but a value among its arguments.
constexpr std::string_view k_obeyed_words[] = {
    "LD_",     "PATH",   "HOME",   "TMP",    "DIR",     "GLIBC",     "MALLOC",  "LOC",
    "LANG",    "LC_",    "NLS",    "NIS",    "TZ",      "RES",       "HOST",    "GO",
    "DEBUG",   "TRACE",  "ZONE",   "SSL",    "TLS",     "CERT",      "CA_",     "GIT",
    "SSH",     "GPG",    "PROXY",  "XDG",    "DBUS",    "LISTEN",    "NOTIFY",  "USER",
    "LOGNAME", "SHELL",  "ENV",    "IFS",    "BUILDAH", "CONTAINER", "STORAGE", "REGISTR",
    "DOCKER",  "PODMAN", "RUNC",   "OCI",    "CONF",    "AUTH",      "GNUPG",   "SELINUX",
    "FUSE",    "CNI",    "LIBPOD", "SOCKET", "KRB",     "CGROUP",    "SYSTEMD"};

bool may_be_obeyed(std::string name) {
  std::transform(name.begin(), name.end(), name.begin(), [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  });
  return name.starts_with('_') ||
         std::any_of(std::begin(k_obeyed_words), std::end(k_obeyed_words),
                     [&](std::string_view word) { return name.find(word) != std::string::npos; });
}

LogMask mask_of(const BuildRequest& request) {
  std::vector<std::string_view> values;
  for (const auto& secret : request.secrets) values.emplace_back(secret.value.reveal());
  for (const auto& value : request.hidden) values.emplace_back(value.reveal());
  return LogMask(values);
}

// Line by line, so that the lines keep their numbers.
std::string masked_lines(const LogMask& mask, const std::string& text) {
  std::istringstream lines(text);
  std::string masked;
  for (std::string line; std::getline(lines, line);) masked += mask.masked(line) + "\n";
  return masked;
}

// What is said of a build goes into events.
Error masked(const LogMask& mask, Error error) {
  error.message = mask.masked(error.message);
  error.cause = mask.masked(error.cause);
  return error;
}

// What is to be built, which images that needs, and what the image says of itself.
Result<DockerfilePlan> plan_of(const Stack& stack, const BuildRequest& request,
                               ContextParts& parts) {
  const bool is_ours = stack.name != "dockerfile";
  if (is_ours && !request.build_target.empty()) {
    return fail(ErrorCode::user_error, "build_target is '" + request.build_target +
                                           "', and there is no Dockerfile that could have such a "
                                           "stage (" +
                                           stack.reason + "); add one, or take build_target away");
  }
  if (is_ours) {
    DockerfilePlan plan;
    plan.text = stack.dockerfile;
    for (const auto& name : stack.base_images) plan.images.push_back({full_image_name(name), 0});
    return plan;
  }
  const auto name_of_part = [&parts](const std::string& source) -> Result<std::string> {
    ATLAS_TRY(const auto digest, parts.digest_of(source));
    return digest ? std::string(k_part_context) + *digest : std::string();
  };
  return plan_dockerfile(stack.dockerfile, {.name = stack.dockerfile_name,
                                            .build_args = request.build_args,
                                            .target = request.build_target,
                                            .start = stack.start,
                                            .project = request.project,
                                            .is_of_fork = request.is_of_fork,
                                            .secrets = secret_ids(request.secrets),
                                            .name_of_part = name_of_part});
}

const std::string& store_name(const BuildRequest& request) {
  return request.store.empty() ? request.project : request.store;
}

// Whole, as a build that was not killed has left it.
bool has_image(const ImageStore& store, const std::string& image_id) {
  const auto images = store.images();
  return std::any_of(images.begin(), images.end(), [&](const auto& image) {
    return image.is_whole && image.id == image_hex(image_id);
  });
}

}  // namespace

bool is_project_name(const std::string& name) {
  const auto is_word = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= 100 && is_word(name.front()) && is_word(name.back()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_word(c) || c == '-' || c == '_' || c == '.'; });
}

Error BuildahBuilder::stopped(RunOutcome::End end) const {
  return end == RunOutcome::End::cancelled
             ? Error{ErrorCode::cancelled, "the build was stopped", {}}
             : Error{ErrorCode::timed_out, "the build took longer than it may", {}};
}

Result<fs::path> BuildahBuilder::make_scratch(const std::string& name) const {
  const fs::path folder = scratch_folder() / name;
  std::error_code error;
  fs::remove_all(folder, error);
  ATLAS_TRYV(buildah_.own(folder));
  return folder;
}

Result<std::string> BuildahBuilder::run_build(const BuildRequest& request, const ImageStore& store,
                                              const BuildSupplies& supplies,
                                              const fs::path& scratch, BuildLog& log,
                                              Clock::time_point until,
                                              const std::stop_token& stop) {
  Cgroup cgroup = cgroup_of(request.build_id);
  cgroup.create({.memory_mib = config_.memory_limit_mib, .processes = k_processes_max});
  cgroup_works_ = !cgroup.procs().empty();

  Buildah::Call call;
  call.arguments = {"build", "--layers",
                    // Docker's own: in OCI's SHELL, ONBUILD and HEALTHCHECK have no place.
                    "--format", "docker", "--pull=never", "--signature-policy", k_policy_file,
                    "--file", "/mnt/scratch/Dockerfile", "--ignorefile", "/mnt/scratch/ignore",
                    "--iidfile", "/mnt/scratch/image", "--hooks-dir",
                    "/mnt/hooks/" + request.build_id, "--tag",
                    "localhost/atlasflow/" + store_name(request) + ":" + request.build_id};
  for (std::string& word : buildah_.isolation_arguments())
    call.arguments.push_back(std::move(word));
  for (const auto& [name, value] : request.build_args) {
    call.arguments.push_back("--build-arg");
    // A name alone: buildah takes the value from its environment.
    std::string assignment = name;
    assignment.append("=").append(value);
    if (may_be_obeyed(name)) {
      call.arguments.push_back(std::move(assignment));
    } else {
      call.arguments.push_back(name);
      call.environment.push_back(std::move(assignment));
    }
  }
  const auto age_max = request.no_cache ? std::chrono::microseconds(0) : store.layer_age_max();
  if (age_max && age_max->count() == 0) call.arguments.emplace_back("--no-cache");
  if (age_max && age_max->count() > 0) {
    call.arguments.push_back("--cache-ttl=" + std::to_string(age_max->count()) + "us");
  }
  if (!request.build_target.empty()) {
    call.arguments.push_back("--target");
    call.arguments.push_back(request.build_target);
  }
  call.arguments.insert(call.arguments.end(), supplies.arguments.begin(), supplies.arguments.end());
  call.arguments.push_back("/mnt/context");
  call.store = &store;
  call.bases = &bases_;
  call.keeps_cache_mounts = true;
  call.scratch = scratch;
  call.context = request.folder;
  call.hides_files = supplies.hides_files;
  call.hooks_name = request.build_id;
  call.secrets = &supplies.secrets;
  call.network =
      config_.network && network_works_ ? SandboxNetwork::internet : SandboxNetwork::none;
  call.cgroup_procs = &cgroup.procs();
  call.deadline =
      std::max(std::chrono::duration_cast<milliseconds>(until - Clock::now()), milliseconds(1));
  BuildWatch watch(store, scratch,
                   {static_cast<std::uint64_t>(config_.disk_limit_mib) << 20U, k_files_max,
                    static_cast<std::uint64_t>(config_.min_free_mib) << 20U, k_output_bytes_max},
                   {[&cgroup] { return cgroup.members(); },
                    [&cgroup] { return cgroup.process_refusals() > 0; }, k_processes_max},
                   stop);
  call.stop = watch.token();
  ATLAS_TRY(auto ran, buildah_.run(call, [&](std::string_view text) {
    log.output(text);
    watch.count_output(text.size());
  }));
  if (auto error = watch.verdict()) return tl::unexpected(std::move(*error));
  if (ran.end != RunOutcome::End::exited) return tl::unexpected(stopped(ran.end));
  if (ran.exit_code != 0) {
    return tl::unexpected(build_failure({log.tail(), ran.exit_code, cgroup.oom_kills() > 0,
                                         config_.memory_limit_mib, supplies.dockerfile}));
  }
  auto id = read_source_file(scratch, "image", k_small_file_bytes_max);
  if (!id || !*id || image_hex(**id).size() < 64) {
    return fail(ErrorCode::internal, "buildah did not say which image it built");
  }
  return "sha256:" + image_hex(**id).substr(0, 64);
}

Result<ImageStore> BuildahBuilder::own_store(const BuildRequest& request) {
  const ImageStore store = store_of(store_name(request));
  // A name may be given again after a project was deleted; what the one before built is not the new
  // one's to read.
  const std::lock_guard guard(mutex_);
  const auto owner = read_source_file(store.folder(), k_owner_file, k_small_file_bytes_max);
  if (owner && *owner && **owner == request.project_id) return store;
  std::error_code error;
  if (fs::exists(store.folder(), error)) {
    const fs::path old = scratch_folder() / ("push.old." + std::to_string(calls_.fetch_add(1)));
    fs::rename(store.folder(), old, error);
    if (error) {
      return fail(ErrorCode::internal, "cannot remove the images of an earlier project",
                  error.message());
    }
    fs::remove_all(old, error);  // What is left is removed at the next start.
  }
  fs::create_directories(store.folder(), error);
  ATLAS_TRYV(write_text(store.folder() / k_owner_file, request.project_id));
  return store;
}

Result<PreparedStack> BuildahBuilder::prepare_stack(const BuildRequest& request,
                                                    const fs::path& root, const fs::path& scratch,
                                                    BuildLog& log, Clock::time_point until,
                                                    const std::stop_token& stop) const {
  StackBases bases{bases_.image_names(), config_.bases};
  while (true) {
    ATLAS_TRY(auto stack, find_stack(request, root, bases));
    ATLAS_TRY(const auto context, find_source_folder(root, stack.folder));
    ContextParts parts(context.value_or(root), stack.ignore, until, stop);
    ATLAS_TRY(auto plan, plan_of(stack, request, parts));
    log.heading("Building " + request.project + " (" + stack.reason + ")");
    if (request.no_cache) log.note("No layer of an earlier build is used (--no-cache)");
    if (stack.name != "dockerfile") {
      std::istringstream lines(stack.dockerfile);
      for (std::string line; std::getline(lines, line);) log.note(line);
    }
    for (const auto& notice : stack.notices) log.note("Notice: " + notice);
    for (const std::string& note : plan.notes) log.note(note);
    for (const std::string& notice : plan.notices) log.note(notice);
    auto pulled = pull_absent(stack, plan, scratch, log, until, stop);
    if (pulled) return PreparedStack{std::move(stack), std::move(plan)};
    const bool may_fall_back =
        stack.has_fallback && bases.may_pull && pulled.error().code != ErrorCode::cancelled;
    if (!may_fall_back) return tl::unexpected(pulled.error());
    log.note(pulled.error().message + "; a base image that is here is used instead");
    bases.may_pull = false;
  }
}

Result<BuiltImage> BuildahBuilder::build_in(const BuildRequest& request, BuildLog& log,
                                            const std::stop_token& stop) {
  const auto until =
      Clock::now() + (request.deadline.count() > 0 ? request.deadline : k_build_deadline_default);
  ATLAS_TRY(const auto scratch, make_scratch(request.build_id));
  ATLAS_TRY(const auto root, find_source_folder(request.folder, request.root_folder));
  if (!root) {
    return fail(ErrorCode::user_error, "there is no folder " + request.root_folder +
                                           " in the repository, which the setting root_folder "
                                           "names");
  }
  if (config_.network && !network_works_) {
    log.note("RUN steps have no network: slirp4netns does not work on this machine");
  }
  ATLAS_TRY(auto prepared, prepare_stack(request, *root, scratch, log, until, stop));
  auto& [stack, plan] = prepared;
  ATLAS_TRY(const auto context, find_source_folder(*root, stack.folder));
  if (!context) return fail(ErrorCode::internal, "the folder that was detected is gone");
  BuildRequest exact = request;
  exact.folder = *context;
  exact.build_target = plan.target;
  ATLAS_TRYV(write_text(scratch / "Dockerfile", plan.text));
  ATLAS_TRYV(write_text(scratch / "ignore", stack.ignore));
  auto used_bases = note_used_bases(plan.images);
  for (const auto& base : used_bases) log.note("From " + base.name + "@" + base.digest);
  ATLAS_TRY(auto store, own_store(request));
  if (request.no_cache) ATLAS_TRYV(store.outdate_layers());
  ATLAS_TRY(auto supplies, put_supplies(request, stack, plan, scratch));
  const auto mask = mask_of(request);
  // What buildah says of a step is compared with it, and is hidden by then.
  if (stack.name == "dockerfile") {
    supplies.dockerfile = masked_lines(mask, plan.numbered.empty() ? plan.text : plan.numbered);
  }
  BuiltImage built;
  built.inputs = inputs_of(workshop(), request, prepared, used_bases, supplies,
                           context->lexically_relative(request.folder).string());
  if (const auto* same = request.no_cache ? nullptr : same_build(request.earlier, built.inputs);
      same != nullptr && has_image(store, same->image_id())) {
    built.image_id = same->image_id();
    built.reused_from = same->deployment();
    built.reuse_reason =
        "the files, the settings of the build, its base images and its secrets "
        "are those of deployment " +
        same->deployment();
    log.note("Nothing is built: " + built.reuse_reason + ", and its image is here. --no-cache " +
             "builds it anew");
  } else {
    // Whatever the Dockerfile says: triggers of a base image mount the context as well.
    if (!stack.ignore.empty()) {
      ATLAS_TRY(supplies.hides_files,
                hide_ignored_files(*context, stack.ignore, scratch / k_context_layer,
                                   rung_.user_namespace ? k_build_uid_base : 0, until, stop));
    }
    ATLAS_TRY(built.image_id, run_build(exact, store, supplies, scratch, log, until, stop));
  }
  built.stack = stack.name;
  built.stack_reason = stack.reason;
  built.notices = std::move(stack.notices);
  built.notices.insert(built.notices.end(), plan.notices.begin(), plan.notices.end());
  for (auto& notice : built.notices) notice = mask.masked(notice);
  built.base_images = std::move(used_bases);
  built.secrets = std::move(supplies.used);
  return built;
}

Result<BuiltImage> BuildahBuilder::build(const BuildRequest& request, std::stop_token stop) {
  if (!is_build_id(request.build_id)) {
    return fail(ErrorCode::invalid_argument, "a build id has 1 to 48 characters of a-z, 0-9 and -");
  }
  if (!is_project_name(store_name(request))) {
    return fail(ErrorCode::invalid_argument,
                "'" + store_name(request) + "' cannot be part of an image's name");
  }
  std::stop_source own_stop;
  {
    const std::lock_guard guard(mutex_);
    if (!active_.emplace(request.build_id, own_stop).second) {
      return fail(ErrorCode::conflict, "build " + request.build_id + " is already running");
    }
  }
  const std::shared_lock in_store(stores_);
  const std::stop_callback forward(stop, [&own_stop] { own_stop.request_stop(); });
  const auto started = Clock::now();
  Result<BuiltImage> built = tl::unexpected(Error{});
  {
    auto log = BuildLog::open(config_.log_dir, request.build_id);
    const auto mask = mask_of(request);
    if (log) log->hide(mask);
    built = log ? build_in(request, *log, own_stop.get_token()) : tl::unexpected(log.error());
    if (!built) built = tl::unexpected(masked(mask, std::move(built.error())));
    clean_up(request.build_id);
    if (log)
      log->heading(built ? "Built " + built->image_id.substr(0, 19)
                         : "Failed: " + built.error().message);
  }
  const auto took = std::chrono::duration_cast<milliseconds>(Clock::now() - started);
  log_event("builder", "build_ended",
            {{"build_id", request.build_id},
             {"project", request.project},
             {"result", built ? "ok" : name_of(built.error().code)},
             {"took_ms", took.count()}});
  const std::lock_guard guard(mutex_);
  active_.erase(request.build_id);
  ended_.notify_all();
  return built;
}

namespace {

Result<FileDescriptor> lock_folder(const fs::path& folder) {
  FileDescriptor fd(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid()) {
    return fail(ErrorCode::internal, "cannot write to the folder of builds " + folder.string());
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    return fail(ErrorCode::conflict, "another server uses the folder of builds " + folder.string());
  }
  return fd;
}

}  // namespace

Result<Workplace> open_workplace(const ImageBuilderConfig& config) {
  if (!config.state_dir.is_absolute() || !config.log_dir.is_absolute()) {
    return fail(ErrorCode::invalid_argument, "the folders of builds must be absolute paths");
  }
  ATLAS_TRY(auto toolchain, find_toolchain(config.toolchain));
  std::error_code error;
  fs::create_directories(config.state_dir / "scratch", error);
  // What lies below belongs to user ids of this machine that are others' in no way.
  if (!error) fs::permissions(config.state_dir, fs::perms::owner_all, error);
  if (error) {
    return fail(ErrorCode::internal,
                "cannot make the folder of builds " + config.state_dir.string(), error.message());
  }
  ATLAS_TRY(auto lock, lock_folder(config.state_dir));
  return Workplace{std::move(toolchain), std::move(lock)};
}

Result<std::unique_ptr<BuildahBuilder>> make_untried_builder(const ImageBuilderConfig& config,
                                                             const Workplace& place,
                                                             const Rung& rung) {
  ATLAS_TRY(auto buildah, Buildah::make({place.toolchain, rung, config.reachable_networks}));
  FileDescriptor lock(::fcntl(place.lock.get(), F_DUPFD_CLOEXEC, 0));
  auto builder = std::make_unique<BuildahBuilder>(config, rung, place.toolchain, std::move(buildah),
                                                  std::move(lock));
  builder->clear_unnamed();
  ATLAS_TRYV(builder->prepare());
  return builder;
}

Result<std::unique_ptr<ImageBuilder>> make_buildah_builder(const ImageBuilderConfig& config) {
  ATLAS_TRY(const auto place, open_workplace(config));
  std::vector<Rung> rungs = {{"oci+userns", "oci", true, "userns"}, {"oci", "oci", false, "root"}};
  if (config.allow_chroot_isolation) rungs.push_back({"chroot", "chroot", true, "userns"});
  std::string failures;
  for (const Rung& rung : rungs) {
    auto builder = make_untried_builder(config, place, rung);
    const auto works = builder.and_then([](const auto& made) { return made->probe(); });
    if (!works) {
      failures += rung.label + ": " + to_string(works.error()) + "; ";
      continue;
    }
    log_event("builder", "ready",
              {{"isolation", (*builder)->isolation()}, {"toolchain", (*builder)->toolchain()}});
    return std::move(*builder);
  }
  return fail(ErrorCode::unavailable, "this machine cannot build images in isolation", failures);
}

}  // namespace atlasflow::builder
