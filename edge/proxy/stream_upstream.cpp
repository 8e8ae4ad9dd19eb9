// A stream's exchange with its upstream: choosing a target, connecting, sending, relaying the
// response, and what to do when any of that fails. A request is sent a second time only when the
// first cannot have been processed, or when its method makes a repetition harmless (RFC 9110
// section 9.2.2).
#include "edge/proxy/stream.hpp"

#include <algorithm>
#include <utility>

#include <sys/socket.h>

#include "base/log.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::int64_t k_avoid_ms = 1000;
// Which of the hold queue's pauses a request makes that waits for its turn: 50 ms.
constexpr std::size_t k_turn_step = 1;
// Of one exchange, passed on or not. Real applications send one or two.
constexpr std::size_t k_interim_responses_max = 32;
constexpr std::size_t k_interim_bytes_max = std::size_t{64} * 1024;

bool is_idempotent(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS" || method == "PUT" ||
         method == "DELETE";
}

}  // namespace

// Least in flight on this worker; those that refused a connection just now come last.
Target* Stream::pick(const RouteEntry& route) const {
  const std::size_t count = route.targets.size();
  Target* best = nullptr;
  std::int64_t best_load = 0;
  for (std::size_t i = 0; i < count; ++i) {
    Target* target = route.targets[(context_.rotation + i) % count];
    const Target::Cell& own = context_.upstreams.cell(*target);
    const std::int64_t load = own.in_flight.load(std::memory_order_relaxed) +
                              (own.avoid_until_ms > context_.now_ms ? INT32_MAX : 0);
    if (best == nullptr || load < best_load) {
      best = target;
      best_load = load;
    }
  }
  return best;
}

// Whether the instance has as many unanswered requests as one may have: more of them would only
// take the room of other applications' clients.
bool Stream::is_full(const Target& target) const {
  const std::int64_t own =
      context_.upstreams.cell(target).in_flight.load(std::memory_order_relaxed);
  return own >= context_.requests_max &&
         target.in_flight() >= context_.shared.config.limits.requests_per_instance;
}

// Counts the request in flight there, unless the instance has as many as its project allows one.
// Counted first and looked at then, so that no two workers both take the last place.
bool Stream::enter(Target& target, std::int32_t requests_max) {
  target_ = &target;
  context_.upstreams.cell(target).in_flight.fetch_add(1);
  if (requests_max == 0 || target.in_flight() <= requests_max) return true;
  leave_target();
  return false;
}

// The one with the fewest of them, or any that has room.
bool Stream::enter_any(const RouteEntry& route) {
  const std::int32_t requests_max = route.limits.concurrent_requests_max;
  Target& first = *pick(route);
  if (is_full(first)) {
    answer_full();
    return false;
  }
  if (enter(first, requests_max)) return true;
  for (Target* target : route.targets) {
    if (target != &first && enter(*target, requests_max)) return true;
  }
  wait_for_turn();
  return false;
}

// All instances have as many requests as the project allows them. Browsers ask for a page's parts
// at once: a moment's wait is better than half a page.
void Stream::wait_for_turn() {
  const bool waited =
      context_.now_ms - began_ms_ >= context_.shared.config.timeouts.connect_retry.count();
  if (waited ||
      static_cast<std::int64_t>(context_.held.held_for(head_->host)) >= context_.requests_max) {
    answer_full();
    return;
  }
  context_.held.hold(*this, k_turn_step, context_.now_ms);
}

// By the snapshot of now, which may not be that of the attempt before.
void Stream::attempt() {
  const RouteEntry* route = ready_or_answer(context_.snapshot->find(head_->host));
  if (route != nullptr) attempt_at(*route);
}

void Stream::attempt_at(const RouteEntry& route) {
  ++context_.rotation;
  if (!enter_any(route)) return;
  Target& target = *target_;
  ++attempts_;
  if (context_.shared.access_log != nullptr) instance_ = target.upstream.vm_id;
  if (target.protocol == AppProtocol::h2c) return attempt_h2c(target);
  UpstreamPool& pool = context_.upstreams;
  // A body may grow beyond what is kept to be sent again.
  const bool look = !is_repeatable() || head_->framing != http::Framing::none;
  UpstreamConnection* upstream = fresh_only_ ? nullptr : pool.take_idle(target, look);
  if (upstream == nullptr && context_.admission.make_room_for_upstream()) {
    upstream = pool.connect(target);
  }
  if (upstream == nullptr) {
    attempt_failed();
    return;
  }
  upstream->stream = this;
  upstream->wrote = false;
  upstream->parser.reset(to_head_);
  upstream_ = upstream;
  request_sent_ = 0;
}

// No connection, so nothing was sent: any method may be tried again for a while.
void Stream::attempt_failed() {
  context_.metrics.upstream_connect_failures.add();
  context_.upstreams.cell(*target_).avoid_until_ms = context_.now_ms + k_avoid_ms;
  leave_target();
  if (context_.now_ms - began_ms_ >= context_.shared.config.timeouts.connect_retry.count()) {
    answer({502, "upstream_unreachable", "The application cannot be reached",
            "The application's instance does not accept connections. Does it listen on "
            "the port that PORT names, on all addresses?"});
    return;
  }
  if (static_cast<std::int64_t>(context_.held.held_for(head_->host)) >= context_.requests_max) {
    answer_full();
    return;
  }
  ++connect_failures_;
  const auto step = std::min<std::size_t>(static_cast<std::size_t>(connect_failures_),
                                          HoldQueue::k_backoff_ms.size() - 1);
  const RouteEntry* route = context_.snapshot->find(head_->host);
  const bool another = route != nullptr && !route->targets.empty() &&
                       context_.upstreams.cell(*pick(*route)).avoid_until_ms <= context_.now_ms;
  context_.held.hold(*this, another ? 0 : step, context_.now_ms);
}

bool Stream::step_upstream() {
  if (exchange_ != nullptr) return step_h2c();
  UpstreamConnection* upstream = upstream_;
  if (upstream == nullptr) return false;
  bool progress = false;
  if (upstream->connecting) {
    if (!upstream->socket.writable() && !upstream->socket.hung_up()) return false;
    int code = 0;
    socklen_t bytes = sizeof code;
    if (::getsockopt(upstream->socket.fd(), SOL_SOCKET, SO_ERROR, &code, &bytes) != 0 ||
        code != 0) {
      drop_upstream();
      attempt_failed();
      return true;
    }
    upstream->connecting = false;
    progress = true;
  }
  progress |= send_request(*upstream);
  progress |= read_response(*upstream);
  return progress;
}

bool Stream::send_request(UpstreamConnection& upstream) {
  bool progress = false;
  while (!upstream.write_failed && upstream.socket.writable() && request_.size() > request_sent_) {
    const IoResult result = upstream.socket.write(request_.view().substr(request_sent_));
    if (result.status == IoStatus::failed) {
      // It may have answered before it closed: the response decides.
      upstream.write_failed = true;
      upstream.socket.assume_readable();
      return true;
    }
    if (result.status != IoStatus::ok) break;
    if (!upstream.wrote) sent_us_ = context_.now_us;
    upstream.wrote = request_moved_ = progress = true;
    if (replayable_) {
      request_sent_ += result.bytes;
    } else {
      request_.consume(result.bytes);
    }
  }
  return progress;
}

bool Stream::read_response(UpstreamConnection& upstream) {
  bool progress = false;
  for (;;) {
    if (take_response(upstream)) return true;
    if (!codec_.may_write(*this)) return progress;
    if (upstream.ended) {
      upstream_ended(upstream.ended_cleanly);
      return true;
    }
    if (!upstream.socket.readable() || !context_.may_read()) return progress;
    char* space = upstream.in.reserve(k_slab_bytes - upstream.in.size());
    const IoResult result = upstream.socket.read(space, upstream.in.room());
    upstream.in.commit(result.bytes);
    if (upstream.in.empty()) upstream.in.clear();
    if (result.status == IoStatus::would_block) return progress;
    progress = true;
    if (result.status != IoStatus::ok) {
      upstream.ended = true;
      upstream.ended_cleanly = result.status == IoStatus::closed;
    } else if (!response_started_) {
      response_started_ = true;
      first_byte_us_ = context_.now_us;
      if (!request_complete_) commit_to_upstream();
    }
  }
}

// From now on the client hears this upstream: nobody else is asked, so the request is let go.
void Stream::commit_to_upstream() {
  replayable_ = false;
  request_.consume(std::exchange(request_sent_, 0));
}

// Parses what has arrived of the response. True when the exchange is over or has become something
// else.
bool Stream::take_response(UpstreamConnection& upstream) {
  while (codec_.may_write(*this)) {
    const http::ParseStep step = upstream.parser.next(upstream.in.view());
    if (step.event == http::ParseEvent::body) {
      if (head_held_) pass_head_on(upstream.parser.head());
      response_bytes_ += step.body.size();
      codec_.write_body(*this, step.body);
    }
    upstream.in.consume(step.consumed);
    if (!head_sent_) interim_bytes_ += step.consumed;
    switch (step.event) {
      case http::ParseEvent::need_more:
        return false;
      case http::ParseEvent::body:
        break;
      case http::ParseEvent::head:
        take_response_head(upstream.parser.head());
        if (state_ != State::exchange || upstream_ != &upstream) return true;
        break;
      case http::ParseEvent::complete:
        if (upstream.parser.head().status >= 200) {
          finish_response();
          return true;
        }
        upstream.parser.reset(to_head_);
        break;
      case http::ParseEvent::error:
        refuse_response(upstream.parser.error().reason);
        return true;
    }
  }
  return false;
}

void Stream::take_response_head(const http::ResponseHead& head) {
  if (head_->upgrade_websocket) {
    if (const std::string_view why = codec_.refuses_upgrade(*this, head); !why.empty()) {
      refuse_response(why);
      return;
    }
  }
  if (head.status == 101) {
    if (!head_->upgrade_websocket || !head.upgrade_websocket) {
      refuse_response("It switched protocols without having been asked to.");
      return;
    }
    commit_to_upstream();
    codec_.write_interim(*this, head);
    head_sent_ = true;
    status_ = head.status;
    state_ = State::tunnel;
    return;
  }
  if (head.status < 200) {
    if (++interim_responses_ > k_interim_responses_max || interim_bytes_ > k_interim_bytes_max) {
      refuse_response("It sent interim (1xx) responses without end before its answer.");
      return;
    }
    const bool wanted = head.status != 100 || head_->expect_continue;
    if (head_->minor_version != 0 && wanted) {
      commit_to_upstream();
      codec_.write_interim(*this, head);
    }
    return;
  }
  if (head.status == 408 && !head.keep_alive && upstream_->reused && may_send_again()) {
    // Said to the idle connection as the request was under way to it (RFC 9110 section 15.5.9).
    return send_again();
  }
  // An answer of known length is passed on with its first bytes: if the instance dies between head
  // and body, which servers that write them apart make likely, another one can still be asked.
  head_held_ =
      replayable_ && head.framing == http::Framing::length && head.content_length > 0 && !to_head_;
  if (!head_held_) pass_head_on(head);
}

// Both ways, each side's end passed on behind all that came before it.
bool Stream::step_tunnel() {
  UpstreamConnection& upstream = *upstream_;
  bool progress = send_request(upstream);
  if (upstream.write_failed) {
    codec_.drop(*this);
    return true;
  }
  if (tunnel_up_ended_ && !tunnel_up_closed_ && request_.size() == request_sent_) {
    upstream.socket.shutdown_write();
    tunnel_up_closed_ = progress = true;
    half_close_tunnel();
  }
  return read_tunnel(upstream) || progress;
}

bool Stream::read_tunnel(UpstreamConnection& upstream) {
  bool progress = false;
  while (codec_.may_write(*this)) {
    if (!upstream.in.empty()) {
      response_bytes_ += upstream.in.size();
      codec_.write_body(*this, upstream.in.view());
      upstream.in.clear();
      progress = true;
      continue;
    }
    if (upstream.ended) {
      if (std::exchange(tunnel_down_closed_, true)) return progress;
      half_close_tunnel();
      if (upstream.ended_cleanly) {
        codec_.end_tunnel(*this);
      } else {
        codec_.drop(*this);
      }
      return true;
    }
    if (!upstream.socket.readable() || !context_.may_read()) return progress;
    char* space = upstream.in.reserve(k_slab_bytes);
    const IoResult result = upstream.socket.read(space, upstream.in.room());
    upstream.in.commit(result.bytes);
    if (upstream.in.empty()) upstream.in.clear();
    if (result.status == IoStatus::would_block) return progress;
    progress = true;
    if (result.status != IoStatus::ok) {
      upstream.ended = true;
      upstream.ended_cleanly = result.status == IoStatus::closed;
    }
  }
  return progress;
}

void Stream::pass_head_on(const http::ResponseHead& head) {
  commit_to_upstream();
  status_ = head.status;
  codec_.write_head(*this, head);
  head_held_ = false;
  head_sent_ = true;
}

void Stream::refuse_response(std::string_view reason) {
  if (context_.log.allows(context_.now_ms)) {
    log_event(LogLevel::warn, "edge", "bad_response",
              {{"host", head_->host}, {"vm", target_->upstream.vm_id}, {"reason", reason}});
  }
  fail({502, "bad_response", "The application's answer was not valid HTTP", std::string(reason)});
}

void Stream::finish_response() {
  UpstreamConnection& upstream = *std::exchange(upstream_, nullptr);
  const bool reusable = upstream.parser.head().keep_alive && request_complete_ &&
                        request_.size() == request_sent_ && upstream.in.empty() &&
                        !upstream.write_failed && !upstream.ended && !head_->upgrade_websocket;
  if (reusable) {
    context_.upstreams.give_back(upstream);
  } else {
    context_.upstreams.close(upstream);  // freed with the turn: its trailers are still there
  }
  leave_target();
  whole_ = true;
  codec_.write_end(*this, upstream.parser.trailers());
}

void Stream::upstream_ended(bool clean) {
  UpstreamConnection& upstream = *upstream_;
  if (response_started_) {
    if (clean && upstream.parser.finish().event == http::ParseEvent::complete) {
      finish_response();
      return;
    }
    if (may_ask_another()) {
      response_started_ = head_held_ = false;
      return ask_another();
    }
    fail({502, "upstream_cut", "The application's answer was cut off",
          "The application closed the connection within its answer."});
    return;
  }
  if (!upstream.reused && !upstream.wrote) {
    drop_upstream();
    attempt_failed();
    return;
  }
  if (upstream.reused && may_send_again()) return send_again();
  if (!upstream.reused && may_ask_another()) return ask_another();
  fail({502, "upstream_closed", "The application did not answer",
        "The application closed the connection without an answer. It may have crashed; its logs "
        "may say why."});
}

void Stream::send_again() {
  fresh_only_ = true;
  response_started_ = false;
  context_.metrics.retries.add();
  drop_upstream();
  leave_target();
  attempt();
}

void Stream::ask_another() {
  fresh_only_ = retried_fresh_ = true;
  context_.metrics.retries.add();
  context_.upstreams.cell(*target_).avoid_until_ms = context_.now_ms + k_avoid_ms;
  drop_upstream();
  leave_target();
  attempt();
}

// A pooled connection has closed without a byte of a response. One that did so before the first
// byte went out has processed nothing.
bool Stream::may_send_again() const { return !upstream_->wrote || is_repeatable(); }

bool Stream::is_repeatable() const { return replayable_ && is_idempotent(head_->method); }

// The instance was up to it and the client has heard nothing of it; only if it has been replaced
// meanwhile, or is one of several, is another worth asking. (A microVM's network accepts for an app
// that does not listen any more.)
bool Stream::may_ask_another() const {
  return (head_->method == "GET" || head_->method == "HEAD") && replayable_ && !retried_fresh_ &&
         (target_->retired.load() || has_alternative());
}

// Whether the route has another upstream that did not fail just now.
bool Stream::has_alternative() const {
  const RouteEntry* route = context_.snapshot->find(head_->host);
  if (route == nullptr) return false;
  return std::any_of(route->targets.begin(), route->targets.end(), [&](const Target* target) {
    return target != target_ && context_.upstreams.cell(*target).avoid_until_ms <= context_.now_ms;
  });
}

}  // namespace atlasflow::edge
