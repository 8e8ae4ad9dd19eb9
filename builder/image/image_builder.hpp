// Source folder to image in the local store, and image to registry, by buildah. Calls block and may
// come from several threads (one at a time per build_id). Everything a build makes outside carries
// its build_id, so that reap() after a crash finds it.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "events/event.pb.h"

namespace atlasflow::builder {

struct ImageBuilderConfig {
  std::filesystem::path state_dir;  // image stores and scratch; created when missing
  std::filesystem::path log_dir;    // <log_dir>/<build_id>.build.log
  bool registry_plain_http = true;
  bool allow_chroot_isolation = false;  // the last rung: shares the host's processes and network
  std::filesystem::path toolchain = "/usr/lib/atlasflow/toolchain";
  bool network = true;  // RUN steps reach the internet (never this machine or private networks)
  std::vector<std::string> reachable_networks{};  // but these: "10.1.0.0/16"
  std::int64_t memory_limit_mib = 2048;
  std::int64_t disk_limit_mib = 10'240;  // of what one build writes; 0: none
  std::int64_t min_free_mib = 0;         // of the disk: with less, builds that run are ended
  // What generated Dockerfiles start from, by language, instead of what builder/stack chooses.
  std::map<std::string, std::string> bases = {};
  std::filesystem::path static_server = {};   // the program that static sites run
  std::filesystem::path copy_parents = {};    // the program that does COPY --parents
  std::filesystem::path ca_certificate = {};  // PEM, for RUN steps; empty: none
};

// What steps may mount, with RUN --mount=type=secret,id=<name>.
struct BuildSecret {
  std::string name;    // see events/build_secret.hpp
  std::string digest;  // of the value: another one makes every step that mounts it run again
  Secret value;
};

struct BuildRequest {
  std::string build_id;          // [a-z0-9-]{1,48}
  std::filesystem::path folder;  // the checkout
  std::string project;           // its name
  std::string project_id;        // whose the store is: a name may be given again
  std::vector<std::pair<std::string, std::string>>
      build_args;  // no secrets: they stay in the image
  std::chrono::milliseconds deadline{};
  std::string root_folder;           // of the checkout: what is built; empty: all of it
  std::string dockerfile;            // see StackChoice; empty: "Dockerfile" if it is there
  std::string build_target;          // the stage to build; empty: the last one
  std::string static_folder;         // see StackChoice
  std::string static_fallback;       //
  std::string install_command = {};  // see StackChoice
  std::string build_command = {};    //
  std::string start_command = {};    //
  bool no_cache = false;    // takes no layer of an earlier build; cache mounts keep what they have
  std::string source = {};  // names the files of the checkout (Checkout::source); empty: not known
  std::vector<pb::EarlierBuild> earlier = {};  // whose images may be taken, the newest first
  std::vector<BuildSecret> secrets = {};
  std::string store = {};   // names the image, and what it is built in; empty: as the project
  bool is_of_fork = false;  // then it was given no secrets, which is why one is missing
  std::vector<Secret> hidden = {};  // what the log does not show either: the app's variables
};

// What a build's steps mounted.
struct UsedSecret {
  std::string name;
  std::string digest;
};

// What a build started from, as it was in the store then.
struct UsedBase {
  std::string name;    // full: "docker.io/library/node:20-bookworm-slim"
  std::string digest;  // sha256:… of the manifest
};

struct BuiltImage {
  std::string image_id;              // sha256:… of the image configuration
  std::string stack;                 // "dockerfile", "static", "node"
  std::string stack_reason;          // a sentence: "Dockerfile in the root folder"
  std::vector<std::string> notices;  // sentences for the user
  std::vector<UsedBase> base_images = {};
  std::vector<UsedSecret> secrets = {};  // what its steps were given
  // See Built in events/event.proto.
  std::string inputs = {};
  std::string reused_from = {};
  std::string reuse_reason = {};
};

struct PushedImage {
  std::string reference;  // "<registry>/<repository>@sha256:…"
  std::string digest;
  std::uint64_t size_bytes = 0;  // compressed layers and configuration
};

// Which images of ours stay.
struct StoreKeep {
  std::set<std::string> image_ids;
  // What these have built stays, by whatever id: build_ids "<owner>-v<number>".
  std::set<std::string> owners;
  // Projects that there are, by name. Without one, and with nothing of the above, its store goes.
  std::set<std::string> projects;
};

class ImageBuilder {
 public:
  virtual ~ImageBuilder() = default;

  // The rung of the isolation ladder in use: "oci+userns", "oci" or "chroot", and " without
  // network" or " without cgroup" behind it where the machine does not allow more.
  [[nodiscard]] virtual std::string isolation() const = 0;

  // What builds images, with versions: "buildah 1.39.3+ds1-1+b7, crun 1.21-1".
  [[nodiscard]] virtual std::string toolchain() const = 0;

  // Detects the stack and builds, or takes what an earlier build has made of the very same and the
  // project's store still has. user_error: no such root folder, Dockerfile or stage, no known
  // stack (the message lists what was looked for), a Dockerfile that does not parse, a step that
  // failed (its output is in the log, its exit code by step_exit_code). timed_out, cancelled:
  // everything of the build is gone when it returns.
  [[nodiscard]] virtual Result<BuiltImage> build(const BuildRequest& request,
                                                 std::stop_token stop) = 0;

  // Pushes by digest what was built. repository: the name of the store. Idempotent.
  [[nodiscard]] virtual Result<PushedImage> push(const std::string& image_id,
                                                 const std::string& registry,
                                                 const std::string& repository,
                                                 std::stop_token stop) = 0;

  // Ends and removes all that a build_id left: processes, cgroup, containers, mounts, scratch.
  // Idempotent; the log and a finished image stay.
  virtual void reap(const std::string& build_id) = 0;
  // build_ids that have anything of the above.
  [[nodiscard]] virtual std::vector<std::string> leftovers() = 0;

  // Removes images that builds have made and that are not to be kept, and the stores of projects
  // that are gone. Then, while the projects' layers and cache mounts and the base images that were
  // pulled are larger than cache_bytes_max: pulled base images that nothing is built upon, those
  // used longest ago first; images without a name, which are the build cache, oldest first; what
  // cache mounts keep. Base images that somebody brought (script/base-images) stay. `keep` is asked
  // while no build and no push runs. Returns what it removed. unavailable: builds ran all the time;
  // try again later.
  [[nodiscard]] virtual Result<std::vector<std::string>> collect(
      const std::function<Result<StoreKeep>()>& keep, std::uint64_t cache_bytes_max,
      std::stop_token stop) = 0;
};

// The exit code of the RUN step that made a build fail; nullopt when it failed of something else.
[[nodiscard]] std::optional<int> step_exit_code(const Error& error);

// Tries the isolation ladder by building a three-line image and takes the first rung that works.
// One builder per state_dir at a time (a lock on it). unavailable: no rung works, the server is not
// root, or a program is missing; the cause says which.
[[nodiscard]] Result<std::unique_ptr<ImageBuilder>> make_buildah_builder(
    const ImageBuilderConfig& config);

}  // namespace atlasflow::builder
