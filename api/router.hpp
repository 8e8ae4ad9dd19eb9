// Paths to handlers. Filled before the server starts and only read after, so any thread may match.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/exchange.hpp"

namespace atlasflow::api {

struct Route {
  std::string method;                // a GET route answers HEAD as well
  std::string pattern;               // "/v1/projects/:name/env"
  std::uint64_t body_bytes_max = 0;  // more is refused with 413 before it is read
  Handler handler;
  // Before any byte of the body is read: where it goes, or why it is not taken. Unset: into memory.
  using Opened = std::variant<std::shared_ptr<BodySink>, Response>;
  std::function<Opened(const Request&)> open_sink = {};
  std::chrono::milliseconds body_timeout{0};  // for a whole body; 0: the server's
};

struct RouteMatch {
  const Route* route = nullptr;
  std::map<std::string, std::string> parameters;
};

class Router {
 public:
  void add(Route route);

  // A match, or the response of what does not match: 400, 404, or 405 with Allow. `path` has no
  // query.
  [[nodiscard]] std::variant<RouteMatch, Response> match(std::string_view method,
                                                         std::string_view path) const;

 private:
  struct Entry {
    Route route;
    std::vector<std::string> segments;
  };
  std::vector<Entry> entries_;
};

}  // namespace atlasflow::api
