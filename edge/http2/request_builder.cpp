#include "edge/http2/request_builder.hpp"

#include "http/guard.hpp"

namespace atlasflow::edge {
namespace {

// What RFC 9113 section 6.5.2 counts for a field beside its bytes.
constexpr std::size_t k_field_overhead = 32;
constexpr std::string_view k_line_breakers("\r\n\0", 3);

bool has_line_break(std::string_view text) {
  return text.find_first_of(k_line_breakers) != std::string_view::npos;
}

}  // namespace

bool RequestBuilder::take_room(std::size_t bytes) {
  bytes_ += bytes + k_field_overhead;
  too_large_ = too_large_ || bytes_ > limits_.head_bytes_max;
  return !too_large_;
}

void RequestBuilder::add_field(std::string_view name, std::string_view value) {
  if (!take_room(name.size() + value.size())) return;
  // nghttp2 lets none of these through; here they would be another field, or another request.
  breaks_line_ = breaks_line_ || has_line_break(name) || has_line_break(value);
  if (name == ":method") {
    method_ = value;
  } else if (name == ":scheme") {
    scheme_ = value;
  } else if (name == ":path") {
    path_ = value;
  } else if (name == ":authority") {
    authority_ = value;
  } else if (name == "host") {
    several_hosts_ = several_hosts_ || !host_field_.empty();
    host_field_ = value;
  } else if (name == ":protocol") {
    protocol_ = value;
  } else if (name == "sec-websocket-key" && asks_for_websocket()) {
    // It has none over HTTP/2 (RFC 8441 section 5); the edge has its own.
  } else if (name == "cookie") {
    // A client may send each pair by itself (section 8.2.3).
    if (!cookie_.empty()) cookie_ += "; ";
    cookie_ += value;
  } else {
    has_length_ = has_length_ || name == "content-length";
    fields_.append(name).append(": ").append(value).append("\r\n");
  }
}

std::optional<http::HttpError> RequestBuilder::check() const {
  if (too_large_) return http::HttpError{431, "The request's fields are too large."};
  if (breaks_line_) return http::HttpError{400, "A field has a line break in it."};
  if (method_ == "CONNECT" && protocol_.empty()) {
    return http::HttpError{405, "CONNECT and TRACE are not allowed here."};
  }
  if (!protocol_.empty() && method_ != "CONNECT") {
    return http::HttpError{400, "A protocol is named, but the method is not CONNECT."};
  }
  if (!protocol_.empty() && !asks_for_websocket()) {
    return http::HttpError{501, "CONNECT is for websockets only."};
  }
  if (!protocol_.empty() && has_length_) {
    return http::HttpError{400, "A websocket has no Content-Length."};
  }
  if (scheme_ != "https" && scheme_ != "http") {
    return http::HttpError{400, "The scheme is not https."};
  }
  if (path_ != "*" && !path_.starts_with('/')) {
    return http::HttpError{400, "The path does not begin with a slash."};
  }
  if (path_.size() > limits_.target_bytes_max) {
    return http::HttpError{414, "The URL is too long."};
  }
  if (several_hosts_ ||
      (!authority_.empty() && !host_field_.empty() && authority_ != host_field_)) {
    return http::HttpError{400, "Host is not the authority that the request is for."};
  }
  return std::nullopt;
}

std::optional<http::HttpError> RequestBuilder::finish(bool has_body) {
  if (const auto error = check()) return error;
  const bool websocket = asks_for_websocket();
  raw_.append(websocket ? "GET" : method_).append(" ").append(path_);
  raw_.append(" HTTP/1.1\r\nHost: ");
  raw_.append(authority_.empty() ? host_field_ : authority_).append("\r\n").append(fields_);
  if (!cookie_.empty()) raw_.append("cookie: ").append(cookie_).append("\r\n");
  if (websocket) {
    raw_.append("connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ");
    raw_.append(websocket_key_).append("\r\n");
  } else if (has_body && !has_length_) {
    raw_.append("transfer-encoding: chunked\r\n");
  }
  raw_.append("\r\n");
  return http::parse_request_head(raw_, limits_, head_, host_text_);
}

void RequestBuilder::add_trailer(std::string_view name, std::string_view value) {
  if (!take_room(name.size() + value.size())) return;
  breaks_line_ = breaks_line_ || has_line_break(name) || has_line_break(value);
  trailer_text_.append(name).append(": ").append(value).append("\r\n");
}

std::vector<http::Field> RequestBuilder::trailers() const {
  std::vector<http::Field> fields;
  // Those of a request may be dropped (RFC 9110 section 6.5.1).
  if (too_large_ || breaks_line_) return fields;
  if (http::parse_fields(trailer_text_, limits_.fields_max, fields)) fields.clear();
  return fields;
}

void RequestBuilder::reset() {
  for (std::string* text : {&method_, &scheme_, &path_, &protocol_, &websocket_key_, &authority_,
                            &host_field_, &cookie_, &fields_, &raw_, &host_text_, &trailer_text_}) {
    text->clear();
  }
  has_length_ = several_hosts_ = breaks_line_ = too_large_ = false;
  bytes_ = 0;
  head_ = {};
}

}  // namespace atlasflow::edge
