// The upstream's side of a request: choosing a target, connecting, sending, relaying the response,
// and what to do when any of that fails. A request is sent a second time only when the first cannot
// have been processed, or when its method makes a repetition harmless (RFC 9110 section 9.2.2).
#include <algorithm>
#include <utility>

#include <spdlog/spdlog.h>
#include <sys/socket.h>

#include "edge/proxy/forward.hpp"
#include "edge/proxy/worker.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::size_t k_high_water = 2 * k_slab_bytes;
constexpr std::size_t k_replay_bytes_max = std::size_t{64} * 1024;
constexpr std::size_t k_linger_bytes = std::size_t{1024} * 1024;
constexpr std::int64_t k_avoid_ms = 1000;
// Of one exchange, passed on or not. Real applications send one or two.
constexpr std::size_t k_interim_responses_max = 32;
constexpr std::size_t k_interim_bytes_max = std::size_t{64} * 1024;

bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

}  // namespace

// Least in flight on this worker; those that refused a connection just now come last.
Target* Worker::pick(const RouteEntry& route) const {
  const std::size_t count = route.targets.size();
  Target* best = nullptr;
  std::int64_t best_load = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Target* target = route.targets[(rotation_ + i) % count];
    const Target::Cell& own = cell(*target);
    const std::int64_t load = own.in_flight.load(std::memory_order_relaxed) +
                              (own.avoid_until_ms > now_ms_ ? INT32_MAX : 0);
    if (best == nullptr || load < best_load) {
      best = target;
      best_load = load;
    }
  }
  return best;
}

// Sends the request on its way by the snapshot of now, which may not be that of the attempt before.
void Worker::attempt(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  const RouteEntry* route = find_ready_route(client);
  if (route == nullptr) return;
  ++rotation_;
  Target& target = *pick(*route);
  if (is_full(target)) {
    answer_full(client);
    return;
  }
  exchange.target = &target;
  cell(target).in_flight.fetch_add(1);
  UpstreamConnection* upstream = nullptr;
  if (!exchange.fresh_only) {
    upstream = take_idle(target);
  }
  if (upstream == nullptr) upstream = connect(target);
  if (upstream == nullptr) {
    attempt_failed(client);
    return;
  }
  upstream->client = &client;
  upstream->wrote = false;
  upstream->parser.reset(exchange.to_head);
  exchange.upstream = upstream;
  exchange.request_sent = 0;
}

// No connection, so nothing was sent: any method may be tried again for a while.
void Worker::attempt_failed(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  cell(*exchange.target).avoid_until_ms = now_ms_ + k_avoid_ms;
  leave_target(client);
  if (now_ms_ - exchange.first_attempt_ms >= shared_.config.timeouts.connect_retry.count()) {
    answer(client, {502, "upstream_unreachable", "The application cannot be reached",
                    "The application's instance does not accept connections. Does it listen on "
                    "the port that PORT names, on all addresses?"});
    return;
  }
  const auto held = held_by_host_.find(std::string(client.parser.head().host));
  if (held != held_by_host_.end() && static_cast<std::int64_t>(held->second) >= requests_max_) {
    answer_full(client);
    return;
  }
  ++exchange.connect_failures;
  const auto step = std::min<std::size_t>(static_cast<std::size_t>(exchange.connect_failures),
                                          k_backoff_ms.size() - 1);
  const RouteEntry* route = snapshot_->find(client.parser.head().host);
  const bool another =
      route != nullptr && !route->targets.empty() && cell(*pick(*route)).avoid_until_ms <= now_ms_;
  hold(client, another ? 0 : step);
}

// More of its requests wait than one application may have waiting: it is busy, or hangs.
void Worker::answer_full(ClientConnection& client) {
  const std::string host(client.parser.head().host);
  if (log_.allows(now_ms_)) {
    spdlog::warn("edge=overloaded host={} reason=\"too many unanswered requests\"", host);
  }
  answer(client, {503, "overloaded", host + " is busy",
                  host + " has more unanswered requests than its instances may have. Try again in "
                         "a moment; its logs may say why it does not answer.",
                  5});
}

void Worker::leave_target(ClientConnection& client) {
  Target* target = std::exchange(client.exchange.target, nullptr);
  if (target == nullptr) return;
  const bool draining = target->draining.load();
  cell(*target).in_flight.fetch_sub(1);  // the last access: the target may be freed after it
  if (draining) shared_.on_drained();
}

void Worker::drop_upstream(ClientConnection& client) {
  UpstreamConnection* upstream = std::exchange(client.exchange.upstream, nullptr);
  if (upstream != nullptr) close_upstream(*upstream);
}

// Moves the request's body from the client to the buffer that the upstream is sent from.
bool Worker::step_request(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  bool progress = false;
  while (!exchange.request_complete &&
         exchange.request.size() - exchange.request_sent < k_high_water) {
    const http::ParseStep step = client.parser.next(client.in.view());
    if (step.event == http::ParseEvent::body) {
      exchange.body_bytes += step.body.size();
      if (client.parser.head().framing == http::Framing::chunked) {
        write_chunk(step.body, exchange.request);
      } else {
        exchange.request.append(step.body);
      }
      if (exchange.replayable && exchange.request.size() > k_replay_bytes_max) {
        exchange.replayable = false;
        exchange.request.consume(std::exchange(exchange.request_sent, 0));
      }
    }
    client.in.consume(step.consumed);
    progress |= step.consumed > 0;
    if (step.event == http::ParseEvent::complete) {
      exchange.request_complete = progress = true;
      if (client.parser.head().framing == http::Framing::chunked) {
        write_last_chunk(client.parser.trailers(), exchange.request);
      }
    } else if (step.event == http::ParseEvent::error) {
      const http::HttpError error = client.parser.error();
      exchange.close_after = true;
      fail_response(client,
                    {error.status, "bad_request", std::string(http::reason_phrase(error.status)),
                     std::string(error.reason)});
      return true;
    } else if (step.event == http::ParseEvent::need_more) {
      if (client.ended) {
        close_client(client);
        return true;
      }
      if (!fill(client)) break;
      progress = true;
    }
  }
  if (exchange.request_complete) {
    // Nothing more is due, so this finds out that the client pipelines, or has ended its sending
    // side. That alone does not tell whether it has left; a reset does.
    progress |= fill(client);
    if (client.ended && (client.broken || client.stream.reset())) close_client(client);
  }
  return progress || client.closed;
}

bool Worker::step_upstream(ClientConnection& client) {
  UpstreamConnection* upstream = client.exchange.upstream;
  if (upstream == nullptr) return false;
  bool progress = false;
  if (upstream->connecting) {
    if (!upstream->stream.writable() && !upstream->stream.hung_up()) return false;
    int code = 0;
    socklen_t bytes = sizeof code;
    if (::getsockopt(upstream->stream.fd(), SOL_SOCKET, SO_ERROR, &code, &bytes) != 0 ||
        code != 0) {
      drop_upstream(client);
      attempt_failed(client);
      return true;
    }
    upstream->connecting = false;
    progress = true;
  }
  progress |= send_request(client, *upstream);
  progress |= read_response(client, *upstream);
  return progress;
}

bool Worker::send_request(ClientConnection& client, UpstreamConnection& upstream) {
  Exchange& exchange = client.exchange;
  bool progress = false;
  while (!upstream.write_failed && upstream.stream.writable() &&
         exchange.request.size() > exchange.request_sent) {
    const IoResult result =
        upstream.stream.write(exchange.request.view().substr(exchange.request_sent));
    if (result.status == IoStatus::failed) {
      // It may have answered before it closed: the response decides.
      upstream.write_failed = true;
      upstream.stream.assume_readable();
      return true;
    }
    if (result.status != IoStatus::ok) break;
    upstream.wrote = exchange.request_moved = progress = true;
    if (exchange.replayable) {
      exchange.request_sent += result.bytes;
    } else {
      exchange.request.consume(result.bytes);
    }
  }
  return progress;
}

bool Worker::read_response(ClientConnection& client, UpstreamConnection& upstream) {
  Exchange& exchange = client.exchange;
  bool progress = false;
  for (;;) {
    if (take_response(client, upstream)) return true;
    if (client.out.size() >= k_high_water) return progress;
    if (upstream.ended) {
      upstream_ended(client, upstream.ended_cleanly);
      return true;
    }
    if (!upstream.stream.readable() || !may_read()) return progress;
    char* space = upstream.in.reserve(k_slab_bytes - upstream.in.size());
    const IoResult result = upstream.stream.read(space, upstream.in.room());
    upstream.in.commit(result.bytes);
    if (upstream.in.empty()) upstream.in.clear();
    if (result.status == IoStatus::would_block) return progress;
    progress = true;
    if (result.status != IoStatus::ok) {
      upstream.ended = true;
      upstream.ended_cleanly = result.status == IoStatus::closed;
    } else if (!exchange.response_started) {
      exchange.response_started = true;
      if (!exchange.request_complete) commit_to_upstream(exchange);
    }
  }
}

// From now on the client hears this upstream: nobody else is asked, so the request is let go.
void Worker::commit_to_upstream(Exchange& exchange) {
  exchange.replayable = false;
  exchange.request.consume(std::exchange(exchange.request_sent, 0));
}

// Parses what has arrived of the response. True when the exchange is over or has become something
// else.
bool Worker::take_response(ClientConnection& client, UpstreamConnection& upstream) {
  Exchange& exchange = client.exchange;
  while (client.out.size() < k_high_water) {
    const http::ParseStep step = upstream.parser.next(upstream.in.view());
    if (step.event == http::ParseEvent::body) {
      if (exchange.head_held) pass_head_on(client, upstream.parser.head());
      if (exchange.response_framing == http::Framing::chunked) {
        write_chunk(step.body, client.out);
      } else {
        client.out.append(step.body);
      }
    }
    upstream.in.consume(step.consumed);
    if (!exchange.response_head_sent) exchange.interim_bytes += step.consumed;
    switch (step.event) {
      case http::ParseEvent::need_more:
        return false;
      case http::ParseEvent::body:
        break;
      case http::ParseEvent::head:
        take_response_head(client, upstream);
        if (client.closed || client.phase != Phase::exchange) return true;
        break;
      case http::ParseEvent::complete:
        if (upstream.parser.head().status >= 200) {
          finish_response(client);
          return true;
        }
        upstream.parser.reset(exchange.to_head);
        break;
      case http::ParseEvent::error:
        refuse_response(client, upstream.parser.error().reason);
        return true;
    }
  }
  return false;
}

void Worker::take_response_head(ClientConnection& client, UpstreamConnection& upstream) {
  Exchange& exchange = client.exchange;
  const http::RequestHead& request = client.parser.head();
  const http::ResponseHead& head = upstream.parser.head();
  const bool http10 = request.minor_version == 0;
  if (head.status == 101) {
    if (!request.upgrade_websocket || !head.upgrade_websocket) {
      refuse_response(client, "It switched protocols without having been asked to.");
      return;
    }
    commit_to_upstream(exchange);
    write_response_head(head, http::Framing::none, false, false, false, client.out);
    exchange.response_head_sent = true;
    client.phase = Phase::tunnel;
    return;
  }
  if (head.status < 200) {
    if (++exchange.interim_responses > k_interim_responses_max ||
        exchange.interim_bytes > k_interim_bytes_max) {
      refuse_response(client, "It sent interim (1xx) responses without end before its answer.");
      return;
    }
    const bool wanted = head.status != 100 || request.expect_continue;
    if (!http10 && wanted) {
      commit_to_upstream(exchange);
      write_response_head(head, http::Framing::none, false, false, false, client.out);
    }
    return;
  }
  exchange.response_framing = head.framing;
  if (head.framing == http::Framing::chunked || head.framing == http::Framing::until_close) {
    exchange.response_framing = http10 ? http::Framing::until_close : http::Framing::chunked;
  }
  exchange.close_after = retiring_ || !request.keep_alive || !exchange.request_complete ||
                         (client.ended && client.in.empty()) || request.upgrade_websocket ||
                         exchange.response_framing == http::Framing::until_close;
  // An answer of known length is passed on with its first bytes: if the instance dies between head
  // and body, which servers that write them apart make likely, another one can still be asked.
  exchange.head_held = exchange.replayable && exchange.response_framing == http::Framing::length &&
                       head.content_length > 0 && !exchange.to_head;
  if (!exchange.head_held) pass_head_on(client, head);
}

void Worker::pass_head_on(ClientConnection& client, const http::ResponseHead& head) {
  Exchange& exchange = client.exchange;
  commit_to_upstream(exchange);
  write_response_head(head, exchange.response_framing, exchange.to_head, exchange.close_after,
                      client.parser.head().minor_version == 0, client.out);
  exchange.head_held = false;
  exchange.response_head_sent = true;
}

void Worker::refuse_response(ClientConnection& client, std::string_view reason) {
  if (log_.allows(now_ms_)) {
    spdlog::warn("edge=bad_response host={} vm={} reason=\"{}\"", client.parser.head().host,
                 client.exchange.target->upstream.vm_id, reason);
  }
  fail_response(client, {502, "bad_response", "The application's answer was not valid HTTP",
                         std::string(reason)});
}

void Worker::finish_response(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  UpstreamConnection& upstream = *std::exchange(exchange.upstream, nullptr);
  if (exchange.response_framing == http::Framing::chunked) {
    write_last_chunk(upstream.parser.trailers(), client.out);
  }
  const bool reusable = upstream.parser.head().keep_alive && exchange.request_complete &&
                        exchange.request.size() == exchange.request_sent && upstream.in.empty() &&
                        !upstream.write_failed && !upstream.ended &&
                        !client.parser.head().upgrade_websocket;
  if (reusable) {
    pool_upstream(upstream);
  } else {
    close_upstream(upstream);
  }
  leave_target(client);
  if (exchange.close_after) {
    client.linger_left = exchange.request_complete ? 0 : k_linger_bytes;
    client.phase = Phase::closing;
  } else {
    end_request(client);
  }
}

void Worker::upstream_ended(ClientConnection& client, bool clean) {
  Exchange& exchange = client.exchange;
  UpstreamConnection& upstream = *exchange.upstream;
  if (exchange.response_started) {
    if (clean && upstream.parser.finish().event == http::ParseEvent::complete) {
      finish_response(client);
      return;
    }
    if (may_ask_another(client)) {
      exchange.response_started = exchange.head_held = false;
      return ask_another(client);
    }
    fail_response(client, {502, "upstream_cut", "The application's answer was cut off",
                           "The application closed the connection within its answer."});
    return;
  }
  if (!upstream.reused && !upstream.wrote) {
    drop_upstream(client);
    attempt_failed(client);
    return;
  }
  if (upstream.reused && may_send_again(client)) {
    exchange.fresh_only = true;
    drop_upstream(client);
    leave_target(client);
    attempt(client);
    return;
  }
  if (!upstream.reused && may_ask_another(client)) return ask_another(client);
  fail_response(client, {502, "upstream_closed", "The application did not answer",
                         "The application closed the connection without an answer. It may have "
                         "crashed; its logs may say why."});
}

void Worker::ask_another(ClientConnection& client) {
  Exchange& exchange = client.exchange;
  exchange.fresh_only = exchange.retried_fresh = true;
  cell(*exchange.target).avoid_until_ms = now_ms_ + k_avoid_ms;
  drop_upstream(client);
  leave_target(client);
  attempt(client);
}

// A pooled connection has closed without a byte of a response. One that did so before the first
// byte went out has processed nothing.
bool Worker::may_send_again(const ClientConnection& client) const {
  const Exchange& exchange = client.exchange;
  return !exchange.upstream->wrote ||
         (exchange.replayable && is_idempotent(client.parser.head().method));
}

// The instance was up to it and the client has heard nothing of it; only if it has been replaced
// meanwhile, or is one of several, is another worth asking. (A microVM's network accepts for an app
// that does not listen any more.)
bool Worker::may_ask_another(const ClientConnection& client) const {
  const Exchange& exchange = client.exchange;
  const std::string_view method = client.parser.head().method;
  return (method == "GET" || method == "HEAD") && exchange.replayable && !exchange.retried_fresh &&
         (exchange.target->retired.load() || has_alternative(client));
}

// Whether the route has another upstream that did not fail just now.
bool Worker::has_alternative(const ClientConnection& client) const {
  const RouteEntry* route = snapshot_->find(client.parser.head().host);
  if (route == nullptr) return false;
  return std::any_of(route->targets.begin(), route->targets.end(), [&](const Target* target) {
    return target != client.exchange.target && cell(*target).avoid_until_ms <= now_ms_;
  });
}

// Answers in the application's place, or, when its answer has begun, cuts it so that nobody takes
// it for whole.
void Worker::fail_response(ClientConnection& client, const EdgeAnswer& reason) {
  if (!client.exchange.response_head_sent) {
    answer(client, reason);
    return;
  }
  if (client.exchange.response_framing == http::Framing::until_close) {
    // Only a reset tells an HTTP/1.0 client that this is not the end.
    const linger hard{1, 0};
    (void)::setsockopt(client.stream.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close_client(client);
    return;
  }
  drop_upstream(client);
  leave_target(client);
  client.linger_left = k_linger_bytes;
  client.phase = Phase::closing;
}

}  // namespace atlasflow::edge
