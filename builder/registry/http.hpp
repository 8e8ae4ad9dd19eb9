// One request to a registry, by libcurl. Internal to builder/; blocking, any thread.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::builder {

struct HttpAnswer {
  long status = 0;
  std::string body;  // at most 4 MiB
};

// unavailable when there is no answer in time. Redirects are not followed, proxies are not used.
[[nodiscard]] Result<HttpAnswer> http_get(const std::string& url,
                                          const std::vector<std::string>& headers,
                                          std::chrono::milliseconds timeout);
[[nodiscard]] Result<HttpAnswer> http_delete(const std::string& url,
                                             std::chrono::milliseconds timeout);

}  // namespace atlasflow::builder
