#include "http/parser.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include <llhttp.h>

#include "http/guard.hpp"

static_assert(LLHTTP_STRICT_MODE == 1, "a lenient llhttp lets requests be smuggled");

namespace atlasflow::http {
namespace {

constexpr int k_leading_lines_max = 2;  // RFC 9112 section 2.2: a server skips at least one

struct SecondOpinion {
  bool head_complete = false;
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

SecondOpinion ask_llhttp(std::initializer_list<std::string_view> pieces, llhttp_type_t type) {
  SecondOpinion opinion;
  llhttp_t parser;
  llhttp_init(&parser, type, &llhttp_settings());
  parser.data = &opinion;
  llhttp_errno_t error = HPE_OK;
  for (const std::string_view piece : pieces) {
    if (error == HPE_OK) error = llhttp_execute(&parser, piece.data(), piece.size());
  }
  opinion.accepted = opinion.head_complete &&
                     (error == HPE_PAUSED || error == HPE_OK || error == HPE_PAUSED_UPGRADE);
  return opinion;
}

// Methods whose names llhttp 8.1 knows as HTTP's. In the place of any other, which our guard has
// found to be a token, it is given a stand-in: what it is asked about is all the rest of the head.
constexpr std::array<std::string_view, 6> k_methods_known = {"GET",    "HEAD",    "POST",
                                                             "DELETE", "OPTIONS", "PATCH"};
constexpr std::string_view k_stand_in = "PUT";

// Cuts the raw head around the value of its Transfer-Encoding: `before` ends with the field's
// colon, `after` begins with its CRLF, and the white space between them is gone. llhttp takes no
// tab off a value, which may stand there as well as a space (RFC 9110 section 5.6.3).
void split_at_encoding(const std::vector<Field>& fields, std::string_view& before,
                       std::string_view& encoding, std::string_view& after) {
  const Field* field = find_field(fields, "Transfer-Encoding");
  encoding = field->value;
  const char* end = encoding.data() + encoding.size();
  after = before.substr(static_cast<std::size_t>(end - before.data()));
  after.remove_prefix(after.find('\r'));
  const char* colon = field->name.data() + field->name.size() + 1;
  before = before.substr(0, static_cast<std::size_t>(colon - before.data()));
}

// llhttp refuses a length that is said twice, in one line or in two; our guard has seen that it is
// the same.
std::string without_repeated_lengths(std::string_view raw, const std::vector<Field>& fields) {
  std::string once;
  const char* from = raw.data();
  bool first = true;
  for (const Field& field : fields) {
    if (!equal_ignoring_case(field.name, "Content-Length")) continue;
    const auto line = raw.substr(static_cast<std::size_t>(field.name.data() - raw.data()));
    const char* keep_until = field.name.data();
    const char* line_end = keep_until + line.find('\n') + 1;
    if (std::exchange(first, false)) {
      const std::size_t comma = field.value.find(',');
      if (comma == std::string_view::npos) continue;
      keep_until = field.value.data() + comma;
      line_end -= 2;  // its CRLF stays
    }
    once.append(from, keep_until);
    from = line_end;
  }
  return once.append(from, raw.data() + raw.size());
}

std::optional<HttpError> confirm(std::string_view raw, const RequestHead& head) {
  const bool known = std::find(k_methods_known.begin(), k_methods_known.end(), head.method) !=
                     k_methods_known.end();
  const std::string_view method = known ? head.method : k_stand_in;
  std::string_view rest = raw.substr(head.method.size());
  std::string_view encoding;
  std::string_view after;
  if (head.framing == Framing::chunked) split_at_encoding(head.fields, rest, encoding, after);
  const SecondOpinion opinion = ask_llhttp({method, rest, encoding, after}, HTTP_REQUEST);
  if (!opinion.accepted || opinion.chunked != (head.framing == Framing::chunked) ||
      opinion.content_length != head.content_length ||
      method != llhttp_method_name(static_cast<llhttp_method_t>(opinion.method))) {
    return HttpError{400, "The request head is ambiguous."};
  }
  return std::nullopt;
}

std::optional<HttpError> confirm(std::string_view raw, const ResponseHead& head) {
  std::string once;  // the length
  if (head.length_repeated) {
    once = without_repeated_lengths(raw, head.fields);
    raw = once;
  }
  std::string_view rest = raw;
  std::string_view encoding;
  std::string_view after;
  if (head.framing == Framing::chunked) split_at_encoding(head.fields, rest, encoding, after);
  const SecondOpinion opinion = ask_llhttp({rest, encoding, after}, HTTP_RESPONSE);
  if (!opinion.accepted || opinion.status != head.status ||
      opinion.content_length != head.content_length ||
      (head.framing == Framing::chunked && !opinion.chunked)) {
    return HttpError{502, "The response head is ambiguous."};
  }
  return std::nullopt;
}

}  // namespace

namespace detail {
namespace {

bool says_framing(std::string_view line) {
  const std::string_view name = line.substr(0, line.find(':'));
  return equal_ignoring_case(name, "Content-Length") ||
         equal_ignoring_case(name, "Transfer-Encoding") ||
         equal_ignoring_case(name, "Connection") || equal_ignoring_case(name, "Upgrade");
}

}  // namespace

HeadCollector::Outcome HeadCollector::fail(HttpError error) {
  error_ = error;
  return Outcome::error;
}

// Goes from line to line up to the head's end, or to the first that ends in LF without CR.
HeadCollector::LineScan HeadCollector::scan_lines(std::string_view bytes) const {
  std::size_t at = bytes.find('\n');
  if (at == 0 && !raw_.ends_with('\r')) return {true, std::string_view::npos};
  while (at != std::string_view::npos) {
    if (at > 0 && bytes[at - 1] != '\r') return {true, std::string_view::npos};
    const std::size_t next = bytes.find('\n', at + 1);
    if (next == at + 2 && bytes[at + 1] == '\r') return {false, next + 1};
    at = next;
  }
  return {};
}

// An application's head with lines that end in LF alone (RFC 9112 section 2.2 allows to take them):
// collected as if they ended in CRLF. Where all of them do, nothing can be confused. Beside lines
// that end in CRLF the LF may have come with somebody's input: there it may not stand before or
// after the head's end, and beside a line that says how the message is framed it makes that
// doubtful: what follows on the connection is not taken for an answer.
HeadCollector::Outcome HeadCollector::take_lines(std::string_view bytes, const HttpLimits& limits,
                                                 std::size_t& consumed) {
  if (!lines_) lines_ = Lines{raw_.find("\r\n") != std::string::npos, false, false};
  for (consumed = 0; consumed < bytes.size();) {
    const char c = bytes[consumed++];
    if (raw_.size() >= limits.head_bytes_max) return fail({431, "The message head is too large."});
    if (c != '\n') {
      raw_.push_back(c);
      continue;
    }
    const bool bare = !raw_.ends_with('\r');
    if (bare) raw_.push_back('\r');
    const std::size_t before = raw_.rfind('\n');
    const std::size_t begin = before == std::string::npos ? 0 : before + 1;
    const std::string_view line = std::string_view(raw_).substr(begin, raw_.size() - begin - 1);
    lines_->any_crlf |= !bare;
    const bool beside_bare = bare || lines_->after_bare;
    lines_->end_beside_bare |= beside_bare && line.empty();
    lines_->framing_beside_bare |= beside_bare && says_framing(line);
    lines_->after_bare = bare;
    const bool is_end = line.empty();
    raw_.push_back('\n');
    if (!is_end) continue;
    if (lines_->any_crlf && lines_->end_beside_bare) {
      return fail({400, "A line that ends in LF without CR stands beside the end of the head."});
    }
    return Outcome::whole;
  }
  return Outcome::need_more;
}

void HeadCollector::clear() {
  lines_.reset();
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
  std::size_t whole = std::string_view::npos;
  if (!is_request) {
    const LineScan scan = scan_lines(bytes);
    if (lines_ || scan.bare) return take_lines(bytes, limits, consumed);
    whole = scan.end;
  } else if (!bytes.starts_with('\r')) {
    whole = bytes.find("\r\n\r\n");
    if (whole != std::string_view::npos) whole += 4;
  }
  if (raw_.empty() && whole <= limits.head_bytes_max) {
    raw_.assign(bytes.data(), whole);
    consumed = whole;
    return Outcome::whole;
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
  if (is_request && !has_line_ && raw_.size() > request_line_bytes_max(limits)) {
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
      if (collector_.framing_doubtful()) head_.keep_alive = head_.upgrade_websocket = false;
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
