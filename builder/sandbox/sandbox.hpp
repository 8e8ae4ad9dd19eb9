// The namespaces in which buildah runs, whole: its own processes, mounts, host name, network and
// (on the first rung) users, over a root file system that holds the toolchain and nothing of this
// machine. What a build does outside of its storage folder ends with its first process, and neither
// buildah nor a RUN step sees the server's processes, loopback or files, whatever name, link or
// mount it asks by. Internal to builder/; any thread, one sandbox per call.
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
#include "base/process.hpp"
#include "base/secret.hpp"

namespace atlasflow::builder {

// The first user id of the million that builds run as on the host, so that images may have owners
// above 65535; also used by script/base-images.
inline constexpr unsigned k_build_uid_base = 200'000;

enum class SandboxNetwork : std::uint8_t {
  none,      // loopback only, its own
  internet,  // by slirp4netns; this machine and private networks are out of reach (network.hpp)
  host,      // the host's: for pushing to the registry, never for RUN
};

struct SandboxConfig {
  std::filesystem::path toolchain;
  bool user_namespace = true;  // without it, root in the sandbox is root on the host
  std::vector<std::string> reachable_networks;  // private ones that may be reached: "10.1.0.0/16"
  std::string seccomp = {};                     // -> k_seccomp_file
};
// Which system calls a step may do.
inline constexpr const char* k_seccomp_file = "/mnt/seccomp.json";

// A file in memory, of the one sandbox: <k_secrets_folder>/<name>, which its root alone can read.
// No path of this machine leads to it, and it is gone with the sandbox's last process.
struct SecretFile {
  std::string name;
  Secret content;
};
inline constexpr const char* k_secrets_folder = "/mnt/secrets";

// In the scratch folder: laid over the context, where the kernel can. What is in it is seen, and
// what it has a whiteout for is not.
inline constexpr const char* k_context_layer = "context-upper";

struct SandboxMounts {
  std::filesystem::path storage;       // -> /mnt/storage
  std::filesystem::path bases;         // -> /mnt/bases, read only; empty: none
  std::filesystem::path cache;         // -> /var/lib/containers/cache
  std::filesystem::path cache_mounts;  // keeps RUN --mount=type=cache; empty: not kept
  std::filesystem::path scratch;       // -> /mnt/scratch; read and write
  std::filesystem::path context;       // -> /mnt/context, read only; empty: none
  bool hides_files = false;            // by k_context_layer: without that nothing is run
  std::string hooks_name;              // the empty folder /mnt/hooks/<name> is made
  std::vector<SecretFile> secrets;
};

class Sandbox {
 public:
  [[nodiscard]] static Result<std::unique_ptr<Sandbox>> make(const SandboxConfig& config);
  virtual ~Sandbox() = default;

  // Runs argv (a path in the toolchain) in a new sandbox and waits for the end of all its
  // processes. `environment`, NAME=value each, comes after the sandbox's own.
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
