// The answers that the edge gives in its own name, marked so that nobody takes them for the
// application's: as HTML for people, as JSON or as problem details (RFC 9457) for programs, else as
// text, whichever the client prefers. Pure; any thread.
#pragma once

#include <ctime>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/message.hpp"

namespace atlasflow::edge {

struct EdgeAnswer {
  int status = 502;
  std::string_view code{};  // "unknown_host"; sent as X-Atlas-Error and in the JSON
  std::string title{};      // one line
  std::string message{};    // what happened and what to do
  int retry_after_s = 0;    // 0: no Retry-After
  std::string location{};   // for redirects
  std::string text{};       // the whole body, as it is, instead of a page
  std::string notice{};     // what the project says to its visitors
  int grpc_status = 0;      // what it is to a gRPC client; 0: what the status stands for
};

struct AnswerContext {
  std::string_view accept;  // the request's Accept field
  std::string_view request_id;
  std::time_t now = 0;
  std::string_view hsts{};  // empty: nothing is said
  bool grpc = false;        // the client takes errors as HTTP 200 with a grpc-status
};

// As any version of HTTP can carry it: without what is about the connection.
struct OwnResponse {
  int status = 502;
  std::vector<std::pair<std::string_view, std::string>> fields;  // Content-Length among them
  std::string body;
};

[[nodiscard]] OwnResponse render_answer(const EdgeAnswer& answer, const AnswerContext& context);

// To a message that is not well formed.
[[nodiscard]] EdgeAnswer bad_request(const http::HttpError& error);

}  // namespace atlasflow::edge
