#include "api/connection.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <ctime>
#include <system_error>

#include <poll.h>
#include <sys/socket.h>

#include "api/url.hpp"
#include "base/log.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t k_read_bytes = 64UL * 1024;
constexpr std::uint64_t k_reserve_bytes_max = 1 << 20;  // an announced length is only a claim
constexpr auto k_linger = 2s;
constexpr std::uint64_t k_linger_bytes_max = 64ULL << 20;

int milliseconds_until(std::chrono::steady_clock::time_point deadline) {
  const auto left =
      std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

std::string head_of(const Response& response, bool keep_alive, bool chunked) {
  std::string head = "HTTP/1.1 " + std::to_string(response.status) + " ";
  head += http::reason_phrase(response.status);
  head += "\r\nDate: " + http::date_text(std::time(nullptr)) +
          "\r\nContent-Type: " + response.content_type +
          "\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n";
  for (const auto& [name, value] : response.fields) {
    head.append(name).append(": ").append(value).append("\r\n");
  }
  if (chunked) {
    head += "Transfer-Encoding: chunked\r\n";
  } else if (!response.stream) {
    head += "Content-Length: " + std::to_string(response.body.size()) + "\r\n";
  }
  head += keep_alive ? "Connection: keep-alive\r\n\r\n" : "Connection: close\r\n\r\n";
  return head;
}

ErrorCode code_of_http_status(int status) {
  switch (status) {
    case 408:
      return ErrorCode::timed_out;
    case 413:
      return ErrorCode::too_large;
    case 503:
      return ErrorCode::unavailable;
    default:
      return ErrorCode::invalid_argument;
  }
}

}  // namespace

void refuse_connection(int client) {
  const auto response = error_response(503, ErrorCode::unavailable,
                                       "Too many connections are open; try again in a moment.");
  const std::string bytes = head_of(response, false, false) + response.body;
  // What the client has sent already is read first: closing over unread bytes would reset the
  // connection and could take the answer with it.
  std::array<char, 4096> sink{};
  while (::recv(client, sink.data(), sink.size(), MSG_DONTWAIT) > 0) {
  }
  [[maybe_unused]] const auto sent =
      ::send(client, bytes.data(), bytes.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(client, SHUT_WR);
}

// The body of a streamed response, in chunks (RFC 9112 section 7.1) or, for HTTP/1.0, plain until
// close.
class Connection::ChunkedStream : public Stream {
 public:
  ChunkedStream(Connection& connection, bool chunked)
      : connection_(connection), chunked_(chunked) {}

  bool write(std::string_view bytes) override {
    if (bytes.empty()) return alive_;
    if (!wait(0ms)) return false;
    if (!chunked_) return alive_ = connection_.send_all(bytes, 0ms);
    std::array<char, 16> size{};
    const auto end = std::to_chars(size.begin(), size.end(), bytes.size(), 16).ptr;
    std::string chunk(size.begin(), end);
    chunk.append("\r\n").append(bytes).append("\r\n");
    return alive_ = connection_.send_all(chunk, 0ms);
  }

  // A client that has shut down its side of the connection counts as gone: nothing else would ever
  // tell that somebody who follows a silent log has left.
  bool wait(std::chrono::milliseconds duration) override {
    std::array<pollfd, 2> watched{{{connection_.client_.get(), POLLRDHUP, 0},
                                   {connection_.server_.stop_event.get(), POLLIN, 0}}};
    const auto deadline = Clock::now() + duration;
    while (alive_) {
      const int ready = ::poll(watched.data(), watched.size(), milliseconds_until(deadline));
      if (ready < 0 && errno == EINTR) continue;
      if (ready != 0) alive_ = false;
      break;
    }
    return alive_;
  }

  [[nodiscard]] bool finish() { return !chunked_ || connection_.send_all("0\r\n\r\n", 0ms); }

 private:
  Connection& connection_;
  const bool chunked_;
  bool alive_ = true;
};

Connection::Connection(FileDescriptor client, ServerState& server)
    : client_(std::move(client)), server_(server), buffer_(k_read_bytes) {}

Connection::~Connection() { server_.body_bytes_in_memory -= body_bytes_counted_; }

void Connection::run() {
  while (serve_one() == After::keep) {
  }
}

Connection::After Connection::serve_one() {
  request_ = {};
  match_ = {};
  refusal_.reset();
  server_.body_bytes_in_memory -= std::exchange(body_bytes_counted_, 0);
  body_bytes_ = 0;

  const auto& limits = server_.limits;
  auto deadline = Clock::now() + limits.keep_alive_timeout;
  auto body_deadline = Clock::time_point::max();
  bool was_idle = true;
  for (;;) {
    const http::ParseStep step = parser_.next(unread_);
    unread_.remove_prefix(step.consumed);
    switch (step.event) {
      case http::ParseEvent::error:
        return refuse_malformed();
      case http::ParseEvent::head:
        begin_request();
        if (refusal_ && has_body_) return send_response(*refusal_, After::close);
        body_deadline = Clock::now() + (match_.route != nullptr && match_.route->body_timeout > 0ms
                                            ? match_.route->body_timeout
                                            : limits.body_timeout);
        break;
      case http::ParseEvent::body:
        if (!take_body(step.body)) return send_response(*refusal_, After::close);
        break;
      case http::ParseEvent::complete:
        return answer();
      case http::ParseEvent::need_more: {
        const bool in_body = body_deadline != Clock::time_point::max();
        if (in_body) {
          deadline = std::min(Clock::now() + limits.body_idle_timeout, body_deadline);
        } else if (was_idle && !parser_.idle()) {
          was_idle = false;
          deadline = Clock::now() + limits.head_timeout;
        }
        const Read outcome = read_more(deadline);
        if (outcome == Read::bytes) break;
        if (outcome == Read::timed_out && !parser_.idle()) return refuse_slow();
        return After::close;
      }
    }
  }
}

void Connection::begin_request() {
  const auto& head = parser_.head();
  wants_keep_alive_ = head.keep_alive;
  may_chunk_ = head.minor_version >= 1;
  has_body_ = head.framing != http::Framing::none;
  request_.method = head.method;
  const auto question = std::min(head.path.find('?'), head.path.size());
  request_.path = head.path.substr(0, question);
  for (const auto& field : head.fields) request_.fields.emplace_back(field.name, field.value);

  auto query = parsed_query(head.path.substr(std::min(question + 1, head.path.size())));
  if (!query) {
    refusal_ =
        error_response(400, ErrorCode::invalid_argument, "The query is not well percent-encoded.");
    return;
  }
  request_.query = *std::move(query);
  auto matched = server_.router.match(request_.method, request_.path);
  if (auto* response = std::get_if<Response>(&matched)) {
    refusal_ = std::move(*response);
    return;
  }
  match_ = std::move(std::get<RouteMatch>(matched));
  request_.parameters = match_.parameters;
  if (!open_sink() || !has_body_) return;
  if (head.framing == http::Framing::length && head.content_length > match_.route->body_bytes_max) {
    refusal_ = error_response(413, ErrorCode::too_large,
                              "The body is larger than the " +
                                  std::to_string(match_.route->body_bytes_max) +
                                  " bytes that this path takes.");
    return;
  }
  if (!request_.sink) request_.body.reserve(std::min(head.content_length, k_reserve_bytes_max));
  // A client that already sends does not wait for the word.
  if (head.expect_continue && unread_.empty() && !send_all("HTTP/1.1 100 Continue\r\n\r\n", 0ms)) {
    wants_keep_alive_ = false;  // the next read finds the connection closed
  }
}

bool Connection::open_sink() {
  if (!match_.route->open_sink) return true;
  Route::Opened opened;
  try {
    opened = match_.route->open_sink(request_);
  } catch (const std::exception& error) {
    opened = failed(error);
  }
  if (auto* response = std::get_if<Response>(&opened)) {
    refusal_ = std::move(*response);
    return false;
  }
  request_.sink = std::move(std::get<std::shared_ptr<BodySink>>(opened));
  return true;
}

bool Connection::take_body(std::string_view bytes) {
  const auto max = match_.route->body_bytes_max;
  if (bytes.size() > max - std::min(max, body_bytes_)) {
    refusal_ = error_response(
        413, ErrorCode::too_large,
        "The body is larger than the " + std::to_string(max) + " bytes that this path takes.");
    return false;
  }
  body_bytes_ += bytes.size();
  if (request_.sink) {
    request_.sink->take(bytes);
    return true;
  }
  body_bytes_counted_ += bytes.size();
  const auto in_memory = server_.body_bytes_in_memory += bytes.size();
  if (in_memory > server_.limits.body_bytes_in_memory_max) {
    refusal_ = error_response(503, ErrorCode::unavailable,
                              "Too many large requests are under way; try again in a moment.");
    return false;
  }
  request_.body.append(bytes);
  return true;
}

Connection::After Connection::refuse_malformed() {
  const auto& error = parser_.error();
  return send_response(
      error_response(error.status, code_of_http_status(error.status), std::string(error.reason)),
      After::close);
}

Connection::After Connection::refuse_slow() {
  return send_response(
      error_response(408, ErrorCode::timed_out, "The request did not arrive in time."),
      After::close);
}

Connection::After Connection::answer() {
  const auto response = refusal_ ? *std::move(refusal_) : handle();
  request_.sink.reset();  // it may hold much, and the next request may be long in coming
  // The server may have begun to stop while the handler ran.
  const auto after = wants_keep_alive_ && !server_.stopping() ? After::keep : After::close;
  const auto kept = send_response(response, after);
  parser_.reset();
  return kept;
}

Response Connection::handle() {
  try {
    return match_.route->handler(request_);
  } catch (const std::exception& error) {
    return failed(error);
  }
}

Response Connection::failed(const std::exception& error) const {
  log_event(
      LogLevel::error, "api", "handler_failed",
      {{"method", request_.method}, {"route", match_.route->pattern}, {"cause", error.what()}});
  return error_response(
      Error{ErrorCode::internal, "Atlasflow failed on this request; its log says why.", {}});
}

Connection::After Connection::send_response(const Response& response, After after) {
  const bool keep = after == After::keep && (!response.stream || may_chunk_);
  const bool to_head = request_.method == "HEAD";
  const bool chunked = response.stream && may_chunk_ && !to_head;
  std::string bytes = head_of(response, keep, chunked);
  if (!to_head) bytes += response.body;
  if (!send_all(bytes, server_.limits.stop_grace)) return After::close;
  if (response.stream && !to_head) {
    ChunkedStream stream(*this, chunked);
    bool whole = false;
    try {
      whole = response.stream(stream);
    } catch (const std::exception& error) {
      log_event(LogLevel::error, "api", "stream_failed",
                {{"path", match_.route->pattern}, {"cause", error.what()}});
    }
    // Cut, so that what is missing cannot be taken for the end.
    if (!whole || !stream.finish()) return After::close;
  }
  if (!keep) linger();
  return keep ? After::keep : After::close;
}

bool Connection::send_all(std::string_view bytes, std::chrono::milliseconds stop_grace) {
  auto deadline = Clock::now() + server_.limits.write_idle_timeout;
  bool in_grace = false;
  while (!bytes.empty()) {
    const auto sent = ::send(client_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(sent));
      if (!in_grace) deadline = Clock::now() + server_.limits.write_idle_timeout;
      continue;
    }
    if (errno == EINTR) continue;
    if (errno != EAGAIN) return false;
    if (server_.stopping() && !in_grace) {
      in_grace = true;
      deadline = std::min(deadline, Clock::now() + stop_grace);
    }
    std::array<pollfd, 2> watched{
        {{client_.get(), POLLOUT, 0}, {server_.stop_event.get(), POLLIN, 0}}};
    const nfds_t count = in_grace ? 1 : 2;  // the stop is known by then
    if (::poll(watched.data(), count, milliseconds_until(deadline)) == 0) return false;
  }
  return true;
}

Connection::Read Connection::read_more(Clock::time_point deadline) {
  // The parser takes all it gets but for what follows a complete message.
  std::copy(unread_.begin(), unread_.end(), buffer_.begin());
  const auto kept = unread_.size();
  for (;;) {
    if (server_.stopping()) return Read::stopping;
    const auto size = ::recv(client_.get(), buffer_.data() + kept, buffer_.size() - kept, 0);
    if (size > 0) {
      unread_ = {buffer_.data(), kept + static_cast<std::size_t>(size)};
      return Read::bytes;
    }
    if (size == 0) return Read::closed;
    if (errno != EAGAIN && errno != EINTR) return Read::closed;
    std::array<pollfd, 2> watched{
        {{client_.get(), POLLIN, 0}, {server_.stop_event.get(), POLLIN, 0}}};
    const int ready = ::poll(watched.data(), watched.size(), milliseconds_until(deadline));
    if (ready == 0) return Read::timed_out;
  }
}

// Reads on for a moment before the close: bytes that arrive after it would reset the connection and
// could destroy the response before the client has read it (RFC 9112 section 9.6).
void Connection::linger() {
  if (::shutdown(client_.get(), SHUT_WR) != 0) return;
  const auto deadline = Clock::now() + k_linger;
  std::uint64_t taken = 0;
  for (;;) {
    unread_ = {};
    if (taken > k_linger_bytes_max || read_more(deadline) != Read::bytes) return;
    taken += unread_.size();
  }
}

}  // namespace atlasflow::api
