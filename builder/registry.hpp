// Debian's docker-registry (CNCF Distribution) as a supervised child on loopback. Owned by the
// composition root; its own thread watches the process and restarts it with backoff.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include <sys/types.h>

#include "events/error.hpp"

namespace atlasflow::builder {

struct RegistryConfig {
  std::filesystem::path
      state_dir;           // blobs, config.yml, registry.log, registry.json (pid, start time, port)
  std::uint16_t port = 0;  // 0: a free one, kept over restarts when it is still free
};

class Registry {
 public:
  virtual ~Registry() = default;                          // stops the child
  [[nodiscard]] virtual std::string address() const = 0;  // "127.0.0.1:<port>"
  [[nodiscard]] virtual bool healthy() const = 0;         // GET /v2/ answered lately
};

// Returns when GET /v2/ answers. A registry that an earlier, killed server left running over the
// same folder is ended first, never doubled.
[[nodiscard]] Result<std::unique_ptr<Registry>> start_registry(const RegistryConfig& config);

// Ends the registry that a killed server left over this folder, as its record says; its pid, 0 when
// none runs. Not for a folder whose server runs. timed_out: it does not die.
[[nodiscard]] Result<pid_t> end_registry(const std::filesystem::path& state_dir);

}  // namespace atlasflow::builder
