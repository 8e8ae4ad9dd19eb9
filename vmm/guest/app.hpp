// The app in its guest: started as the image says, watched to its end.
#pragma once

#include <sys/types.h>

#include "vmm/guest/guest_config.hpp"

namespace atlasflow::vmm::guest {

// Starts the app; output becomes the end of the pipe that it writes to. Does not return when it
// cannot: that is said to the host.
[[nodiscard]] pid_t launch(Config& config, int& output);

// Carries the app's output to log, obeys control, reaps, tells the host of the app's end and powers
// off. signals is a signalfd for all signals, which are blocked.
[[noreturn]] void supervise(pid_t app, int output, int log, int control, int signals);

}  // namespace atlasflow::vmm::guest
