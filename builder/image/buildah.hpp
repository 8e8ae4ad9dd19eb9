// The buildah commands that the builder uses, each in a sandbox, over one containers-storage.
// Internal to builder/; any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "base/error.hpp"
#include "builder/sandbox/sandbox.hpp"

namespace atlasflow::builder {

// One way to run builds. The storage of a rung belongs to its user ids, so each kind has its own.
struct Rung {
  std::string label;      // "oci+userns"
  std::string isolation;  // buildah's --isolation
  bool user_namespace = false;
};

struct BuildahOptions {
  std::filesystem::path storage;
  Rung rung;
};

class Buildah {
 public:
  [[nodiscard]] static Result<Buildah> make(const BuildahOptions& options);

  struct Call {
    std::vector<std::string> arguments;    // of buildah, after its global ones
    std::vector<std::string> environment;  // NAME=value
    std::filesystem::path scratch;         // exists; -> /mnt/scratch
    std::filesystem::path context;         // -> /mnt/context
    std::string hooks_name;
    SandboxNetwork network = SandboxNetwork::none;
    const std::vector<FileDescriptor>* cgroup_procs = nullptr;
    std::chrono::milliseconds deadline{60'000};
    std::stop_token stop;
  };
  [[nodiscard]] Result<RunOutcome> run(
      const Call& call, const std::function<void(std::string_view)>& on_output) const;

  // Arguments of `bud` and of `push` that depend on the rung.
  [[nodiscard]] std::vector<std::string> isolation_arguments() const;
  [[nodiscard]] Result<void> own(const std::filesystem::path& folder) const;

  struct Image {
    std::string id;  // 64 hex digits
    std::vector<std::string> names;
    std::string created;    // RFC 3339 in UTC, so that the text's order is the time's
    bool is_inner = false;  // another image is built upon it
    bool is_whole = true;   // false: buildah writes it just now, or was killed while it did
  };
  // From the store's files, which change as a whole; one image that is not whole makes `buildah
  // images` fail for all.
  [[nodiscard]] std::vector<Image> images() const;
  // All names of all images in the store.
  [[nodiscard]] std::set<std::string> image_names() const;
  // Of all layers, unpacked, as the store has written them down.
  [[nodiscard]] std::uint64_t layers_bytes() const;

  // Working containers, each with the hooks name of the build that made it; empty when that is not
  // known (the build was ended before it wrote it down).
  struct Container {
    std::string id;
    std::string hooks_name;
  };
  [[nodiscard]] std::vector<Container> containers() const;
  void remove_containers(const std::vector<std::string>& ids,
                         const std::filesystem::path& scratch) const;

 private:
  Buildah(BuildahOptions options, std::unique_ptr<Sandbox> sandbox)
      : options_(std::move(options)), sandbox_(std::move(sandbox)) {}

  [[nodiscard]] nlohmann::json state_file(const std::string& name) const;

  BuildahOptions options_;
  std::unique_ptr<Sandbox> sandbox_;
};

}  // namespace atlasflow::builder
