// A client's connection: its socket, TLS and bytes, its handshake and its end. What the bytes mean
// is its codec's business, what is done about a request its streams'. Its worker's thread only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "edge/proxy/address_table.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/codec.hpp"
#include "edge/proxy/deadline.hpp"
#include "edge/proxy/endpoint.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/transport_socket.hpp"

namespace atlasflow::edge {

struct WorkerContext;

class ClientConnection : public Endpoint {
 public:
  struct Peer {
    std::string address;
    AddressKey key;
    bool over_rate = false;  // its address has begun more handshakes than its share
  };
  ClientConnection(WorkerContext& context, FileDescriptor socket, const Listener& from, Peer peer);

  // ---- for the worker ----

  // Its part of a turn: moves what can be moved.
  void pump();
  // Its deadline has passed.
  void expire();
  void on_events(std::uint32_t events) { socket_.on_events(events); }
  // Something has happened to the stream's upstream: the connection has its part of this turn yet.
  void wake(Stream& stream);
  // Another process takes over.
  void retire();
  void close();
  // Whether it has a request that is not over.
  [[nodiscard]] bool serves() const;
  // For one that serves nothing. One that is between two requests ends as TLS asks for; any other
  // is closed.
  void close_orderly();
  [[nodiscard]] bool closed() const { return closed_; }
  [[nodiscard]] const Deadline& deadline() const { return deadline_; }
  [[nodiscard]] std::uint64_t requests() const { return requests_; }
  // Called now and then: gives back what it does not need while it idles, and ends a farewell that
  // the client does not answer. True: that took a part of the turn.
  [[nodiscard]] bool tend();

  // ---- for its codec and streams ----

  [[nodiscard]] Buffer& in() { return in_; }
  [[nodiscard]] Buffer& out() { return out_; }
  [[nodiscard]] TransportSocket& socket() { return socket_; }
  // Reads once into in(). True when something came of it: bytes, or the end.
  [[nodiscard]] bool fill();
  // A request has come: from here on the connection is not closed for another's sake.
  void begin_request();
  // It has been answered, and another may follow.
  void end_request();
  // Sends what there is, then waits until the client has seen it, dropping so much of what still
  // comes: closing a socket with unread input would reset the connection, and could take the answer
  // with it.
  void begin_closing(std::size_t linger_bytes);
  // Ends its sending side.
  void shutdown_write();
  // For an answer that ends with the connection: every end but that of shutdown_write(), this
  // process's death too, is a reset, so that the client does not take half of it for the whole.
  void end_means_whole();

  [[nodiscard]] const std::string& address() const { return peer_.address; }
  [[nodiscard]] const AddressKey& address_key() const { return peer_.key; }
  [[nodiscard]] bool over_rate() const { return peer_.over_rate; }
  [[nodiscard]] bool https() const { return https_; }
  [[nodiscard]] bool http2() const { return http2_; }
  [[nodiscard]] std::uint16_t local_port() const { return local_port_; }
  [[nodiscard]] const std::string& server_name() const { return server_name_; }
  [[nodiscard]] bool ended() const {
    return ended_;
  }  // its last byte has come; it may still listen
  [[nodiscard]] bool left() const { return broken_ || socket_.reset(); }  // and it does not
  [[nodiscard]] bool write_closed() const { return write_closed_; }

  std::size_t index = 0;  // in the worker's list
  ListHook<ClientConnection> in_run_again;
  ListHook<ClientConnection> in_woken;
  ListHook<ClientConnection> in_handshakes;
  ListHook<ClientConnection> in_quiet;

 private:
  enum class Phase : std::uint8_t {
    handshake,
    open,     // the codec's
    closing,  // flush, then linger until the client has seen it all
  };

  [[nodiscard]] bool flush();
  [[nodiscard]] bool step_handshake();
  [[nodiscard]] bool step_closing();
  void open();
  void cut_overdue();
  [[nodiscard]] Wait current_wait() const;
  [[nodiscard]] std::int64_t limit_ms(Wait wait) const;
  void update_deadlines(bool progress);

  WorkerContext& context_;
  TransportSocket socket_;
  const Peer peer_;
  const bool https_;
  const std::uint16_t local_port_;
  std::string server_name_;  // normalised SNI
  Phase phase_;
  Buffer in_;
  Buffer out_;
  std::unique_ptr<Codec> codec_;  // nullptr until the transport is up
  std::uint64_t requests_ = 0;
  bool http2_ = false;
  bool ended_ = false;
  bool broken_ = false;
  bool wrote_ = false;         // the client has taken bytes since the deadline was looked at
  bool write_closed_ = false;  // we have sent our last byte
  bool closed_ = false;
  bool end_means_whole_ = false;
  int wakes_ = 0;  // since its last part of a turn
  std::size_t linger_left_ = 0;
  Deadline deadline_;
};

}  // namespace atlasflow::edge
