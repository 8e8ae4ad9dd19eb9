// Watches the app to its end: carries its output, obeys the host, tells where it listens and how it
// ended.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

namespace atlasflow::vmm::guest {

struct Supervised {
  pid_t app = 0;     // leads a process group of its own
  int output = -1;   // the end of the pipe that it writes to
  int log = -1;      // where that goes
  int control = -1;  // the host's words
  int signals = -1;  // a signalfd for all signals, which are blocked
  int stop_signal = 0;
  std::vector<std::string> args;  // with PATH and the folder: to explain an end
  std::string path;
  std::string workdir;
};

// Ends with the VM.
[[noreturn]] void supervise(const Supervised& what);

}  // namespace atlasflow::vmm::guest
