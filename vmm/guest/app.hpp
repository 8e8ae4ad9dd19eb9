// The app in its guest: started as the image says.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "vmm/guest/guest_config.hpp"

namespace atlasflow::vmm::guest {

// Starts the app as the leader of a session of its own; output becomes the end of the pipe that it
// writes to. Does not return when it cannot: that is said to the host.
[[nodiscard]] pid_t launch(Config& config, int& output);

// The value of a variable of an environment ("K=V"); nullptr when it is not there.
[[nodiscard]] const char* value_of(const std::vector<std::string>& env, std::string_view name);

}  // namespace atlasflow::vmm::guest
