// What a handler sees of HTTP: one whole request in, one response out, which may be a stream. Plain
// values; a request belongs to the thread of its connection, which also runs the stream.
#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"

namespace atlasflow::api {

// Where the body of a request goes that is too large for memory, piece by piece as it comes.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual void take(std::string_view bytes) = 0;
};

struct Request {
  std::string method;
  std::string path;                                        // as sent, without the query
  std::map<std::string, std::string> parameters;           // of the route's pattern, decoded
  std::vector<std::pair<std::string, std::string>> query;  // decoded, in the order sent
  std::vector<std::pair<std::string, std::string>> fields;
  std::string body;
  std::shared_ptr<BodySink> sink;  // of a route that opens one: it has the body

  // The first of that name, or nullptr. Field names compare without case.
  [[nodiscard]] const std::string* field(std::string_view name) const;
  [[nodiscard]] std::size_t count_fields(std::string_view name) const;
  [[nodiscard]] const std::string* query_value(std::string_view name) const;
};

// The client's end of a streamed response. Both answer false once the client has left or the server
// stops; the handler then returns.
class Stream {
 public:
  virtual ~Stream() = default;
  // Blocks while the client is slow.
  [[nodiscard]] virtual bool write(std::string_view bytes) = 0;
  [[nodiscard]] virtual bool wait(std::chrono::milliseconds duration) = 0;
};

struct Response {
  int status = 200;
  std::string content_type = "application/json";
  std::string body;
  std::vector<std::pair<std::string, std::string>> fields;
  // When set, the body is what this writes. It answers true when that was all of it; after false
  // the connection is cut, so that a client cannot take the rest for nothing.
  std::function<bool(Stream&)> stream;
};

using Handler = std::function<Response(const Request&)>;

// "?name=1" is true; "0" and absence are false; anything else is invalid_argument.
[[nodiscard]] Result<bool> flag_of(const Request& request, const char* name);

[[nodiscard]] int http_status_of(ErrorCode code);

// {"error":{"code","message","cause"}}
[[nodiscard]] Response error_response(const Error& error);
// For the statuses of HTTP itself (405, 408, 431, …) that no ErrorCode stands for.
[[nodiscard]] Response error_response(int status, ErrorCode code, std::string message);

}  // namespace atlasflow::api
