// One request on an HTTP/2 connection to an application, and what has come of its answer. Values:
// the connection fills them in by what nghttp2 tells, the stream whose request it is takes them.
// Their worker's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "edge/proxy/buffer.hpp"
#include "http/body.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

class H2cConnection;
class Stream;

// The fields of a head or of trailers, as they come one by one. nghttp2 has looked at each: names
// in lower case, no control characters, nothing of HTTP/1's connections.
class H2cFields {
 public:
  // False: they are more than the limits allow.
  [[nodiscard]] bool add(std::string_view name, std::string_view value,
                         const http::HttpLimits& limits);
  // The head that they say; its slices live as long as this. `end`: there is no body.
  [[nodiscard]] const http::ResponseHead& finish_head(bool to_head, bool end);
  [[nodiscard]] const std::vector<http::Field>& finish_trailers();

  [[nodiscard]] const http::ResponseHead& head() const { return head_; }
  [[nodiscard]] const std::vector<http::Field>& trailers() const { return head_.fields; }
  [[nodiscard]] std::size_t bytes() const { return text_.size(); }
  [[nodiscard]] int status() const { return status_; }

 private:
  struct Slice {
    std::size_t at;
    std::size_t name_size;
    std::size_t value_size;  // the value follows the name
  };
  void finish();

  std::string text_;
  std::vector<Slice> slices_;
  int status_ = 0;
  http::ResponseHead head_;
};

struct H2cExchange {
  // How it ended when it did not with an answer.
  enum class End : std::uint8_t {
    none,
    unreachable,  // there never was a connection
    not_http2,    // there was one, to something else
    refused,      // the application has not looked at the request (RFC 9113 section 8.7)
    reset,        // by the application, with `code`
    malformed,    // its answer was, with `reason`
    lost,         // with the connection
  };

  H2cExchange(H2cConnection& on, Stream& of, SlabPool& slabs)
      : connection(on), stream(&of), in(slabs) {}

  H2cConnection& connection;
  Stream* stream;             // nullptr: it has been left
  std::int32_t id = 0;        // 0: not submitted yet
  std::int64_t asked_ms = 0;  // when it was
  std::size_t index = 0;      // in the connection's list
  bool to_head = false;       // the request is a HEAD
  bool reused = false;        // the connection has carried others before
  bool woken = false;         // the stream has been told that there is something to look at

  bool sent = false;           // the request's head is framed: the application may know of it
  bool body_begun = false;     // and so may be some of its body
  bool body_deferred = false;  // nghttp2 has found no more of it, and wants to be told
  http::BodyDecoder body;      // off the form in which the stream keeps it

  std::unique_ptr<H2cFields> block;                // that comes in now
  std::deque<std::unique_ptr<H2cFields>> interim;  // 1xx, that the stream has not taken
  std::unique_ptr<H2cFields> head;                 // the final one
  std::unique_ptr<H2cFields> trailers;
  bool head_taken = false;
  Buffer in;           // of the answer's body
  bool ended = false;  // END_STREAM has come

  bool closed = false;  // nothing more comes
  End end = End::none;
  std::uint32_t code = 0;
  std::string_view reason;  // with static lifetime
};

}  // namespace atlasflow::edge
