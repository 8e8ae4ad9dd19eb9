// The namespaces in which buildah runs, whole: its own processes, mounts, host name, network and
// (on the first rung) users. What a build does outside of its storage folder ends with its first
// process, and neither buildah nor a RUN step sees the server's processes, loopback or files that
// only root may read. Internal to builder/; any thread, one sandbox per call.
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
#include "base/file_descriptor.hpp"
#include "builder/sandbox/process.hpp"

namespace atlasflow::builder {

// The first user id of the 65536 that builds run as on the host; also used by script/base-images.
inline constexpr unsigned k_build_uid_base = 200'000;

enum class SandboxNetwork : std::uint8_t {
  none,      // loopback only, its own
  internet,  // by slirp4netns; the host's loopback, addresses and link-local (metadata) are out of
             // reach
  host,      // the host's: for pulling and pushing, never for RUN
};

struct SandboxMounts {
  std::filesystem::path storage;  // -> /mnt/storage
  std::filesystem::path cache;    // -> /var/lib/containers/cache
  std::filesystem::path scratch;  // -> /mnt/scratch; read and write
  std::filesystem::path context;  // -> /mnt/context, read only; empty: none
  std::string hooks_name;         // the empty folder /mnt/hooks/<name> is made
};

class Sandbox {
 public:
  // user_namespace: without it, root in the sandbox is root on the host.
  [[nodiscard]] static Result<std::unique_ptr<Sandbox>> make(bool user_namespace);
  virtual ~Sandbox() = default;

  // Runs argv in a new sandbox and waits for the end of all its processes. `environment`,
  // NAME=value each, comes after the sandbox's own.
  [[nodiscard]] virtual Result<RunOutcome> run(
      std::vector<std::string> argv, const std::vector<std::string>& environment,
      const SandboxMounts& mounts, SandboxNetwork network,
      const std::vector<FileDescriptor>& cgroup_procs, std::chrono::milliseconds deadline,
      const std::stop_token& stop,
      const std::function<void(std::string_view)>& on_output) const = 0;

  // Gives a folder to the sandbox's root.
  [[nodiscard]] virtual Result<void> own(const std::filesystem::path& folder) const = 0;
};

}  // namespace atlasflow::builder
