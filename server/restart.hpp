// Starts the server anew within its process when a part of the control plane died that can't be
// started again by itself: state is a fold of the log, so a process that forgets everything else
// and reads the log loses nothing, and nobody outside has to watch over it. Edge and microVMs run
// on, as in any restart. Main's thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "server/stop_signal.hpp"

namespace atlasflow::server {

struct Restart {
  std::int64_t at_us = 0;  // since 1970
  std::string reason;
};

// The newest ones on record in the state folder, the oldest first; none when it cannot be read.
[[nodiscard]] std::vector<Restart> recorded_restarts(const std::filesystem::path& state);

// After so many restarts in ten minutes: 1 s, doubled each time, at most 60 s.
[[nodiscard]] std::chrono::seconds pause_before_restart(const std::vector<Restart>& earlier,
                                                        std::int64_t now_us);

// Puts the restart on record, waits and executes this program again with the same arguments. No
// destructor runs, as if it had been killed: a part that is broken may never let itself be stopped.
// Returns when a signal to stop came meanwhile, and with an error when it can't be executed.
[[nodiscard]] Result<void> restart_process(const std::filesystem::path& state, const Error& why,
                                           const StopSignal& stop);

}  // namespace atlasflow::server
