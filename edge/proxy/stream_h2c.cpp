// A stream's exchange with an application that speaks HTTP/2 (edge/h2c/): its part of a connection,
// the answer as it comes, and what follows when none does. A request that the application has not
// looked at, as it says itself or as the connection's end shows, may be sent again whatever its
// method is (RFC 9113 section 8.7); for any other the rules of stream_upstream.cpp hold.
#include <algorithm>
#include <utility>

#include "edge/h2c/h2c_connection.hpp"
#include "edge/http1/message_writer.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/grpc.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// Which of the hold queue's pauses a request makes that was refused: none the first time, as there
// may be another connection, then 50 ms.
constexpr std::size_t k_refused_step = 1;

// The codes of the application's resets that mean the same to a client; others are about its own
// connection.
std::uint32_t passed_on(std::uint32_t code) {
  switch (code) {
    case NGHTTP2_CANCEL:
    case NGHTTP2_REFUSED_STREAM:
    case NGHTTP2_ENHANCE_YOUR_CALM:
      return code;
    default:
      return NGHTTP2_INTERNAL_ERROR;
  }
}

}  // namespace

void Stream::attempt_h2c(Target& target) {
  if (head_->upgrade_websocket) {
    answer({501, "no_websocket", "This site takes no websockets",
            "The application is spoken to by HTTP/2 (app_protocol is h2c), over which it takes no "
            "websockets. With app_protocol=http1 it can."});
    return;
  }
  bool full = false;
  H2cConnection* connection = context_.upstreams.h2c().take(target, full);
  if (connection != nullptr) {
    request_sent_ = 0;
    connection->add(*this);
  } else if (full) {
    leave_target();
    wait_for_turn();
  } else {
    attempt_failed();
  }
}

bool Stream::step_h2c() {
  H2cExchange& exchange = *exchange_;
  exchange.woken = false;
  bool progress = false;
  if (exchange.id == 0 && !exchange.closed) {
    if (!exchange.connection.ready()) return false;
    if (!exchange.connection.submit(exchange, *head_, identity())) {
      attempt_refused();
      return true;
    }
    sent_us_ = context_.now_us;
    request_moved_ = progress = true;
  }
  if (!unsent().empty() || request_complete_) exchange.connection.resume(exchange);
  return take_h2c_response(exchange) || progress;
}

void Stream::request_taken(std::size_t bytes) {
  request_moved_ = true;
  if (replayable_) {
    request_sent_ += bytes;
  } else {
    request_.consume(bytes);
  }
}

// True when anything was taken, or the exchange is over.
bool Stream::take_h2c_response(H2cExchange& exchange) {
  bool progress = false;
  while (codec_.may_write(*this)) {
    if (exchange.end == H2cExchange::End::malformed) {
      refuse_response(exchange.reason);
      return true;
    }
    if (!exchange.interim.empty() || (exchange.head != nullptr && !exchange.head_taken)) {
      take_h2c_head(exchange);
      if (state_ != State::exchange || exchange_ != &exchange) return true;
      progress = true;
    } else if (!exchange.in.empty()) {
      const std::string_view bytes = exchange.in.view().substr(0, k_slab_bytes);
      if (head_held_) pass_head_on(exchange.head->head());
      response_bytes_ += bytes.size();
      codec_.write_body(*this, bytes);
      if (exchange_ != &exchange) return true;
      const std::size_t taken = bytes.size();
      exchange.in.consume(taken);
      exchange.connection.consume(exchange, taken);
      progress = true;
    } else if (exchange.ended) {
      finish_h2c(exchange);
      return true;
    } else if (exchange.closed) {
      h2c_ended(exchange);
      return true;
    } else {
      break;
    }
  }
  return progress;
}

void Stream::take_h2c_head(H2cExchange& exchange) {
  if (!std::exchange(response_started_, true)) {
    first_byte_us_ = context_.now_us;
    if (!request_complete_) commit_to_upstream();
  }
  if (exchange.interim.empty()) {
    exchange.head_taken = true;
    take_response_head(exchange.head->head());
    return;
  }
  const std::unique_ptr<H2cFields> block = std::move(exchange.interim.front());
  exchange.interim.pop_front();
  interim_bytes_ += block->bytes();
  take_response_head(block->head());
}

void Stream::finish_h2c(H2cExchange& exchange) {
  if (head_held_) pass_head_on(exchange.head->head());
  const std::unique_ptr<H2cFields> trailers = std::move(exchange.trailers);
  drop_upstream();
  leave_target();
  whole_ = true;
  codec_.write_end(*this, trailers == nullptr ? std::vector<http::Field>{} : trailers->trailers());
}

// Without a whole answer.
void Stream::h2c_ended(H2cExchange& exchange) {
  switch (exchange.end) {
    case H2cExchange::End::unreachable:
      drop_upstream();
      attempt_failed();
      return;
    case H2cExchange::End::not_http2:
      refuse_response(
          "It speaks no HTTP/2 without TLS, which its app_protocol, h2c, says that it does.");
      return;
    case H2cExchange::End::refused:
      if (!response_started_ && (replayable_ || !exchange.body_begun)) {
        attempt_refused();
        return;
      }
      break;
    case H2cExchange::End::reset:
      h2c_reset(exchange.code);
      return;
    default:
      h2c_lost(exchange);
      return;
  }
  fail({502, "upstream_closed", "The application did not take the request",
        "The application refused the request when a part of it had been sent that is not kept."});
}

void Stream::h2c_reset(std::uint32_t code) {
  cut_code_ = passed_on(code);
  EdgeAnswer reason{502, response_started_ ? "upstream_cut" : "upstream_closed",
                    "The application did not answer",
                    "The application ended the request without a whole answer (HTTP/2 code " +
                        std::to_string(code) + "). Its logs may say why."};
  reason.grpc_status = grpc_status_of_reset(code);
  fail(reason);
}

// The connection has ended: as of one that speaks HTTP/1, but that it may have ended before the
// request was on it.
void Stream::h2c_lost(H2cExchange& exchange) {
  if (response_started_) {
    if (may_ask_another()) {
      response_started_ = head_held_ = false;
      return ask_another();
    }
    return fail({502, "upstream_cut", "The application's answer was cut off",
                 "The application closed the connection within its answer."});
  }
  if (!exchange.sent) {
    drop_upstream();
    return attempt_failed();
  }
  if (exchange.reused && !fresh_only_ && is_repeatable()) return send_again();
  if (!exchange.reused && may_ask_another()) return ask_another();
  fail({502, "upstream_closed", "The application did not answer",
        "The application closed the connection without an answer. It may have crashed; its logs "
        "may say why."});
}

// The application has not looked at the request: it waits for a connection that takes it.
void Stream::attempt_refused() {
  drop_upstream();
  leave_target();
  context_.metrics.retries.add();
  const bool waited =
      context_.now_ms - began_ms_ >= context_.shared.config.timeouts.connect_retry.count();
  if (waited ||
      static_cast<std::int64_t>(context_.held.held_for(head_->host)) >= context_.requests_max) {
    answer_full();
    return;
  }
  context_.held.hold(*this, ++connect_failures_ == 1 ? 0 : k_refused_step, context_.now_ms);
}

}  // namespace atlasflow::edge
