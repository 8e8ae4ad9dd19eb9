// What each connection waits for, for how long, and what happens when it waits in vain.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "edge/proxy/worker.hpp"

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t k_high_water = 2 * k_slab_bytes;  // more is not read while so much waits
constexpr milliseconds k_linger{2000};
constexpr milliseconds k_half_closed_tunnel{10'000};

// Whether moving bytes extends the deadline, or only a change of what is waited for.
bool extends(Wait wait) {
  switch (wait) {
    case Wait::request_body:
    case Wait::response_head:
    case Wait::response_body:
    case Wait::client_write:
    case Wait::tunnel:
      return true;
    default:
      return false;
  }
}

}  // namespace

Wait Worker::wait_of(const ClientConnection& client) const {
  const Exchange& exchange = client.exchange;
  switch (client.phase) {
    case Phase::handshake:
      return Wait::handshake;
    case Phase::head:
      if (!client.out.empty()) return Wait::client_write;
      return client.parser.idle() && client.in.empty() ? Wait::idle : Wait::head;
    case Phase::discard:
      return Wait::request_body;
    case Phase::tunnel:
      return Wait::tunnel;
    case Phase::closing:
      return client.out.empty() ? Wait::linger : Wait::client_write;
    case Phase::exchange:
      break;
  }
  if (client.out.size() >= k_high_water) return Wait::client_write;
  if (exchange.upstream == nullptr) return Wait::held;
  if (exchange.upstream->connecting) return Wait::connect;
  if (exchange.response_head_sent) return Wait::response_body;
  const bool upstream_has_all = exchange.request.size() == exchange.request_sent;
  return !exchange.request_complete && upstream_has_all ? Wait::request_body : Wait::response_head;
}

// By the rate at which bodies must arrive; the first `request_body_idle` is free.
milliseconds Worker::body_time_left(const ClientConnection& client) const {
  const std::int32_t rate = shared_.config.limits.request_body_rate_min;
  if (rate == 0) return milliseconds::max();
  const auto earned = client.exchange.body_bytes * 1000 / static_cast<std::uint64_t>(rate);
  const auto left = shared_.config.timeouts.request_body_idle +
                    milliseconds(static_cast<std::int64_t>(earned)) -
                    milliseconds(client.exchange.body_waited_ms);
  return std::max(left, milliseconds(0));
}

milliseconds Worker::limit_of(const ClientConnection& client, Wait wait) const {
  const EdgeTimeouts& timeouts = shared_.config.timeouts;
  const auto unless_it_left = [&](milliseconds limit) {
    return client.ended ? std::min(limit, timeouts.half_closed) : limit;
  };
  switch (wait) {
    case Wait::handshake:
      return timeouts.tls_handshake;
    case Wait::idle:
      return client.requests == 0 ? timeouts.request_head : timeouts.keep_alive;
    case Wait::head:
      return timeouts.request_head;
    case Wait::request_body:
      return std::min(timeouts.request_body_idle, body_time_left(client));
    case Wait::held:
      return 2 * timeouts.connect_retry;  // serve_held() comes first
    case Wait::connect:
      return timeouts.connect;
    case Wait::response_head:
      return unless_it_left(timeouts.response_head);
    case Wait::response_body:
      return unless_it_left(timeouts.response_idle);
    case Wait::client_write:
      return timeouts.client_write_idle;
    case Wait::tunnel:
      return client.tunnel_up_closed || client.write_closed ? k_half_closed_tunnel
                                                            : timeouts.tunnel_idle;
    case Wait::linger:
      return k_linger;
  }
  return timeouts.keep_alive;
}

void Worker::update_deadline(ClientConnection& client, bool progress) {
  const Wait wait = wait_of(client);
  if (client.wait == Wait::request_body) {
    client.exchange.body_waited_ms += now_ms_ - client.waiting_since_ms;
  }
  client.waiting_since_ms = now_ms_;
  // What an application says before its answer (1xx, a head byte by byte) makes it no less late.
  const bool moved = std::exchange(client.exchange.request_moved, false);
  if (wait == Wait::response_head) progress = moved;
  if (client.deadline_ms != 0 && wait == client.wait && !(progress && extends(wait))) return;
  client.wait = wait;
  note_quiet(client);
  client.deadline_ms = now_ms_ + static_cast<std::int64_t>(limit_of(client, wait).count());
}

void Worker::expire(ClientConnection& client) {
  switch (client.wait) {
    case Wait::head:
      client.exchange.reset();
      make_request_id(client);
      refuse_message(client, {408, "The request head took too long to arrive."});
      break;
    case Wait::request_body:
      if (client.phase != Phase::exchange) {
        close_client(client);
        return;
      }
      client.exchange.close_after = true;
      fail_response(client, {408, "request_timeout", "The request took too long",
                             milliseconds(now_ms_ - client.waiting_since_ms) <
                                     shared_.config.timeouts.request_body_idle
                                 ? "The body of the request arrived too slowly."
                                 : "The body of the request stopped arriving."});
      break;
    case Wait::connect:
      drop_upstream(client);
      attempt_failed(client);
      break;
    case Wait::response_head:
      fail_response(client, {504, "upstream_timeout", "The application took too long",
                             "The application did not answer in time. Its logs may say why."});
      break;
    default:
      close_idle_client(client);
      return;
  }
  if (!client.closed) pump(client);
}

}  // namespace atlasflow::edge
