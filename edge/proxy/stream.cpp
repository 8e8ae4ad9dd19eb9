// A stream's life: the request as it comes in, and what the edge answers itself.
#include "edge/proxy/stream.hpp"

#include <array>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/assert.hpp"
#include "base/log.hpp"
#include "edge/h2c/h2c_connection.hpp"
#include "edge/http1/message_writer.hpp"
#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/grpc.hpp"
#include "edge/proxy/trace_context.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// More of a body is not asked for while so much of it waits.
constexpr std::size_t k_high_water = 2 * k_slab_bytes;
// When a site that cannot serve now may do so again.
constexpr int k_come_back_s = 5;
constexpr std::size_t k_replay_bytes_max = std::size_t{64} * 1024;

// Both digits of each byte.
constexpr std::array<char, 512> k_hex = [] {
  constexpr std::string_view k_digits = "0123456789abcdef";
  std::array<char, 512> table{};
  for (std::size_t byte = 0; byte < 256; ++byte) {
    table[2 * byte] = k_digits[byte / 16];
    table[2 * byte + 1] = k_digits[byte % 16];
  }
  return table;
}();

// The lowest `bytes` of the number, the highest of them first.
void write_hex(std::uint64_t number, std::size_t bytes, char* out) {
  for (std::size_t i = bytes; i-- > 0; number >>= 8U) {
    std::memcpy(out + 2 * i, &k_hex[2 * (number & 0xFFU)], 2);
  }
}

}  // namespace

Stream::Stream(WorkerContext& context, ClientConnection& connection, Codec& codec)
    : context_(context), connection_(connection), codec_(codec), request_(context.slabs) {}

void Stream::begin(const http::RequestHead* head) {
  ATLAS_ASSERT(state_ == State::none, "a stream serves one request at a time");
  reset(head);
  state_ = State::exchange;
  to_head_ = head != nullptr && head->method == "HEAD";
  began_ms_ = waiting_since_ms_ = context_.now_ms;
  make_request_id();
  find_grpc();
  begin_account();
  context_.streams.add(*this);
}

// The upstream and the target have been left before.
void Stream::reset(const http::RequestHead* head) {
  head_ = head;
  request_.clear();
  request_sent_ = request_head_bytes_ = 0;
  replayable_ = true;
  request_complete_ = rest_refused_ = false;
  fresh_only_ = retried_fresh_ = false;
  connect_failures_ = 0;
  response_started_ = false;
  interim_responses_ = interim_bytes_ = 0;
  head_held_ = head_sent_ = tunnel_half_closed_ = false;
  tunnel_up_ended_ = tunnel_up_closed_ = tunnel_down_closed_ = false;
  cut_code_ = k_cut_code;
  deadline_.renew();
  request_moved_ = false;
  body_bytes_ = 0;
  body_waited_ms_ = 0;
}

void Stream::finish() {
  if (state_ == State::none) return;
  account();
  drop_upstream();
  leave_target();
  context_.held.release(*this);
  context_.streams.remove(*this);
  state_ = State::none;
  head_ = nullptr;
  request_.clear();
}

void Stream::flush() {
  if (state_ == State::none) return;
  drop_upstream();
  leave_target();
  context_.held.release(*this);
  state_ = State::flushing;
  request_.clear();
}

void Stream::serve() {
  const RouteEntry* route = route_or_answer();
  if (route == nullptr || !within_rate(*route) || !within_memory()) return;
  write_request_head(*head_, identity(), request_);
  request_head_bytes_ = request_.size();
  attempt_at(*route);
}

ClientIdentity Stream::identity() const {
  return {connection_.address(), connection_.https(), connection_.local_port(), request_id_,
          traceparent_of(head_->fields)};
}

// Of all its hosts together, so that a client gains nothing by asking several of them.
bool Stream::within_rate(const RouteEntry& route) {
  const std::int32_t rate = route.limits.request_rate;
  if (rate == 0) return true;
  const std::int64_t wait_us = context_.shared.request_rates.take(
      connection_.address_key(), route.rate_key, rate, context_.now_us);
  if (wait_us == 0) return true;
  constexpr std::int64_t k_us_per_s = 1'000'000;
  answer({429, "too_many_requests", "Too many requests",
          "Your address has sent more than " + std::to_string(rate) +
              " requests per second, which is what the site allows one to.",
          static_cast<int>((wait_us + k_us_per_s - 1) / k_us_per_s)});
  return false;
}

bool Stream::body_room() const { return request_.size() - request_sent_ < k_high_water; }

// Over plain HTTP it means nothing (RFC 6797 section 7.2), and what is not under the domain belongs
// to somebody else.
std::string_view Stream::hsts() const {
  const Shared& shared = context_.shared;
  if (shared.hsts.empty() || !connection_.https() || head_ == nullptr) return {};
  const bool own = CertificateMap::is_under(head_->host, shared.config.domain);
  return own ? std::string_view(shared.hsts) : std::string_view{};
}

void Stream::take_body(std::string_view bytes) {
  body_bytes_ += bytes.size();
  if (state_ == State::discard) return;
  if (head_->framing == http::Framing::chunked) {
    write_chunk(bytes, request_);
  } else {
    request_.append(bytes);
  }
  if (replayable_ && request_.size() > k_replay_bytes_max) {
    replayable_ = false;
    request_.consume(std::exchange(request_sent_, 0));
  }
}

void Stream::end_body(const std::vector<http::Field>& trailers) {
  request_complete_ = true;
  if (head_->framing == http::Framing::chunked) write_last_chunk(trailers, request_);
}

void Stream::refuse(const http::HttpError& error) {
  rest_refused_ = true;
  if (project_ == ProjectNumbers::k_none && head_ != nullptr) {
    if (const RouteEntry* route = context_.snapshot->find(head_->host)) belongs_to(*route);
  }
  fail(bad_request(error));
}

// The route if it has somewhere to go; otherwise the answer has been given, and this is nullptr.
const RouteEntry* Stream::ready_or_answer(const RouteEntry* route) {
  if (route == nullptr) {
    const std::string_view host = head_->host;
    const std::string name = host.empty() ? "(no host given)" : std::string(host);
    answer({404, "unknown_host", "No deployment answers for " + name,
            "No deployment answers for the host \"" + name +
                "\" here. Check the spelling, or deploy a project with this host name."});
    return nullptr;
  }
  if (route->targets.empty()) {
    const std::string why = route->unavailable_reason.empty() ? "no instance of it is ready"
                                                              : route->unavailable_reason;
    answer({.status = 503,
            .code = "no_instance",
            .title = route->host + " is not available now",
            .message = route->host + " is not available now: " + why,
            .retry_after_s = k_come_back_s,
            .notice = route->unavailable_message});
    return nullptr;
  }
  return route;
}

// A public CA looks for the token at a host that may have neither route nor certificate yet, and
// follows redirects, but not into a handshake that fails (RFC 8555 section 8.3).
bool Stream::answered_challenge() {
  constexpr std::string_view k_place = "/.well-known/acme-challenge/";
  const http::RequestHead& head = *head_;
  if (connection_.https() || !head.path.starts_with(k_place)) return false;
  const std::string* found =
      context_.snapshot->challenge(head.host, head.path.substr(k_place.size()));
  if (found == nullptr || (head.method != "GET" && head.method != "HEAD")) return false;
  answer({.status = 200, .code = "", .text = *found});
  return true;
}

// To the same target of that host, at the port that the edge has for it.
void Stream::redirect(bool secure, std::string_view host, const char* title, int status) {
  const http::RequestHead& head = *head_;
  std::string location = (secure ? "https://" : "http://") + std::string(host);
  const std::uint16_t port = secure ? context_.shared.https_port : connection_.local_port();
  if (port != (secure ? 443 : 80)) location += ":" + std::to_string(port);
  location += head.path;
  answer({status, "", title, "See " + location, 0, location});
}

const RouteEntry* Stream::route_or_answer() {
  if (answered_challenge()) return nullptr;
  const http::RequestHead& head = *head_;
  const CertificateMap& certificates = *context_.certificates;
  const std::string& server_name = connection_.server_name();
  if (connection_.https() && head.host != server_name &&
      certificates.find(server_name) != certificates.find(head.host)) {
    answer({421, "misdirected", "This connection is not for that host",
            "The TLS connection was opened for " + server_name + "; open another one for " +
                std::string(head.host) + "."});
    return nullptr;
  }
  const RouteEntry* route = context_.snapshot->find(head.host);
  if (route != nullptr) belongs_to(*route);
  if (route != nullptr && head.path == "*") {
    answer({204, "", "", ""});
    return nullptr;
  }
  if (route != nullptr && !route->redirect_to.empty()) {
    // In one step, also from plain HTTP.
    const bool secure = connection_.https() || certificates.find(route->redirect_to) != nullptr;
    redirect(secure, route->redirect_to, "This site has another name", 308);
    return nullptr;
  }
  // A host without a certificate of ours could only be redirected into a failed handshake.
  if (route != nullptr && !connection_.https() && context_.shared.config.redirect_http &&
      certificates.find(head.host) != nullptr) {
    const bool safe = head.method == "GET" || head.method == "HEAD";
    redirect(true, head.host, "This site speaks https", safe ? 301 : 308);
    return nullptr;
  }
  return ready_or_answer(route);
}

// What is being served is more than this machine has room for.
bool Stream::within_memory() {
  if (context_.admission.make_room_in_memory()) return true;
  if (context_.log.allows(context_.now_ms)) {
    log_event(LogLevel::warn, "edge", "overloaded",
              {{"host", head_->host},
               {"reason", "what is served holds as much memory as it may (edge.memory_mib)"}});
  }
  answer({503, "overloaded", "This server is busy",
          "So much is being served here that there is no memory for more. Try again in a moment.",
          k_come_back_s});
  return false;
}

// More of its requests wait than one application may have waiting: it is busy, or hangs.
void Stream::answer_full() {
  const std::string host(head_->host);
  if (context_.log.allows(context_.now_ms)) {
    log_event(LogLevel::warn, "edge", "overloaded",
              {{"host", host}, {"reason", "too many unanswered requests"}});
  }
  answer({503, "overloaded", host + " is busy",
          host + " has more unanswered requests than its instances may have. Try again in "
                 "a moment; its logs may say why it does not answer.",
          k_come_back_s});
}

void Stream::answer(const EdgeAnswer& answer) {
  drop_upstream();
  leave_target();
  context_.held.release(*this);
  status_ = answer.status;
  error_ = answer.code;
  whole_ = true;
  codec_.write_answer(*this, answer);
}

// Answers in the application's place, or, when its answer has begun, cuts it.
void Stream::fail(const EdgeAnswer& reason) {
  if (!head_sent_) {
    answer(reason);
  } else {
    error_ = reason.code;
    codec_.cut(*this);
  }
}

void Stream::cut_for_drain() {
  if (state_ == State::exchange && !head_sent_) {
    answer({504, "drained", "The instance was replaced",
            "The instance that served this request was replaced before it had answered."});
  } else {
    blame("drained");
    if (state_ == State::exchange) {
      codec_.cut(*this);
    } else {
      codec_.drop(*this);
    }
  }
  connection_.pump();
}

void Stream::leave_target() {
  Target* target = std::exchange(target_, nullptr);
  if (target == nullptr) return;
  const bool draining = target->draining.load();
  context_.upstreams.cell(*target).in_flight.fetch_sub(1);  // the last access: it may be freed now
  if (draining) context_.shared.on_drained();
}

void Stream::drop_upstream() {
  UpstreamConnection* upstream = std::exchange(upstream_, nullptr);
  if (upstream != nullptr) context_.upstreams.close(*upstream);
  H2cExchange* exchange = std::exchange(exchange_, nullptr);
  if (exchange != nullptr) exchange->connection.release(*exchange);
}

// UUID version 7: sorts by time, so logs can be searched by it.
void Stream::make_request_id() {
  const auto now = std::chrono::duration_cast<std::chrono::milliseconds>(
      std::chrono::system_clock::now().time_since_epoch());
  began_wall_ms_ = now.count();
  const std::uint64_t high =
      (static_cast<std::uint64_t>(now.count()) << 16U) | 0x7000U | (context_.random() & 0x0FFFU);
  const std::uint64_t low = (context_.random() & 0x3FFFFFFFFFFFFFFFULL) | 0x8000000000000000ULL;
  // 8-4-4-4-12 digits.
  request_id_.resize(36, '-');
  char* text = request_id_.data();
  write_hex(high >> 32U, 4, text);
  write_hex(high >> 16U, 2, text + 9);
  write_hex(high, 2, text + 14);
  write_hex(low >> 48U, 2, text + 19);
  write_hex(low, 6, text + 24);
}

// Its requests have a body, whatever they ask.
void Stream::find_grpc() {
  grpc_ = false;
  client_waits_ms_ = INT64_MAX;
  if (head_ == nullptr || head_->method != "POST") return;
  const http::Field* type = http::find_field(head_->fields, "Content-Type");
  grpc_ = type != nullptr && is_grpc(type->value);
  if (!grpc_) return;
  if (const http::Field* timeout = http::find_field(head_->fields, "grpc-timeout")) {
    client_waits_ms_ = grpc_timeout_ms(timeout->value).value_or(INT64_MAX);
  }
}

}  // namespace atlasflow::edge
