// What the long-running processes of this executable, the server and the edge, do first, and which
// build it is. set_up_process is called once, from main's thread, before there is another.
#pragma once

#include <string>

namespace atlasflow::server {

// Log lines to standard error from this level on, no end by SIGPIPE, as many descriptors as the
// system allows: an edge with many connections needs them.
void set_up_process(const std::string& log_level);

// The digest of the executable: says which binary wrote an event, whatever it was built from.
[[nodiscard]] const std::string& own_build_id();
// What that is when the executable can't be read.
inline constexpr const char* k_unknown_build = "unknown";

// How to run the server under a service manager, as a line of its summary; nothing where it has one
// (systemd gives its services INVOCATION_ID).
[[nodiscard]] std::string service_hint(bool has_service_manager);

}  // namespace atlasflow::server
