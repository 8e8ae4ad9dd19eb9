// What the long-running processes of this executable, the server and the edge, do first. Called
// once, from main's thread, before there is another.
#pragma once

#include <string>

namespace atlasflow::cli {

// Log lines to standard error from this level on, no end by SIGPIPE, as many descriptors as the
// system allows: an edge with many connections needs them.
void set_up_process(const std::string& log_level);

}  // namespace atlasflow::cli
