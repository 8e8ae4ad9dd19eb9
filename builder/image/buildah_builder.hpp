// The one ImageBuilder: buildah in a sandbox. Internal to builder/; image_builder.cpp
// builds, base_images.cpp pulls, image_push.cpp pushes, builder_upkeep.cpp probes and cleans up,
// image_collection.cpp removes what nobody needs.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <shared_mutex>

#include "base/cgroup.hpp"
#include "builder/image/build_log.hpp"
#include "builder/image/buildah.hpp"
#include "builder/image/image_builder.hpp"
#include "builder/image/image_store.hpp"
#include "builder/stack/detect.hpp"
#include "builder/stack/dockerfile.hpp"

namespace atlasflow::builder {

using Clock = std::chrono::steady_clock;

// What the sandbox is configured with (builder/sandbox/root.cpp): no image has to be signed.
inline constexpr const char* k_policy_file = "/mnt/policy.json";

// One path component of an image's name and of a folder.
[[nodiscard]] bool is_project_name(const std::string& name);
[[nodiscard]] bool is_build_id(const std::string& id);
// Without "sha256:".
[[nodiscard]] std::string image_hex(const std::string& image_id);
[[nodiscard]] Result<void> write_text(const std::filesystem::path& path, const std::string& text);

// Builds give way to what serves visitors: a quarter of the usual share when processors are busy.
inline constexpr CgroupParent k_build_cgroups{"atlasflow-build", 25};

// What the names of the cgroups of its builds begin with: two servers with different folders may
// share a parent, and each must find its own builds only.
[[nodiscard]] inline std::string build_cgroup_tag(const std::filesystem::path& state_dir) {
  std::array<char, 20> text{};
  std::snprintf(text.data(), text.size(), "%016zx-", std::hash<std::string>{}(state_dir.string()));
  return text.data();
}

// What a build has beside the checkout.
struct BuildSupplies {
  std::vector<std::string> arguments = {};  // of buildah, that tell of the files below
  std::vector<SecretFile> secrets = {};     // what steps mount
  std::vector<UsedSecret> used = {};        // of those, the project's
  std::string dockerfile = {};              // the user's, for messages that name its line; or empty
  std::string digest = {};   // of what comes from this machine and not the repository
  bool hides_files = false;  // of the checkout, by the layer over it
};

// What is built, and what that starts from, which is here.
struct PreparedStack {
  Stack stack;
  DockerfilePlan plan;
};

// What an image depends on of the machine that builds it.
struct Workshop {
  std::string toolchain;
  std::string isolation;
  bool has_network = false;  // RUN steps reach the internet
};

// SHA-256 of everything that the image depends on; empty: it is not all known. bases: as they are
// in the store now. context: the folder in the checkout that is built.
[[nodiscard]] std::string inputs_of(const Workshop& workshop, const BuildRequest& request,
                                    const PreparedStack& prepared,
                                    const std::vector<UsedBase>& bases,
                                    const BuildSupplies& supplies, const std::string& context);

class BuildahBuilder final : public ImageBuilder {
 public:
  BuildahBuilder(ImageBuilderConfig config, Rung rung, Toolchain toolchain, Buildah buildah,
                 FileDescriptor lock)
      : config_(std::move(config)),
        rung_(std::move(rung)),
        toolchain_(std::move(toolchain)),
        bases_(config_.state_dir / rung_.folder / "bases"),
        buildah_(std::move(buildah)),
        lock_(std::move(lock)),
        cgroups_(own_cgroups()) {
    cgroup_tag_ = build_cgroup_tag(config_.state_dir);
  }

  std::string isolation() const override {
    return rung_.label + (config_.network && !network_works_ ? " without network" : "") +
           (cgroup_works_ ? "" : " without cgroup");
  }

  std::string toolchain() const override { return toolchain_.versions; }

  Result<BuiltImage> build(const BuildRequest& request, std::stop_token stop) override;
  Result<PushedImage> push(const std::string& image_id, const std::string& registry,
                           const std::string& repository, std::stop_token stop) override;
  void reap(const std::string& build_id) override;
  std::vector<std::string> leftovers() override;
  Result<std::vector<std::string>> collect(const std::function<Result<StoreKeep>()>& keep,
                                           std::uint64_t cache_bytes_max,
                                           std::stop_token stop) override;

  // Makes the store of base images, when it is not there yet.
  Result<void> prepare();
  // Builds a tiny image with a RUN step, with the network first; on success the rung is in working
  // order.
  Result<void> probe();
  // What an earlier server left that names no build: containers, images that it did not write to
  // their end, and copies of secrets.
  void clear_unnamed();

 private:
  // The part of build() between taking the build_id and giving it back.
  Result<BuiltImage> build_in(const BuildRequest& request, BuildLog& log,
                              const std::stop_token& stop);
  // Detects the stack and pulls what it starts from; with what is here, when the registry does not
  // answer and that does.
  Result<PreparedStack> prepare_stack(const BuildRequest& request,
                                      const std::filesystem::path& root,
                                      const std::filesystem::path& scratch, BuildLog& log,
                                      Clock::time_point until, const std::stop_token& stop) const;
  Result<Stack> find_stack(const BuildRequest& request, const std::filesystem::path& root,
                           const StackBases& bases) const;
  // What the Dockerfile uses beside the checkout: secrets that it mounts, and programs of ours, in
  // the scratch folder.
  Result<BuildSupplies> put_supplies(const BuildRequest& request, const Stack& stack,
                                     const DockerfilePlan& plan,
                                     const std::filesystem::path& scratch) const;
  // What the plan starts from and the store of base images has not.
  Result<void> pull_absent(const Stack& stack, const DockerfilePlan& plan,
                           const std::filesystem::path& scratch, BuildLog& log,
                           Clock::time_point until, const std::stop_token& stop) const;
  Result<void> pull(const std::string& name, const std::filesystem::path& scratch, BuildLog& log,
                    Clock::time_point until, const std::stop_token& stop) const;
  // What of them is in the store of base images, by digest; a build starts from it now.
  [[nodiscard]] std::vector<UsedBase> note_used_bases(const std::vector<Stated>& names) const;
  [[nodiscard]] Workshop workshop() const {
    return {toolchain_.versions, rung_.label, config_.network && network_works_};
  }
  // `request` with the root folder's path and the stage's exact name in it.
  Result<std::string> run_build(const BuildRequest& request, const ImageStore& store,
                                const BuildSupplies& supplies, const std::filesystem::path& scratch,
                                BuildLog& log, Clock::time_point until,
                                const std::stop_token& stop);
  // Of a project; what an earlier project of the same name left is removed first.
  Result<ImageStore> own_store(const BuildRequest& request);
  ImageStore store_of(const std::string& project) const {
    return ImageStore(projects_folder() / project);
  }
  // Of every project that has one.
  std::vector<ImageStore> project_stores() const;
  Result<std::uint64_t> size_of(const std::string& registry, const std::string& repository,
                                const std::string& digest) const;
  Error stopped(RunOutcome::End end) const;
  void clean_up(const std::string& build_id);
  void clean_up_in(const ImageStore& store, const std::string& build_id);
  void clear_unnamed_in(const ImageStore& store);
  // One `buildah rmi`; what cannot be removed stays.
  void remove_images(const ImageStore& store, const std::vector<std::string>& names,
                     const std::filesystem::path& scratch, const std::stop_token& stop) const;
  // What of a store is not kept; returns what went.
  std::vector<std::string> collect_in(const ImageStore& store, const StoreKeep& keep,
                                      const std::filesystem::path& scratch,
                                      const std::stop_token& stop) const;
  // What of everybody's cache and of the pulled base images goes, while they take more than they
  // may.
  std::vector<std::string> shrink(const StoreKeep& keep, std::uint64_t bytes_max,
                                  const std::filesystem::path& scratch,
                                  const std::stop_token& stop) const;
  std::vector<std::string> shrink_bases(std::uint64_t bytes_max,
                                        const std::filesystem::path& scratch,
                                        const std::stop_token& stop) const;
  std::vector<std::string> shrink_cache(const StoreKeep& keep, std::uint64_t bytes_max,
                                        const std::filesystem::path& scratch,
                                        const std::stop_token& stop) const;
  Result<std::filesystem::path> make_scratch(const std::string& name) const;
  std::filesystem::path scratch_folder() const { return config_.state_dir / "scratch"; }
  std::filesystem::path projects_folder() const {
    return config_.state_dir / rung_.folder / "projects";
  }
  std::filesystem::path probe_folder() const { return config_.state_dir / rung_.folder / "probe"; }
  Cgroup cgroup_of(const std::string& build_id) const {
    return Cgroup(cgroups_, k_build_cgroups, cgroup_tag_ + build_id);
  }

  ImageBuilderConfig config_;
  Rung rung_;
  Toolchain toolchain_;
  ImageStore bases_;  // what was pulled, and what script/base-images made; builds only read it
  Buildah buildah_;
  FileDescriptor lock_;
  std::vector<CgroupHierarchy> cgroups_;
  std::string cgroup_tag_;
  bool network_works_ = true;
  bool cgroup_works_ = true;
  std::atomic<std::uint64_t> calls_{0};
  std::shared_timed_mutex stores_;  // shared by builds and pushes; alone: what removes images

  std::mutex mutex_;
  std::condition_variable ended_;
  std::map<std::string, std::stop_source> active_;  // guarded by mutex_
};

// The toolchain, and that nobody else uses the folder.
struct Workplace {
  Toolchain toolchain;
  FileDescriptor lock;
};
[[nodiscard]] Result<Workplace> open_workplace(const ImageBuilderConfig& config);
// On that rung of the ladder, in order but for what probe() finds out.
[[nodiscard]] Result<std::unique_ptr<BuildahBuilder>> make_untried_builder(
    const ImageBuilderConfig& config, const Workplace& place, const Rung& rung);

}  // namespace atlasflow::builder
