// The toolchain's buildah, each command in a sandbox of its own over one store. Internal to
// builder/; any thread.
#pragma once

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "builder/image/image_store.hpp"
#include "builder/sandbox/sandbox.hpp"
#include "builder/sandbox/toolchain.hpp"

namespace atlasflow::builder {

// One way to run builds. What a rung stores belongs to its user ids, so each kind has its folder.
struct Rung {
  std::string label;      // "oci+userns"
  std::string isolation;  // buildah's --isolation
  bool user_namespace = false;
  std::string folder;  // of its stores, in the builder's state folder: "userns" or "root"
};

struct BuildahOptions {
  Toolchain toolchain;
  Rung rung;
  std::vector<std::string> reachable_networks;
};

class Buildah {
 public:
  [[nodiscard]] static Result<Buildah> make(const BuildahOptions& options);

  struct Call {
    std::vector<std::string> arguments;    // of buildah, after its global ones
    std::vector<std::string> environment;  // NAME=value
    const ImageStore* store = nullptr;     // it can write to this one
    const ImageStore* bases = nullptr;     // and only read this one; nullptr: none
    std::filesystem::path scratch;         // exists; -> /mnt/scratch
    std::filesystem::path context;         // -> /mnt/context
    bool hides_files = false;              // SandboxMounts
    std::string hooks_name;
    const std::vector<SecretFile>* secrets = nullptr;  // -> k_secrets_folder; nullptr: none
    bool keeps_cache_mounts = false;
    SandboxNetwork network = SandboxNetwork::none;
    const std::vector<FileDescriptor>* cgroup_procs = nullptr;
    std::chrono::milliseconds deadline{60'000};
    std::stop_token stop;
  };
  [[nodiscard]] Result<RunOutcome> run(
      const Call& call, const std::function<void(std::string_view)>& on_output) const;

  // Makes a store, so that others can read it: a store that is not there can't be read only.
  [[nodiscard]] Result<void> prepare(const ImageStore& store,
                                     const std::filesystem::path& scratch) const;
  // Arguments of `build` that depend on the rung.
  [[nodiscard]] std::vector<std::string> isolation_arguments() const;
  [[nodiscard]] Result<void> own(const std::filesystem::path& folder) const;
  void remove_containers(const ImageStore& store, const std::vector<std::string>& ids,
                         const std::filesystem::path& scratch) const;

 private:
  Buildah(BuildahOptions options, std::unique_ptr<Sandbox> sandbox)
      : options_(std::move(options)), sandbox_(std::move(sandbox)) {}

  BuildahOptions options_;
  std::unique_ptr<Sandbox> sandbox_;
};

}  // namespace atlasflow::builder
