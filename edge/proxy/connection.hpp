// The two ends of a proxied exchange, as a worker holds them. Values without behaviour: worker.cpp
// and exchange.cpp drive them, on the worker's thread only.
#pragma once

#include <cstdint>
#include <string>

#include "edge/proxy/address_table.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/routes/route_snapshot.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge {

// What epoll's data pointer points to.
struct Endpoint {
  enum class Kind : std::uint8_t { wake, listener, client, upstream };
  explicit Endpoint(Kind of) : kind(of) {}
  Kind kind;
};

struct Listener : Endpoint {
  Listener(Fd listening, bool with_tls, std::uint16_t at)
      : Endpoint(Kind::listener), socket(std::move(listening)), https(with_tls), port(at) {}
  Fd socket;
  bool https;
  std::uint16_t port;
};

struct ClientConnection;

struct UpstreamConnection : Endpoint {
  UpstreamConnection(Fd socket, Target& of, SlabPool& pool, const http::HttpLimits& limits)
      : Endpoint(Kind::upstream), stream(std::move(socket)), target(of), in(pool), parser(limits) {}

  Stream stream;
  Target& target;
  Buffer in;
  http::ResponseParser parser;
  ClientConnection* client = nullptr;  // nullptr: idle in its target's pool
  bool connecting = false;
  bool reused = false;  // has served a request before
  bool wrote = false;   // a byte of this request has been handed to the kernel
  bool write_failed = false;
  bool ended = false;  // end of stream seen
  bool ended_cleanly = false;
  bool closed = false;
  std::int64_t idle_until_ms = 0;
  std::size_t index = 0;                  // in the worker's list
  ListHook<UpstreamConnection> in_pools;  // of the worker, all targets'; the longest idle first
};

enum class Phase : std::uint8_t {
  handshake,
  head,      // idle, or a head is arriving
  exchange,  // a request is being served by an upstream
  discard,   // answered by the edge; the rest of a small body is read to keep the connection
  tunnel,    // websocket
  closing,   // flush, then linger until the client has seen it all
};

// What the connection waits for, which decides its deadline.
enum class Wait : std::uint8_t {
  handshake,
  idle,
  head,
  request_body,
  held,  // for the next connect attempt
  connect,
  response_head,
  response_body,
  client_write,
  tunnel,
  linger,
};

// The request that a client connection is at; reset for each.
struct Exchange {
  explicit Exchange(SlabPool& pool) : request(pool) {}

  // What the upstream gets. The bytes before `request_sent` are kept while they may be sent again.
  Buffer request;
  bool has_head = false;  // the parser's head is this request's
  std::size_t request_sent = 0;
  bool replayable = true;
  bool request_complete = false;

  UpstreamConnection* upstream = nullptr;
  Target* target = nullptr;  // counted in flight there
  bool fresh_only = false;   // a pooled connection has failed this request
  bool retried_fresh = false;
  int connect_failures = 0;
  std::int64_t first_attempt_ms = 0;
  std::int64_t retry_at_ms = 0;
  std::size_t held_in = 0;  // which of the worker's lists

  std::uint64_t body_bytes = 0;     // of the request, that have come
  std::int64_t body_waited_ms = 0;  // spent waiting for them

  bool request_moved = false;         // the upstream took some of it since the deadline was set
  bool response_started = false;      // a byte of the response has arrived
  std::size_t interim_responses = 0;  // 1xx, passed on or not
  std::size_t interim_bytes = 0;
  bool head_held = false;           // the final head waits for the first byte of its body
  bool response_head_sent = false;  // the final head is in the client's buffer
  http::Framing response_framing = http::Framing::none;
  bool close_after = false;
  bool to_head = false;

  // The upstream and the target have been left before.
  void reset() {
    request.clear();
    has_head = false;
    request_sent = 0;
    replayable = true;
    request_complete = false;
    fresh_only = false;
    retried_fresh = false;
    connect_failures = 0;
    body_bytes = 0;
    body_waited_ms = 0;
    request_moved = false;
    response_started = false;
    interim_responses = 0;
    interim_bytes = 0;
    head_held = false;
    response_head_sent = false;
    response_framing = http::Framing::none;
    close_after = false;
    to_head = false;
  }
};

struct ClientConnection : Endpoint {
  ClientConnection(Fd socket, const Listener& from, SlabPool& pool, const http::HttpLimits& limits)
      : Endpoint(Kind::client),
        stream(std::move(socket)),
        https(from.https),
        local_port(from.port),
        in(pool),
        out(pool),
        parser(limits),
        exchange(pool) {}

  Stream stream;
  bool https;
  std::uint16_t local_port;
  std::string address;
  std::string server_name;  // normalised SNI
  Phase phase = Phase::head;
  Buffer in;
  Buffer out;
  http::RequestParser parser;
  Exchange exchange;
  std::string request_id;
  std::uint64_t requests = 0;
  bool ended = false;         // the client has sent its last byte; it may still listen
  bool broken = false;        // and it does not
  bool write_closed = false;  // we have sent ours
  bool tunnel_up_closed = false;
  bool closed = false;
  bool over_rate = false;  // its address has begun more handshakes than its share
  AddressKey address_key;
  Wait wait = Wait::idle;
  std::int64_t deadline_ms = 0;
  std::int64_t waiting_since_ms = 0;
  std::size_t linger_left = 0;
  std::size_t index = 0;  // in the worker's list

  ListHook<ClientConnection> in_run_again;
  ListHook<ClientConnection> in_held;
  ListHook<ClientConnection> in_handshakes;
  ListHook<ClientConnection> in_quiet;
};

}  // namespace atlasflow::edge
