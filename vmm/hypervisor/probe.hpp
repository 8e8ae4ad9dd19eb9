// One health probe from outside the guest. Blocking, any thread, no state.
#pragma once

#include <chrono>
#include <string>

#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::vmm {

struct ProbeResult {
  int status = 0;     // HTTP status; 0 when no response came
  std::string error;  // empty when a response came: "connection refused", "no answer within 1 s"
  [[nodiscard]] bool healthy() const { return status >= 200 && status <= 299; }
};

// GET path over HTTP/1.1 with Connection: close; redirects are not followed; the body is not read
// past its first 4 KiB.
[[nodiscard]] ProbeResult probe_http(const Endpoint& endpoint, const std::string& path,
                                     const std::string& host_header,
                                     std::chrono::milliseconds timeout);

}  // namespace atlasflow::vmm
