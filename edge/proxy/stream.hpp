// One request and its exchange with an upstream: choosing a target, holding the request until one
// takes it, sending it, relaying the answer, trying again when that does no harm, the deadlines of
// all that, and being counted in flight until it is over. Its codec makes it, feeds it the request
// and turns its answer into bytes; HTTP/1 uses one for all requests of a connection, one after
// another. Its worker's thread only.
//
// What it calls of its codec may end it: who goes on afterwards looks at state() first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "edge/observe/access_log.hpp"
#include "edge/observe/metrics.hpp"
#include "edge/proxy/buffer.hpp"
#include "edge/proxy/codec.hpp"
#include "edge/proxy/deadline.hpp"
#include "edge/proxy/intrusive_list.hpp"
#include "edge/proxy/upstream_pool.hpp"
#include "edge/routes/route_snapshot.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

class ClientConnection;
struct ClientIdentity;
struct H2cExchange;

class Stream {
 public:
  enum class State : std::uint8_t {
    none,      // no request
    exchange,  // a request is being served by an upstream
    discard,   // answered by the edge; the rest of the request is read and dropped
    tunnel,    // websocket
    flushing,  // answered; the client has yet to take all of the answer
  };

  // INTERNAL_ERROR: the answer was cut, whyever.
  static constexpr std::uint32_t k_cut_code = 2;

  Stream(WorkerContext& context, ClientConnection& connection, Codec& codec);
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  // ---- what its codec tells it ----

  // A request has come; nullptr: something that is none, which is to be answered all the same. The
  // head stays where it is until the stream is over.
  void begin(const http::RequestHead* head);
  // Answers, or sends the request on its way. A request without a body has been ended before.
  void serve();
  // Whether more of the body is wanted now. What is given all the same is taken.
  [[nodiscard]] bool body_room() const;
  void take_body(std::string_view bytes);
  void end_body(const std::vector<http::Field>& trailers);
  // The request is malformed: it is answered so, and what is left of it is not read.
  void refuse(const http::HttpError& error);
  void answer(const EdgeAnswer& answer);
  // Sends what it has and reads what it may of the upstream. True when anything moved.
  [[nodiscard]] bool step_upstream();
  // The same of a tunnel, for a codec that feeds it by take_body().
  [[nodiscard]] bool step_tunnel();
  // The client has sent its last byte into it.
  void end_tunnel_up() { tunnel_up_ended_ = true; }
  void update_deadline(bool progress);
  void renew_deadline() { deadline_.renew(); }
  // The answer has been given: what still comes of the request is dropped.
  void discard_rest() { state_ = State::discard; }
  void half_close_tunnel() { tunnel_half_closed_ = true; }
  // The answer has been given and waits in the codec for the client: the upstream is left.
  void flush();
  // It is over, with its answer or without: the upstream is left.
  void finish();

  // ---- what its HTTP/2 connection to the application tells it, and takes of it ----

  void take_exchange(H2cExchange& exchange) { exchange_ = &exchange; }
  // The request's head has gone another way: what is left is the body, as HTTP/1 frames it.
  void head_taken() { request_taken(request_head_bytes_); }
  [[nodiscard]] std::string_view unsent() const { return request_.view().substr(request_sent_); }
  void request_taken(std::size_t bytes);

  // ---- what the worker tells it ----

  // Looks for a connection once more.
  void attempt();
  // Its deadline has passed.
  void expire();
  // Its instance is about to be stopped.
  void cut_for_drain();

  // ---- what is counted beside ----

  // It is about to end before its time: why, unless that is known. With static lifetime.
  void blame(std::string_view reason) {
    if (error_.empty()) error_ = reason;
  }
  void count_tunnelled(std::size_t up, std::size_t down) {
    body_bytes_ += up;
    response_bytes_ += down;
  }

  // ---- what it is ----

  [[nodiscard]] State state() const { return state_; }
  [[nodiscard]] ClientConnection& connection() const { return connection_; }
  [[nodiscard]] const http::RequestHead* head() const { return head_; }
  [[nodiscard]] const std::string& request_id() const { return request_id_; }
  [[nodiscard]] bool to_head() const { return to_head_; }
  [[nodiscard]] bool request_complete() const { return request_complete_; }
  // What its answers say as Strict-Transport-Security; empty: nothing.
  [[nodiscard]] std::string_view hsts() const;
  // What is left of the request is not worth reading.
  [[nodiscard]] bool rest_refused() const { return rest_refused_; }
  [[nodiscard]] const Target* target() const { return target_; }
  [[nodiscard]] UpstreamConnection* upstream() const { return upstream_; }
  [[nodiscard]] const Deadline& deadline() const { return deadline_; }
  // By gRPC (proxy/grpc.hpp), so answers in the edge's own name are said as that wants them.
  [[nodiscard]] bool grpc() const { return grpc_; }
  // With what an answer that is cut is reset (RFC 9113 section 7).
  [[nodiscard]] std::uint32_t cut_code() const { return cut_code_; }

  // The hold queue's.
  ListHook<Stream> in_held;
  std::int64_t retry_at_ms = 0;
  // The worker's list of those that serve.
  std::size_t index = 0;

 private:
  // stream.cpp: the request, and what the edge answers itself.
  void reset(const http::RequestHead* head);
  void make_request_id();
  void find_grpc();
  [[nodiscard]] ClientIdentity identity() const;
  [[nodiscard]] bool answered_challenge();
  void redirect(bool secure, std::string_view host, const char* title, int status);
  [[nodiscard]] const RouteEntry* route_or_answer();
  [[nodiscard]] const RouteEntry* ready_or_answer(const RouteEntry* route);
  [[nodiscard]] bool within_memory();
  [[nodiscard]] bool within_rate(const RouteEntry& route);
  void answer_full();
  void fail(const EdgeAnswer& reason);
  void leave_target();
  void drop_upstream();

  // stream_account.cpp: what is counted and logged of it.
  void begin_account();
  void belongs_to(const RouteEntry& route);
  void account();
  void log_access(std::uint64_t duration_us, std::uint8_t protocol) const;
  [[nodiscard]] AccessPhase phase() const;

  // stream_deadline.cpp
  [[nodiscard]] Wait current_wait() const;
  [[nodiscard]] std::int64_t limit_ms(Wait wait) const;
  [[nodiscard]] std::int64_t body_time_left_ms() const;
  [[nodiscard]] std::int64_t client_time_left_ms() const;

  // stream_upstream.cpp: the exchange.
  void attempt_at(const RouteEntry& route);
  [[nodiscard]] Target* pick(const RouteEntry& route) const;
  [[nodiscard]] bool is_full(const Target& target) const;
  [[nodiscard]] bool enter(Target& target, std::int32_t requests_max);
  [[nodiscard]] bool enter_any(const RouteEntry& route);
  void wait_for_turn();
  void attempt_failed();
  [[nodiscard]] bool send_request(UpstreamConnection& upstream);
  [[nodiscard]] bool read_response(UpstreamConnection& upstream);
  [[nodiscard]] bool take_response(UpstreamConnection& upstream);
  void take_response_head(const http::ResponseHead& head);
  [[nodiscard]] bool read_tunnel(UpstreamConnection& upstream);
  void pass_head_on(const http::ResponseHead& head);
  void commit_to_upstream();
  void refuse_response(std::string_view reason);
  void finish_response();
  void upstream_ended(bool clean);
  [[nodiscard]] bool may_send_again() const;
  [[nodiscard]] bool is_repeatable() const;
  void send_again();
  [[nodiscard]] bool may_ask_another() const;
  void ask_another();
  [[nodiscard]] bool has_alternative() const;

  // stream_h2c.cpp: the exchange with an application that speaks HTTP/2.
  void attempt_h2c(Target& target);
  void attempt_refused();
  [[nodiscard]] bool step_h2c();
  [[nodiscard]] bool take_h2c_response(H2cExchange& exchange);
  void take_h2c_head(H2cExchange& exchange);
  void finish_h2c(H2cExchange& exchange);
  void h2c_ended(H2cExchange& exchange);
  void h2c_reset(std::uint32_t code);
  void h2c_lost(H2cExchange& exchange);

  WorkerContext& context_;
  ClientConnection& connection_;
  Codec& codec_;
  State state_ = State::none;
  const http::RequestHead* head_ = nullptr;
  std::string request_id_;
  bool to_head_ = false;
  bool grpc_ = false;
  std::int64_t client_waits_ms_ = INT64_MAX;  // by grpc-timeout; its time of the whole exchange
  std::uint32_t cut_code_ = k_cut_code;

  // What the upstream gets, as HTTP/1 says it. The bytes before `request_sent_` are kept while they
  // may be sent again.
  Buffer request_;
  std::size_t request_sent_ = 0;
  std::size_t request_head_bytes_ = 0;
  bool replayable_ = true;
  bool request_complete_ = false;
  bool rest_refused_ = false;

  UpstreamConnection* upstream_ = nullptr;
  H2cExchange* exchange_ = nullptr;  // in its place, with one that speaks HTTP/2
  Target* target_ = nullptr;         // counted in flight there
  bool fresh_only_ = false;          // a pooled connection has failed this request
  bool retried_fresh_ = false;
  int connect_failures_ = 0;
  std::int64_t began_ms_ = 0;

  bool response_started_ = false;      // a byte of the response has arrived
  std::size_t interim_responses_ = 0;  // 1xx, passed on or not
  std::size_t interim_bytes_ = 0;
  bool head_held_ = false;  // the final head waits for the first byte of its body
  bool head_sent_ = false;  // the codec has the final head
  bool tunnel_half_closed_ = false;
  bool tunnel_up_ended_ = false;     // by the client
  bool tunnel_up_closed_ = false;    // and the upstream has been told
  bool tunnel_down_closed_ = false;  // the client has been told of the upstream's end

  Deadline deadline_;
  std::int64_t waiting_since_ms_ = 0;
  bool request_moved_ = false;       // the upstream took some of it since the deadline was set
  std::uint64_t body_bytes_ = 0;     // of the request, that have come
  std::int64_t body_waited_ms_ = 0;  // spent waiting for them

  // For the account; the times are the worker's turns'.
  std::uint16_t project_ = ProjectNumbers::k_none;
  std::string project_name_;  // for the access log, if there is one
  int status_ = 0;            // of the answer; 0: none has begun
  std::string_view error_;    // why it is not the application's whole answer; with static lifetime
  bool whole_ = false;        // the answer has been handed to the codec
  std::uint32_t attempts_ = 0;
  std::string instance_;
  std::int64_t began_us_ = 0;
  std::int64_t began_wall_ms_ = 0;  // since 1970
  std::int64_t sent_us_ = 0;        // 0: nothing was
  std::int64_t first_byte_us_ = 0;  // 0: none has come
  std::uint64_t response_bytes_ = 0;
};

}  // namespace atlasflow::edge
