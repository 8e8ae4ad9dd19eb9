// Incremental HTTP/1 parsers for servers (RequestParser) and clients (ResponseParser), for the edge
// and for any other folder that speaks HTTP (target atlasflow::http). One parser per connection,
// owned by it, used by one thread at a time; no I/O, no callback, no allocation once it is warm.
//
// A head is read twice: by our guard over the raw bytes (http/guard.hpp: CRLF only, no folding,
// exact framing) and by llhttp in strict mode; a head that they do not agree about is refused. Of
// responses, which are written anew for the client, some more is taken where it can mean one thing
// only: lines that end in LF, the same Content-Length twice.
// Bodies are unframed by BodyDecoder.
//
// Feed bytes in a loop; each step consumes a prefix of them and says what it found:
//
//   std::string_view input = ...;                       // what arrived and is not consumed yet
//   for (;;) {
//     const ParseStep step = parser.next(input);
//     input.remove_prefix(step.consumed);
//     switch (step.event) {
//       case ParseEvent::need_more: return;  // read more, call again with the new bytes
//       case ParseEvent::head: ...; break;       // look at parser.head()
//       case ParseEvent::body: ...; break;       // use step.body, a slice of the input
//       case ParseEvent::complete: ...; parser.reset(); break;  // the next request may be in input
//       case ParseEvent::error: ...; return;     // answer parser.error().status, then close
//     }
//   }
//
// Every message yields head, then any number of body, then complete; an error ends the connection's
// parsing for good. Back-pressure: do not call next(); nothing is buffered but the head.
// A server that answers before `complete` must close the connection (or go on reading to the end).
// "Expect: 100-continue" is the caller's: send "HTTP/1.1 100 Continue\r\n\r\n" after the head
// event.
#pragma once

#include <string>

#include "http/body.hpp"
#include "http/message.hpp"

namespace atlasflow::http {

enum class ParseEvent : std::uint8_t { need_more, head, body, complete, error };

struct ParseStep {
  ParseEvent event = ParseEvent::need_more;
  std::size_t consumed = 0;
  std::string_view body;  // only with ParseEvent::body
};

namespace detail {

// Collects bytes up to the empty line, within the limits.
class HeadCollector {
 public:
  enum class Outcome : std::uint8_t { need_more, whole, error };

  // Consumes a prefix of `bytes`. Too long a first line is answered with 414 if it is a request's.
  Outcome take(std::string_view bytes, const HttpLimits& limits, bool is_request,
               std::size_t& consumed);
  void clear();
  [[nodiscard]] bool empty() const { return raw_.empty() && leading_lines_ == 0; }
  [[nodiscard]] std::string_view raw() const { return raw_; }
  [[nodiscard]] const HttpError& error() const { return error_; }
  // Some lines end in CRLF and some in LF, and one of the latter stands beside the framing.
  [[nodiscard]] bool framing_doubtful() const {
    return lines_ && lines_->any_crlf && lines_->framing_beside_bare;
  }
  void release();

 private:
  // Of an application's head whose lines do not all end in CRLF.
  struct Lines {
    bool any_crlf = false;
    bool after_bare = false;
    bool end_beside_bare = false;
    bool framing_beside_bare = false;
  };
  struct LineScan {
    bool bare = false;
    std::size_t end = std::string_view::npos;  // of the head
  };

  Outcome fail(HttpError error);
  [[nodiscard]] LineScan scan_lines(std::string_view bytes) const;
  Outcome take_lines(std::string_view bytes, const HttpLimits& limits, std::size_t& consumed);

  std::optional<Lines> lines_;
  std::string raw_;
  std::size_t checked_ = 0;
  bool has_line_ = false;  // the first line is whole: looked for once, not with each byte
  int leading_lines_ = 0;
  HttpError error_;
};

}  // namespace detail

class RequestParser {
 public:
  explicit RequestParser(HttpLimits limits = {}) : limits_(limits) {}

  [[nodiscard]] ParseStep next(std::string_view bytes);

  // From the head event to reset(). Its slices point into this parser.
  [[nodiscard]] const RequestHead& head() const { return head_; }
  [[nodiscard]] const std::vector<Field>& trailers() const { return body_.trailers(); }
  [[nodiscard]] const HttpError& error() const { return error_; }

  // No byte of a message has arrived: the connection may be closed without an answer.
  [[nodiscard]] bool idle() const { return state_ == State::head && collector_.empty(); }
  void reset();
  void release_memory();  // for a connection that idles; only when idle()

 private:
  enum class State : std::uint8_t { head, body, complete, failed };
  [[nodiscard]] ParseStep fail(std::size_t consumed, HttpError error);

  HttpLimits limits_;
  State state_ = State::head;
  detail::HeadCollector collector_;
  RequestHead head_;
  std::string host_text_;
  BodyDecoder body_;
  HttpError error_;
};

// The client's side. Call reset() before each response, and again after the `complete` of an
// interim one (1xx; the final one follows). After a 101 the bytes that next() leaves are the new
// protocol's.
class ResponseParser {
 public:
  explicit ResponseParser(HttpLimits limits = {}) : limits_(limits) {}

  [[nodiscard]] ParseStep next(std::string_view bytes);

  // The peer closed. `complete` when that ends the message, else `error`.
  [[nodiscard]] ParseStep finish();

  [[nodiscard]] const ResponseHead& head() const { return head_; }
  [[nodiscard]] const std::vector<Field>& trailers() const { return body_.trailers(); }
  [[nodiscard]] const HttpError& error() const { return error_; }  // its status is 502
  [[nodiscard]] bool idle() const { return state_ == State::head && collector_.empty(); }

  // `to_head`: the request was a HEAD, so the response has no body whatever its fields say.
  void reset(bool to_head);

 private:
  enum class State : std::uint8_t { head, body, complete, failed };
  [[nodiscard]] ParseStep fail(std::size_t consumed, HttpError error);

  HttpLimits limits_;
  State state_ = State::head;
  bool to_head_ = false;
  detail::HeadCollector collector_;
  ResponseHead head_;
  BodyDecoder body_;
  HttpError error_;
};

}  // namespace atlasflow::http
