// A deployment's progress as lines to whoever pushed it. Blocking; the thread of the connection.
#pragma once

#include <chrono>
#include <functional>
#include <string>

#include "api/context.hpp"

namespace atlasflow::api {

// Calls `tell` with each line until the deployment is live or has ended, for `at_most`. `pause`
// waits for that long and is false when nobody listens any more; it may say that all is well.
void tell_progress(const Context& context, const DeploymentId& id,
                   std::chrono::milliseconds at_most,
                   const std::function<void(const std::string&)>& tell,
                   const std::function<bool(std::chrono::milliseconds)>& pause);

}  // namespace atlasflow::api
