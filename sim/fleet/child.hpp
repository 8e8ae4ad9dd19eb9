// What the simulator's processes are set up with, and how the end of one reads. Free functions; the
// first is called in the process that was just forked.
#pragma once

#include <string>

namespace atlasflow::sim {

// Ends with its parent, dumps no core, logs nothing, and writes standard error into the file.
void become_child(int error_file);

// A file without a name for that, or -1.
[[nodiscard]] int make_output_file();

// The end of what was written to it, without the deaths that the simulator injected.
[[nodiscard]] std::string last_output(int file);

// "signal 6 (Aborted): broken invariant …", of a status of waitpid and what was written last.
[[nodiscard]] std::string how_it_ended(int status, const std::string& output);

}  // namespace atlasflow::sim
