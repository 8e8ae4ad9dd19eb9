// Debian's docker-registry (CNCF Distribution) as a supervised child on loopback. Owned by the
// composition root; its own thread watches the process and restarts it with backoff.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <set>
#include <stop_token>
#include <string>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"

namespace atlasflow::builder {

struct RegistryConfig {
  std::filesystem::path
      state_dir;           // blobs, config.yml, registry.log, registry.json (pid, start time, port)
  std::uint16_t port = 0;  // 0: a free one, kept over restarts when it is still free
};

// Which manifests stay.
struct RegistryKeep {
  std::set<std::string> references;  // "<registry>/<repository>@sha256:…"; the registry's address
                                     // is not compared: its port may have been another
  std::set<std::string> image_ids;   // "sha256:…": what is tagged by one of these, as pushes do
};

class Registry {
 public:
  virtual ~Registry() = default;                          // stops the child
  [[nodiscard]] virtual std::string address() const = 0;  // "127.0.0.1:<port>"
  [[nodiscard]] virtual bool healthy() const = 0;         // GET /v2/ answered lately

  // Deletes the manifests that are not to be kept, and then the blobs that no manifest names;
  // returns "<repository>@sha256:…" of what it deleted. The caller sees to it that nobody pushes or
  // pulls meanwhile: a blob whose manifest is still to come would be deleted. What was begun is
  // finished by the next call.
  [[nodiscard]] virtual Result<std::vector<std::string>> collect(const RegistryKeep& keep,
                                                                 std::stop_token stop) = 0;
};

// Returns when GET /v2/ answers. A registry that an earlier, killed server left running over the
// same folder is ended first, never doubled.
[[nodiscard]] Result<std::unique_ptr<Registry>> start_registry(const RegistryConfig& config);

// Ends the registry that a killed server left over this folder, as its record says; its pid, 0 when
// none runs. Not for a folder whose server runs. timed_out: it does not die.
[[nodiscard]] Result<pid_t> end_registry(const std::filesystem::path& state_dir);

}  // namespace atlasflow::builder
