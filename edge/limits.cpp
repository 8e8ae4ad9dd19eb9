#include "edge/limits.hpp"

#include <algorithm>

#include <sys/resource.h>
#include <unistd.h>

namespace atlasflow::edge {
namespace {

// What is left of the limit on open files for the control socket, logs, listeners and the rest.
constexpr std::int64_t k_descriptors_reserved = 64;
constexpr std::int64_t k_descriptors_per_worker = 8;
constexpr std::int32_t k_connections_min = 16;  // of a worker, or it could serve nobody
constexpr std::int64_t k_memory_min = 1 << 20;  // likewise

// Of clients and to upstreams together, as many as the limit on open files allows.
std::int32_t connections_allowed(std::size_t workers) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 512;
  const auto files = static_cast<std::int64_t>(std::min<rlim_t>(limit.rlim_cur, 1U << 20U));
  const std::int64_t reserved =
      k_descriptors_reserved + k_descriptors_per_worker * static_cast<std::int64_t>(workers);
  return static_cast<std::int32_t>(std::max<std::int64_t>(files - reserved, 64));
}

std::int64_t memory_allowed() {
  constexpr std::int64_t k_share = 4;
  const std::int64_t bytes = std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  return bytes > 0 ? bytes / k_share : k_memory_min;
}

}  // namespace

EdgeLimits limits_in_force(EdgeLimits limits, std::size_t workers) {
  const std::int32_t allowed = connections_allowed(workers);
  limits.connections_max =
      limits.connections_max == 0 ? allowed : std::min(limits.connections_max, allowed);
  limits.connections_max =
      std::max(limits.connections_max, k_connections_min * static_cast<std::int32_t>(workers));
  limits.connections_per_address =
      std::clamp(limits.connections_per_address, 1, std::max(1, limits.connections_max / 2));
  limits.requests_per_instance =
      std::clamp(limits.requests_per_instance, 1, std::max(1, limits.connections_max / 4));
  if (limits.memory_max == 0) limits.memory_max = memory_allowed();
  limits.memory_max =
      std::max(limits.memory_max, k_memory_min * static_cast<std::int64_t>(workers));
  return limits;
}

}  // namespace atlasflow::edge
