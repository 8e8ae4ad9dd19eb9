// What a stream waits for, for how long, and what happens when it waits in vain.
#include <algorithm>
#include <chrono>
#include <utility>

#include "edge/h2c/h2c_connection.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

constexpr std::int64_t k_half_closed_tunnel_ms = 10'000;

}  // namespace

Wait Stream::current_wait() const {
  if (state_ == State::discard) return Wait::request_body;
  if (state_ == State::tunnel) return Wait::tunnel;
  if (state_ == State::flushing) return Wait::client_write;
  if (!codec_.may_write(*this)) return Wait::client_write;
  if (upstream_ == nullptr && exchange_ == nullptr) return Wait::held;
  const bool connecting =
      exchange_ == nullptr ? upstream_->connecting : !exchange_->connection.ready();
  if (connecting) return Wait::connect;
  if (head_sent_) return Wait::response_body;
  const bool upstream_has_all = request_.size() == request_sent_;
  return !request_complete_ && upstream_has_all ? Wait::request_body : Wait::response_head;
}

// By the rate at which bodies must arrive; the first `request_body_idle` is free.
std::int64_t Stream::body_time_left_ms() const {
  const std::int32_t rate = context_.shared.config.limits.request_body_rate_min;
  if (rate == 0) return INT64_MAX;
  const auto earned =
      static_cast<std::int64_t>(body_bytes_ * 1000 / static_cast<std::uint64_t>(rate));
  const auto free = context_.shared.config.timeouts.request_body_idle.count();
  return std::max<std::int64_t>(free + earned - body_waited_ms_, 0);
}

// What a gRPC client has said that it waits for the whole of it can only be shorter than what the
// edge waits.
std::int64_t Stream::client_time_left_ms() const {
  if (client_waits_ms_ == INT64_MAX) return INT64_MAX;
  return std::max<std::int64_t>(began_ms_ + client_waits_ms_ - context_.now_ms, 0);
}

std::int64_t Stream::limit_ms(Wait wait) const {
  const EdgeTimeouts& timeouts = context_.shared.config.timeouts;
  const auto unless_it_left = [&](std::chrono::milliseconds limit) -> std::int64_t {
    return (connection_.ended() ? std::min(limit, timeouts.half_closed) : limit).count();
  };
  switch (wait) {
    case Wait::request_body:
      return std::min<std::int64_t>(timeouts.request_body_idle.count(), body_time_left_ms());
    case Wait::held:
      return 2 * timeouts.connect_retry.count();  // the hold queue comes first
    case Wait::connect:
      return timeouts.connect.count();
    case Wait::response_head:
      return unless_it_left(timeouts.response_head);
    case Wait::response_body:
      return unless_it_left(timeouts.response_idle);
    case Wait::client_write:
      return timeouts.client_write_idle.count();
    default:
      return tunnel_half_closed_ ? k_half_closed_tunnel_ms : timeouts.tunnel_idle.count();
  }
}

void Stream::update_deadline(bool progress) {
  const Wait wait = current_wait();
  if (deadline_.wait() == Wait::request_body) {
    body_waited_ms_ += context_.now_ms - waiting_since_ms_;
  }
  waiting_since_ms_ = context_.now_ms;
  // What an application says before its answer (1xx, a head byte by byte) makes it no less late.
  const bool moved = std::exchange(request_moved_, false);
  if (wait == Wait::response_head) progress = moved;
  if (deadline_.begins(wait, progress)) {
    deadline_.set(context_.now_ms + std::min(limit_ms(wait), client_time_left_ms()));
  }
}

void Stream::expire() {
  if (state_ == State::exchange && client_time_left_ms() == 0) {
    cut_code_ = NGHTTP2_CANCEL;
    fail({504, "upstream_timeout", "The application took too long",
          "The application did not answer in the time that the client's grpc-timeout leaves it."});
    connection_.pump();
    return;
  }
  switch (deadline_.wait()) {
    case Wait::request_body:
      if (state_ != State::exchange) {
        codec_.drop(*this);
        break;
      }
      rest_refused_ = true;
      fail({408, "request_timeout", "The request took too long",
            context_.now_ms - waiting_since_ms_ <
                    context_.shared.config.timeouts.request_body_idle.count()
                ? "The body of the request arrived too slowly."
                : "The body of the request stopped arriving."});
      break;
    case Wait::connect:
      if (exchange_ != nullptr) exchange_->connection.doubt(context_.now_ms);
      drop_upstream();
      attempt_failed();
      break;
    case Wait::response_head:
      if (exchange_ != nullptr) exchange_->connection.doubt(sent_us_ / 1000);
      fail({504, "upstream_timeout", "The application took too long",
            "The application did not answer in time. Its logs may say why."});
      break;
    case Wait::response_body:
      blame("upstream_idle");
      codec_.cut(*this);
      break;
    default:
      blame(state_ == State::tunnel ? "tunnel_idle" : "client_timeout");
      codec_.drop(*this);
      break;
  }
  connection_.pump();  // what that left to be said
}

}  // namespace atlasflow::edge
