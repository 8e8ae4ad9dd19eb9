// HTTP/2 without TLS to an application (RFC 9113, by prior knowledge: section 3.3), on nghttp2's
// client session: the requests of many streams on one connection. It moves bytes and tells the
// streams; what is sent, relayed or tried again they decide (proxy/stream_h2c.cpp). Owned by its
// worker's H2cPool; the worker's thread only.
//
// Back-pressure is per stream both ways. Of an answer no more comes than the window that the
// stream's own client has made room for; of all answers of a connection together twice as much may
// come as of its streams, so that those whose clients do not read hold up no other. Of a request
// body as much is framed as the application's windows allow, in turns, and the stream keeps the
// rest.
//
// Nothing is said before the application's SETTINGS have come: until then nobody knows how many
// streams it takes, nor whether it speaks HTTP/2 at all, and every request may still go elsewhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include <nghttp2/nghttp2.h>

#include "edge/h2c/h2c_exchange.hpp"
#include "edge/http2/field_list.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/endpoint.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/transport_socket.hpp"
#include "edge/routes/route_snapshot.hpp"

namespace atlasflow::edge {

struct ClientIdentity;
struct WorkerContext;

class H2cConnection : public Endpoint {
 public:
  // Of one connection, however many its application would take.
  static constexpr std::size_t k_streams_max = 100;

  H2cConnection(WorkerContext& context, FileDescriptor socket, Target& target, bool connecting);

  // ---- its pool's and its worker's ----

  // False: out of memory.
  [[nodiscard]] bool begin();
  void on_events(std::uint32_t events) { socket_.on_events(events); }
  // Its part of a turn: takes what has come and sends what is due.
  void pump();
  // Whether one more request may be given to it.
  [[nodiscard]] bool takes_more() const;
  // Looks by the socket, too, whether the application is still there: epoll may not have told.
  void look();
  void add(Stream& stream);
  // Its last bytes are sent as far as the socket takes them. Streams that it has are told.
  void close();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] bool idle() const { return exchanges_.empty(); }
  [[nodiscard]] const TransportSocket& socket() const { return socket_; }
  [[nodiscard]] Target& target() const { return target_; }
  [[nodiscard]] std::int64_t idle_until_ms() const { return idle_until_ms_; }

  // ---- its streams' ----

  // The application's SETTINGS have come.
  [[nodiscard]] bool ready() const { return ready_; }
  // False: the application takes no more requests than it has, or none any more.
  [[nodiscard]] bool submit(H2cExchange& exchange, const http::RequestHead& head,
                            const ClientIdentity& client);
  // There is more of the request.
  void resume(H2cExchange& exchange);
  // So much of the answer has been handed on.
  void consume(H2cExchange& exchange, std::size_t bytes);
  // The stream leaves: what is not over is cancelled. The exchange may be gone afterwards.
  void release(H2cExchange& exchange);
  // The application has let a request wait for too long. If nothing at all has come of it since
  // then, it gets no more requests on this connection.
  void doubt(std::int64_t since_ms);

  std::size_t index = 0;  // in the pool's list
  ListHook<H2cConnection> in_due;
  ListHook<H2cConnection> in_idle;

 private:
  struct Callbacks;
  friend struct Callbacks;
  using Session = std::unique_ptr<nghttp2_session, decltype(&nghttp2_session_del)>;

  [[nodiscard]] bool connect_ended();
  void receive();
  void send();
  void write();
  void lose(H2cExchange::End how);
  void end_exchange(H2cExchange& exchange, H2cExchange::End how);
  void wake(H2cExchange& exchange);
  void remove(H2cExchange& exchange);
  void note_idle();
  void note_vain_wait(const H2cExchange& exchange);
  void due();

  // What nghttp2 tells.
  [[nodiscard]] H2cExchange* find(std::int32_t id) const;
  void add_field(H2cExchange& exchange, std::string_view name, std::string_view value);
  void fields_end(H2cExchange& exchange, bool end_of_stream);
  void refuse(H2cExchange& exchange, std::string_view reason);
  void stream_closed(std::int32_t id, std::uint32_t code);
  void settings_came();
  [[nodiscard]] ssize_t frame_body(H2cExchange& exchange, std::uint8_t* to, std::size_t room,
                                   std::uint32_t& flags);

  WorkerContext& context_;
  TransportSocket socket_;
  Target& target_;
  Session session_{nullptr, nghttp2_session_del};
  Buffer in_;
  Buffer out_;
  std::vector<std::unique_ptr<H2cExchange>> exchanges_;
  FieldList fields_;
  bool connecting_;
  bool ready_ = false;
  bool not_http2_ = false;
  bool served_ = false;    // has carried a request that is over
  bool draining_ = false;  // the application has said GOAWAY, or is doubted
  bool closed_ = false;
  std::int64_t heard_ms_ = 0;
  std::int64_t vain_ms_ = 0;        // that requests have waited since something was heard
  std::int64_t vain_until_ms_ = 0;  // as far as it is counted
  std::int64_t idle_until_ms_ = 0;
};

}  // namespace atlasflow::edge
