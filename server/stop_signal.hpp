// SIGTERM and SIGINT as something to wait for. Main's thread makes and waits on one; there is one
// at a time per process.
#pragma once

#include <chrono>

namespace atlasflow::server {

// The first signal ends wait(); the second ends the process at once, in case the stop hangs. The
// signals are not blocked, as a mask would be inherited by every process that the server starts.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;
  StopSignal& operator=(const StopSignal&) = delete;

  void wait() const;
  // The same, for at most so long; true when a signal came or wake() was called.
  [[nodiscard]] bool wait_for(std::chrono::milliseconds at_most) const;
  // Ends wait() as a signal does, but counts as none: the next signal is the first. Any thread.
  void wake() const;
};

}  // namespace atlasflow::server
