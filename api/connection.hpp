// One client's connection: reads requests, has the router's handlers answer them, one after the
// other. Lives on its own thread from accept to close.
#pragma once

#include <chrono>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/http_server.hpp"
#include "http/parser.hpp"

namespace atlasflow::api {

// Tells a client over the limit to come back later, without waiting for it. The caller closes.
void refuse_connection(int client);

class Connection {
 public:
  Connection(FileDescriptor client, ServerState& server);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  void run();

 private:
  using Clock = std::chrono::steady_clock;
  enum class After : std::uint8_t { keep, close };  // what becomes of the connection
  enum class Read : std::uint8_t { bytes, closed, timed_out, stopping };
  class ChunkedStream;

  [[nodiscard]] After serve_one();
  // Takes the head over from the parser and finds the route; what cannot be served becomes
  // refusal_.
  void begin_request();
  // False: the route does not take the body.
  [[nodiscard]] bool open_sink();
  [[nodiscard]] bool take_body(std::string_view bytes);
  [[nodiscard]] After refuse_malformed();
  [[nodiscard]] After refuse_slow();
  [[nodiscard]] After answer();
  [[nodiscard]] Response handle();
  [[nodiscard]] Response failed(const std::exception& error) const;

  [[nodiscard]] After send_response(const Response& response, After after);
  // False when the client is gone, takes nothing, or the server has been stopping for the grace.
  [[nodiscard]] bool send_all(std::string_view bytes, std::chrono::milliseconds stop_grace);
  [[nodiscard]] Read read_more(Clock::time_point deadline);
  void linger();

  FileDescriptor client_;
  ServerState& server_;
  http::RequestParser parser_;
  std::vector<char> buffer_;
  std::string_view unread_;  // of buffer_; the parser has not seen it

  // Of the request that is being read.
  Request request_;
  RouteMatch match_;
  std::optional<Response> refusal_;
  bool wants_keep_alive_ = false;
  bool may_chunk_ = false;  // HTTP/1.1
  bool has_body_ = false;
  std::uint64_t body_bytes_ = 0;          // that have come
  std::uint64_t body_bytes_counted_ = 0;  // in server_.body_bytes_in_memory
};

}  // namespace atlasflow::api
