// What is counted and logged of a request: once, when it is over.
#include <algorithm>

#include "edge/proxy/client_connection.hpp"
#include "edge/proxy/stream.hpp"
#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {
namespace {

// Since the request's beginning; `never` for what has not been.
std::uint32_t since(std::int64_t began_us, std::int64_t at_us) {
  if (at_us == 0) return AccessRecord::k_never;
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(at_us - began_us, 0, AccessRecord::k_never - 1));
}

std::uint8_t protocol_of(const ClientConnection& connection, const http::RequestHead& head) {
  if (head.upgrade_websocket) return 3;
  if (connection.http2()) return 2;
  return head.minor_version == 0 ? 0 : 1;
}

}  // namespace

void Stream::begin_account() {
  context_.metrics.requests_begun.add();
  project_ = ProjectNumbers::k_none;
  status_ = 0;
  error_ = {};
  whole_ = false;
  attempts_ = 0;
  instance_.clear();
  began_us_ = context_.now_us;
  sent_us_ = first_byte_us_ = 0;
  response_bytes_ = 0;
}

AccessPhase Stream::phase() const {
  if (state_ == State::tunnel) return AccessPhase::tunnel;
  if (head_sent_) return AccessPhase::response;
  if (sent_us_ != 0) return AccessPhase::wait;
  return attempts_ == 0 ? AccessPhase::request : AccessPhase::connect;
}

void Stream::account() {
  if (!whole_ && error_.empty() && state_ != State::tunnel) error_ = "client_left";
  const std::int64_t duration_us = context_.now_us - began_us_;
  WorkerMetrics& metrics = context_.metrics;
  metrics.count_request(project_, status_, static_cast<std::uint64_t>(duration_us), error_);
  metrics.request_bytes.add(body_bytes_);
  metrics.response_bytes.add(response_bytes_);
  AccessLog* log = context_.shared.access_log.get();
  if (log == nullptr || head_ == nullptr || project_ <= ProjectNumbers::k_other) return;

  AccessRecord record;
  record.project = project_;
  record.status = static_cast<std::uint16_t>(status_);
  record.began_ms = began_wall_ms_;
  record.sent_us = since(began_us_, sent_us_);
  record.first_byte_us = since(began_us_, first_byte_us_);
  record.duration_us = since(began_us_, context_.now_us);
  record.attempts = attempts_;
  record.request_bytes = body_bytes_;
  record.response_bytes = response_bytes_;
  record.protocol = protocol_of(connection_, *head_);
  record.https = connection_.https();
  record.phase = static_cast<std::uint8_t>(phase());
  const http::Field* agent = http::find_field(head_->fields, "User-Agent");
  const AccessTexts texts{request_id_,
                          connection_.address(),
                          head_->host,
                          head_->method,
                          head_->path.substr(0, head_->path.find('?')),
                          agent != nullptr ? agent->value : std::string_view{},
                          instance_,
                          error_};
  if (!log->put(context_.index, record, texts)) metrics.access_lines_dropped.add();
}

}  // namespace atlasflow::edge
