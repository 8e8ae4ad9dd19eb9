#include "builder/image/buildah.hpp"

#include <utility>

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::chrono::milliseconds k_store_deadline{120'000};

}  // namespace

Result<Buildah> Buildah::make(const BuildahOptions& options) {
  ATLAS_TRY(auto sandbox, Sandbox::make({options.toolchain.root, options.rung.user_namespace,
                                         options.reachable_networks, options.toolchain.seccomp}));
  return Buildah(options, std::move(sandbox));
}

Result<RunOutcome> Buildah::run(const Call& call,
                                const std::function<void(std::string_view)>& on_output) const {
  static const std::vector<FileDescriptor> no_cgroup;
  // Every sandbox has its own mounts, so the run root, which counts them, must be its own as well.
  std::vector<std::string> argv = {"/usr/bin/buildah", "--root",           "/mnt/storage",
                                   "--runroot",        "/mnt/run/storage", "--storage-driver",
                                   "overlay"};
  SandboxMounts mounts;
  mounts.storage = call.store->storage();
  mounts.cache = call.store->cache();
  for (const fs::path& folder : {mounts.storage, mounts.cache}) {
    ATLAS_TRYV(own(folder));
  }
  if (call.bases != nullptr) {
    mounts.bases = call.bases->storage();
    argv.insert(argv.end(), {"--storage-opt", "overlay.imagestore=/mnt/bases"});
  }
  if (call.keeps_cache_mounts) {
    mounts.cache_mounts = call.store->cache_mounts();
    ATLAS_TRYV(own(mounts.cache_mounts));
  }
  mounts.scratch = call.scratch;
  mounts.context = call.context;
  mounts.hides_files = call.hides_files;
  mounts.hooks_name = call.hooks_name;
  if (call.secrets != nullptr) mounts.secrets = *call.secrets;
  argv.insert(argv.end(), call.arguments.begin(), call.arguments.end());
  return sandbox_->run(std::move(argv), call.environment, mounts, call.network,
                       call.cgroup_procs == nullptr ? no_cgroup : *call.cgroup_procs, call.deadline,
                       call.stop, on_output);
}

Result<void> Buildah::prepare(const ImageStore& store, const fs::path& scratch) const {
  Call call;
  call.arguments = {"images", "--quiet"};
  call.store = &store;
  call.scratch = scratch;
  call.deadline = k_store_deadline;
  std::string said;
  ATLAS_TRYV(run(call, [&said](std::string_view text) { said += text; }));
  std::error_code error;
  if (!fs::is_directory(store.storage() / "overlay-layers", error)) {
    return fail(ErrorCode::unavailable,
                "the store of images " + store.storage().string() + " could not be made", said);
  }
  return {};
}

std::vector<std::string> Buildah::isolation_arguments() const {
  // "host" is the sandbox's network: it has only what the sandbox was given. buildah's own networks
  // would leave a bridge and firewall tables behind. The limits are those of the cgroup that all of
  // it runs in.
  return {"--isolation",    options_.rung.isolation,
          "--runtime",      "/usr/bin/crun",
          "--network",      "host",
          "--runtime-flag", "cgroup-manager=disabled",
          "--security-opt", std::string("seccomp=") + k_seccomp_file};
}

Result<void> Buildah::own(const fs::path& folder) const { return sandbox_->own(folder); }

void Buildah::remove_containers(const ImageStore& store, const std::vector<std::string>& ids,
                                const fs::path& scratch) const {
  if (ids.empty()) return;
  Call call;
  call.arguments = {"rm"};
  call.arguments.insert(call.arguments.end(), ids.begin(), ids.end());
  call.store = &store;
  call.scratch = scratch;
  call.deadline = k_store_deadline;
  // What stays behind is found again by the next reap.
  [[maybe_unused]] const auto ran = run(call, [](std::string_view) {});
}

}  // namespace atlasflow::builder
