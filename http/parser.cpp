#include "http/parser.hpp"

#include <algorithm>

#include <llhttp.h>

#include "http/guard.hpp"

static_assert(LLHTTP_STRICT_MODE == 1, "a lenient llhttp lets requests be smuggled");

namespace atlasflow::http {
namespace {

constexpr int k_leading_lines_max = 2;  // RFC 9112 section 2.2: a server skips at least one

struct SecondOpinion {
  bool head_complete = false;
  bool method_known = true;
  bool accepted = false;
  bool chunked = false;
  std::uint64_t content_length = 0;
  int method = 0;
  int status = 0;
};

int on_headers_complete(llhttp_t* parser) {
  auto& opinion = *static_cast<SecondOpinion*>(parser->data);
  opinion.head_complete = true;
  opinion.chunked = (parser->flags & F_CHUNKED) != 0;
  opinion.content_length = (parser->flags & F_CONTENT_LENGTH) != 0 ? parser->content_length : 0;
  opinion.method = llhttp_get_method(parser);
  opinion.status = llhttp_get_status_code(parser);
  return HPE_PAUSED;  // the body is not llhttp's
}

const llhttp_settings_t& llhttp_settings() {
  static const llhttp_settings_t settings = [] {
    llhttp_settings_t made;
    llhttp_settings_init(&made);
    made.on_headers_complete = on_headers_complete;
    return made;
  }();
  return settings;
}

SecondOpinion ask_llhttp(std::string_view raw, llhttp_type_t type) {
  SecondOpinion opinion;
  llhttp_t parser;
  llhttp_init(&parser, type, &llhttp_settings());
  parser.data = &opinion;
  const llhttp_errno_t error = llhttp_execute(&parser, raw.data(), raw.size());
  opinion.method_known = error != HPE_INVALID_METHOD;
  opinion.accepted = opinion.head_complete &&
                     (error == HPE_PAUSED || error == HPE_OK || error == HPE_PAUSED_UPGRADE);
  return opinion;
}

std::optional<HttpError> confirm(std::string_view raw, const RequestHead& head) {
  const SecondOpinion opinion = ask_llhttp(raw, HTTP_REQUEST);
  if (!opinion.method_known) return HttpError{501, "The method is not known here."};
  if (!opinion.accepted || opinion.chunked != (head.framing == Framing::chunked) ||
      opinion.content_length != head.content_length ||
      head.method != llhttp_method_name(static_cast<llhttp_method_t>(opinion.method))) {
    return HttpError{400, "The request head is ambiguous."};
  }
  return std::nullopt;
}

std::optional<HttpError> confirm(std::string_view raw, const ResponseHead& head) {
  const SecondOpinion opinion = ask_llhttp(raw, HTTP_RESPONSE);
  if (!opinion.accepted || opinion.status != head.status ||
      opinion.content_length != head.content_length ||
      (head.framing == Framing::chunked && !opinion.chunked)) {
    return HttpError{502, "The response head is ambiguous."};
  }
  return std::nullopt;
}

}  // namespace

namespace detail {

HeadCollector::Outcome HeadCollector::fail(HttpError error) {
  error_ = error;
  return Outcome::error;
}

void HeadCollector::clear() {
  raw_.clear();
  checked_ = 0;
  has_line_ = false;
  leading_lines_ = 0;
}

void HeadCollector::release() {
  clear();
  raw_.shrink_to_fit();
}

HeadCollector::Outcome HeadCollector::take(std::string_view bytes, const HttpLimits& limits,
                                           bool is_request, std::size_t& consumed) {
  // The usual case: a whole head in one read.
  if (raw_.empty() && !bytes.starts_with('\r')) {
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end != std::string_view::npos && end + 4 <= limits.head_bytes_max) {
      raw_.assign(bytes.data(), end + 4);
      consumed = end + 4;
      return Outcome::whole;
    }
  }
  const std::size_t before = raw_.size();
  const std::size_t taken = std::min(bytes.size(), limits.head_bytes_max + 4 - before);
  raw_.append(bytes.data(), taken);
  consumed = taken;
  std::size_t search_from = before < 3 ? 0 : before - 3;
  while (is_request && leading_lines_ < k_leading_lines_max && raw_.starts_with("\r\n")) {
    raw_.erase(0, 2);
    ++leading_lines_;
    checked_ = 0;
    search_from = 0;
  }
  const std::size_t end = raw_.find("\r\n\r\n", search_from);
  const std::size_t head_bytes = end == std::string::npos ? raw_.size() : end + 4;
  if (head_bytes > limits.head_bytes_max) {
    const bool one_line = raw_.find("\r\n") == std::string::npos;
    if (is_request && one_line) return fail({414, "The request line is too long."});
    return fail({431, "The message head is too large."});
  }
  if (end != std::string::npos) {
    consumed = taken - (raw_.size() - head_bytes);
    raw_.resize(head_bytes);
    return Outcome::whole;
  }
  if (auto error = check_partial_head(raw_, checked_)) return fail(*error);
  if (is_request && !has_line_ && raw_.size() > limits.request_line_bytes_max) {
    if (raw_.find("\r\n") == std::string::npos) {
      return fail({414, "The request line is too long."});
    }
    has_line_ = true;
  }
  return Outcome::need_more;
}

}  // namespace detail

ParseStep RequestParser::fail(std::size_t consumed, HttpError error) {
  state_ = State::failed;
  error_ = error;
  return {ParseEvent::error, consumed, {}};
}

void RequestParser::reset() {
  collector_.clear();
  state_ = State::head;
}

void RequestParser::release_memory() {
  collector_.release();
  head_.fields.clear();
  head_.fields.shrink_to_fit();
  head_.connection_options.clear();
  head_.connection_options.shrink_to_fit();
}

ParseStep RequestParser::next(std::string_view bytes) {
  switch (state_) {
    case State::head: {
      if (bytes.empty()) return {};
      std::size_t consumed = 0;
      const auto outcome = collector_.take(bytes, limits_, true, consumed);
      if (outcome == detail::HeadCollector::Outcome::need_more) {
        return {ParseEvent::need_more, consumed, {}};
      }
      if (outcome == detail::HeadCollector::Outcome::error) {
        return fail(consumed, collector_.error());
      }
      if (auto error = parse_request_head(collector_.raw(), limits_, head_, host_text_)) {
        return fail(consumed, *error);
      }
      if (auto error = confirm(collector_.raw(), head_)) return fail(consumed, *error);
      body_.start(head_.framing, head_.content_length, limits_.body_bytes_max);
      state_ = State::body;
      return {ParseEvent::head, consumed, {}};
    }
    case State::body: {
      const BodyDecoder::Step step = body_.next(bytes);
      switch (step.kind) {
        case BodyDecoder::Step::Kind::need_more:
          return {ParseEvent::need_more, step.consumed, {}};
        case BodyDecoder::Step::Kind::data:
          return {ParseEvent::body, step.consumed, step.data};
        case BodyDecoder::Step::Kind::error:
          return fail(step.consumed, body_.error());
        case BodyDecoder::Step::Kind::complete:
          state_ = State::complete;
      }
      return {ParseEvent::complete, step.consumed, {}};
    }
    case State::complete:
      return {ParseEvent::complete, 0, {}};
    case State::failed:
      break;
  }
  return {ParseEvent::error, 0, {}};
}

ParseStep ResponseParser::fail(std::size_t consumed, HttpError error) {
  state_ = State::failed;
  error_ = {502, error.reason};
  return {ParseEvent::error, consumed, {}};
}

void ResponseParser::reset(bool to_head) {
  collector_.clear();
  state_ = State::head;
  to_head_ = to_head;
}

ParseStep ResponseParser::next(std::string_view bytes) {
  switch (state_) {
    case State::head: {
      if (bytes.empty()) return {};
      std::size_t consumed = 0;
      const auto outcome = collector_.take(bytes, limits_, false, consumed);
      if (outcome == detail::HeadCollector::Outcome::need_more) {
        return {ParseEvent::need_more, consumed, {}};
      }
      if (outcome == detail::HeadCollector::Outcome::error) {
        return fail(consumed, collector_.error());
      }
      if (auto error = parse_response_head(collector_.raw(), limits_, to_head_, head_)) {
        return fail(consumed, *error);
      }
      if (auto error = confirm(collector_.raw(), head_)) return fail(consumed, *error);
      body_.start(head_.framing, head_.content_length, limits_.body_bytes_max);
      state_ = State::body;
      return {ParseEvent::head, consumed, {}};
    }
    case State::body: {
      const BodyDecoder::Step step = body_.next(bytes);
      switch (step.kind) {
        case BodyDecoder::Step::Kind::need_more:
          return {ParseEvent::need_more, step.consumed, {}};
        case BodyDecoder::Step::Kind::data:
          return {ParseEvent::body, step.consumed, step.data};
        case BodyDecoder::Step::Kind::error:
          return fail(step.consumed, body_.error());
        case BodyDecoder::Step::Kind::complete:
          state_ = State::complete;
      }
      return {ParseEvent::complete, step.consumed, {}};
    }
    case State::complete:
      return {ParseEvent::complete, 0, {}};
    case State::failed:
      break;
  }
  return {ParseEvent::error, 0, {}};
}

ParseStep ResponseParser::finish() {
  if (state_ == State::complete || (state_ == State::body && body_.may_end_here())) {
    state_ = State::complete;
    return {ParseEvent::complete, 0, {}};
  }
  return fail(0, {502, "The upstream closed the connection within its response."});
}

}  // namespace atlasflow::http
