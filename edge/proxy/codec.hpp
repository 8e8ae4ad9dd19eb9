// Between a client connection's bytes and its streams: a codec makes streams and their events
// (head, body, end, reset) of the bytes that have come, and bytes of what the streams answer. It
// belongs to its connection, which makes it when the transport is up; its worker's thread only.
//
// Back-pressure is per stream in both directions. Towards the upstream a codec hands a stream no
// more body than Stream::body_room() asks for: HTTP/1 leaves the rest unparsed, HTTP/2 (which has
// to parse what comes) opens the stream's window by what it could hand on. Towards the client a
// stream reads no more of its upstream than may_write() allows.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "edge/proxy/deadline.hpp"
#include "edge/proxy/error_page.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

class Stream;

class Codec {
 public:
  Codec() = default;
  virtual ~Codec() = default;
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;

  // ---- the connection's side ----

  // Moves what can be moved of all streams. True when anything was; it is called again then, until
  // the connection's part of the turn is used up. The connection may be closed by it.
  [[nodiscard]] virtual bool step() = 0;
  // Something has happened to the stream's upstream: the next step() looks after it.
  virtual void wake(Stream& stream) = 0;
  // The client has sent its last byte.
  virtual void client_ended() = 0;
  // After steps, the last of which moved nothing or was the turn's last.
  virtual void update_deadlines(bool progress) = 0;
  // What the connection itself waits for.
  [[nodiscard]] virtual Wait wait() const = 0;
  // Answers what is no request, and ends the connection.
  virtual void refuse(const EdgeAnswer& answer) = 0;
  // Another process takes over, or it has idled for long: new requests should go elsewhere. False:
  // it can't be told so, or was told before.
  [[nodiscard]] virtual bool begin_farewell() = 0;
  // The client does not answer to that: from now on nothing new is taken.
  virtual void end_farewell() = 0;
  // When that is due, in the worker's time; INT64_MAX: it is not.
  [[nodiscard]] virtual std::int64_t farewell_ends_ms() const = 0;
  // It idles, and is about to be closed.
  virtual void say_goodbye() = 0;
  // The connection is gone: each stream leaves its upstream.
  virtual void abandon() = 0;
  // It idles.
  virtual void release_memory() = 0;
  // Whose request is served, for the log; "-" when none is.
  [[nodiscard]] virtual std::string_view host() const = 0;

  // ---- a stream's side ----

  [[nodiscard]] virtual bool may_write(const Stream& stream) const = 0;
  // Why the head, which answers a websocket's request, cannot be passed on; empty: it can.
  [[nodiscard]] virtual std::string_view refuses_upgrade(const Stream& stream,
                                                         const http::ResponseHead& head) const = 0;
  // A 1xx. With 101 the stream becomes a tunnel.
  virtual void write_interim(Stream& stream, const http::ResponseHead& head) = 0;
  virtual void write_head(Stream& stream, const http::ResponseHead& head) = 0;
  virtual void write_body(Stream& stream, std::string_view bytes) = 0;
  // The answer is whole, and the stream over.
  virtual void write_end(Stream& stream, const std::vector<http::Field>& trailers) = 0;
  // The application has sent the last byte of its side of a tunnel; the client may go on.
  virtual void end_tunnel(Stream& stream) = 0;
  // The edge's own answer, in the upstream's place. The stream is over, or reads the rest of its
  // request.
  virtual void write_answer(Stream& stream, const EdgeAnswer& answer) = 0;
  // Ends an answer that has begun so that nobody takes it for whole.
  virtual void cut(Stream& stream) = 0;
  // The stream ends at once and without a word.
  virtual void drop(Stream& stream) = 0;
};

}  // namespace atlasflow::edge
