// One health probe from outside the guest, and what it means. Blocking, any thread, no state.
#pragma once

#include <chrono>
#include <string>

#include "vmm/hypervisor/hypervisor.hpp"

namespace atlasflow::vmm {

struct ProbeResult {
  int status = 0;     // HTTP status; 0 when no response came
  std::string error;  // empty when a response came: "connection refused", "no answer within 1 s"
  std::string location = {};  // where a redirect leads: printable, bounded, without its query
  [[nodiscard]] bool healthy() const { return status >= 200 && status <= 299; }
};

// GET path over HTTP/1.1 with Connection: close, and the fields that the edge adds to a request
// that came by https. Redirects are not followed; nothing is read past the head of the final
// response, which is parsed as the edge parses it.
[[nodiscard]] ProbeResult probe_http(const Endpoint& endpoint, const std::string& path,
                                     const std::string& host_header,
                                     std::chrono::milliseconds timeout);

// What is wrong and what to do about it, for the app's owner; at most 500 bytes, no byte of the
// app's own but an address and a redirect's target.
struct ProbeReason {
  std::string sentence;   // empty: healthy, or the status says it all
  bool is_known = false;  // the reason is known, and not only that there is no answer yet
};
[[nodiscard]] ProbeReason explain(const ProbeResult& result, const std::string& path,
                                  const VmStatus& status);

}  // namespace atlasflow::vmm
