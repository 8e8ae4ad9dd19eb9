// What is counted and logged of a request: once, when it is over.
#include <algorithm>

#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/trace_context.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// Of ids that others made: one that is longer, or has other characters, is not theirs to have
// written down.
constexpr std::size_t k_foreign_id_bytes_max = 64;

// Since the request's beginning; `never` for what has not been.
std::uint64_t since(std::int64_t began_us, std::int64_t at_us) {
  if (at_us == 0) return AccessRecord::k_never;
  return static_cast<std::uint64_t>(std::max<std::int64_t>(at_us - began_us, 0));
}

std::uint8_t protocol_of(const ClientConnection& connection, const http::RequestHead* head) {
  if (connection.http2()) return 2;
  return head != nullptr && head->minor_version == 0 ? 0 : 1;
}

std::string_view foreign_id(std::string_view value) {
  static constexpr std::string_view k_allowed =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  const bool is_short_token = value.size() <= k_foreign_id_bytes_max &&
                              value.find_first_not_of(k_allowed) == std::string_view::npos;
  return is_short_token ? value : std::string_view{};
}

// What the request's fields say that is written down.
void add_fields(const http::RequestHead& head, AccessTexts& texts) {
  for (const http::Field& field : head.fields) {
    if (http::equal_ignoring_case(field.name, "User-Agent")) {
      texts.agent = field.value;
    } else if (http::equal_ignoring_case(field.name, "X-Request-Id")) {
      texts.client_request_id = foreign_id(field.value);
    }
  }
}

}  // namespace

void Stream::begin_account() {
  context_.metrics.requests_begun.add();
  project_ = ProjectNumbers::k_none;
  project_name_.clear();
  status_ = 0;
  error_ = {};
  whole_ = false;
  attempts_ = 0;
  instance_.clear();
  began_us_ = context_.now_us;
  sent_us_ = first_byte_us_ = 0;
  response_bytes_ = 0;
}

void Stream::belongs_to(const RouteEntry& route) {
  project_ = route.project_number;
  if (context_.shared.access_log != nullptr) project_name_ = route.project;
}

AccessPhase Stream::phase() const {
  if (state_ == State::tunnel) return AccessPhase::tunnel;
  if (head_sent_) return AccessPhase::response;
  if (sent_us_ != 0) return AccessPhase::wait;
  return attempts_ == 0 ? AccessPhase::request : AccessPhase::connect;
}

void Stream::account() {
  if (!whole_ && state_ != State::tunnel) blame(context_.end_reason);
  const std::uint64_t duration_us = since(began_us_, context_.now_us);
  const bool websocket = status_ == 101;
  const std::uint8_t protocol = websocket ? k_websocket : protocol_of(connection_, head_);
  WorkerMetrics& metrics = context_.metrics;
  metrics.count_request(project_, status_, protocol, duration_us, error_);
  if (first_byte_us_ != 0) metrics.first_bytes.add(since(began_us_, first_byte_us_));
  metrics.request_bytes.add(body_bytes_);
  metrics.response_bytes.add(response_bytes_);
  if (context_.shared.access_log != nullptr) log_access(duration_us, protocol);
}

void Stream::log_access(std::uint64_t duration_us, std::uint8_t protocol) const {
  constexpr std::int64_t k_us_per_ms = 1000;
  AccessRecord record;
  record.status = static_cast<std::uint16_t>(status_);
  record.protocol = protocol;
  record.phase = static_cast<std::uint8_t>(phase());
  record.https = connection_.https();
  record.attempts = attempts_;
  record.ended_ms = began_wall_ms_ + static_cast<std::int64_t>(duration_us) / k_us_per_ms;
  record.sent_us = since(began_us_, sent_us_);
  record.first_byte_us = since(began_us_, first_byte_us_);
  record.duration_us = duration_us;
  record.request_bytes = body_bytes_;
  record.response_bytes = response_bytes_;
  AccessTexts texts;
  texts.project = project_name_;
  texts.request_id = request_id_;
  texts.client = connection_.address();
  texts.instance = instance_;
  texts.error = error_;
  if (head_ != nullptr) {
    texts.host = head_->host;
    texts.method = head_->method;
    texts.path = head_->path.substr(0, head_->path.find('?'));
    texts.trace_id = trace_id_of(traceparent_of(head_->fields));
    add_fields(*head_, texts);
  }
  context_.shared.access_log->put(context_.index, record, texts);
}

}  // namespace atlasflow::edge
