#include "http/body.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "http/guard.hpp"

namespace atlasflow::http {
namespace {

constexpr std::size_t k_size_digits_max = 15;  // 60 bits: sums of chunk sizes cannot overflow
// Extensions are dropped, so they cost a sender more than us; still, each chunk may bring so many
// bytes of them, as a signature does, and all chunks together so many more.
constexpr std::size_t k_extension_bytes_per_chunk = 512;
constexpr std::size_t k_extension_bytes_spare = std::size_t{4} * 1024;
constexpr std::size_t k_trailer_bytes_max = std::size_t{8} * 1024;
constexpr std::size_t k_trailer_fields_max = 32;

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

}  // namespace

void BodyDecoder::start(Framing framing, std::uint64_t content_length,
                        std::uint64_t body_bytes_max) {
  left_ = 0;
  total_ = 0;
  total_max_ = body_bytes_max;
  size_digits_ = 0;
  extension_bytes_ = 0;
  trailer_text_.clear();
  trailers_.clear();
  error_ = {};
  switch (framing) {
    case Framing::none:
      state_ = State::complete;
      break;
    case Framing::length:
      left_ = content_length;
      state_ = content_length == 0 ? State::complete : State::length;
      break;
    case Framing::chunked:
      state_ = State::size_first;
      break;
    case Framing::until_close:
      state_ = State::until_close;
      break;
  }
}

bool BodyDecoder::may_end_here() const {
  return state_ == State::complete || state_ == State::until_close;
}

BodyDecoder::Step BodyDecoder::fail(std::size_t consumed, int status, std::string_view reason) {
  state_ = State::failed;
  error_ = {status, reason};
  return {Step::Kind::error, consumed, {}};
}

BodyDecoder::Step BodyDecoder::next(std::string_view bytes) {
  std::size_t consumed = 0;
  for (;;) {
    switch (state_) {
      case State::complete:
        return {Step::Kind::complete, consumed, {}};
      case State::failed:
        return {Step::Kind::error, consumed, {}};
      case State::length:
      case State::until_close:
      case State::chunk:
        if (bytes.empty()) return {Step::Kind::need_more, consumed, {}};
        return take_data(bytes, consumed);
      case State::trailers:
        return take_trailers(bytes, consumed);
      default:
        if (bytes.empty()) return {Step::Kind::need_more, consumed, {}};
        if (!take_framing_byte(bytes.front())) {
          return fail(consumed, 400, "The chunked body is malformed.");
        }
        bytes.remove_prefix(1);
        ++consumed;
    }
  }
}

BodyDecoder::Step BodyDecoder::take_data(std::string_view bytes, std::size_t consumed) {
  std::string_view data = bytes;
  // Whatever the sender wrote: a body that is through, or has none, is not in a state of data.
  ATLAS_ASSERT(!bytes.empty() && (state_ == State::until_close || left_ > 0),
               "a body's data is asked for where there is none");
  if (state_ != State::until_close) {
    data = bytes.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(bytes.size(), left_)));
    left_ -= data.size();
    if (left_ == 0) state_ = state_ == State::chunk ? State::chunk_cr : State::complete;
  }
  ATLAS_ASSERT(!data.empty() && data.size() <= bytes.size(), "more is taken than came");
  total_ += data.size();
  if (total_ > total_max_) return fail(consumed, 413, "The body is too large.");
  return {Step::Kind::data, consumed + data.size(), data};
}

bool BodyDecoder::take_framing_byte(char c) {
  switch (state_) {
    case State::size_first:
    case State::size:
      return take_size_byte(c);
    case State::size_lf:
      if (c != '\n') return false;
      size_digits_ = 0;
      extension_bytes_ -= std::min(extension_bytes_, k_extension_bytes_per_chunk);
      state_ = left_ == 0 ? State::trailers : State::chunk;
      return true;
    case State::chunk_cr:
      state_ = State::chunk_lf;
      return c == '\r';
    case State::chunk_lf:
      state_ = State::size_first;
      return c == '\n';
    default:
      return ++extension_bytes_ <= k_extension_bytes_per_chunk + k_extension_bytes_spare &&
             take_extension_byte(c);
  }
}

bool BodyDecoder::take_size_byte(char c) {
  if (const int value = hex_value(c); value >= 0) {
    left_ = state_ == State::size_first ? 0 : left_;
    left_ = left_ * 16 + static_cast<std::uint64_t>(value);
    state_ = State::size;
    return ++size_digits_ <= k_size_digits_max;
  }
  if (state_ == State::size_first) return false;
  if (c == '\r') {
    state_ = State::size_lf;
    return true;
  }
  state_ = is_blank(c) ? State::size_end : State::extension_first;
  return is_blank(c) || c == ';';
}

// chunk-ext = *( BWS ";" BWS token [ BWS "=" BWS ( token / quoted-string ) ] )
bool BodyDecoder::take_extension_byte(char c) {
  switch (state_) {
    case State::size_end:
      // A size is padded by some servers. It says the same, and goes no further than this.
      if (is_blank(c)) return true;
      state_ = c == '\r' ? State::size_lf : State::extension_first;
      return c == '\r' || c == ';';
    case State::extension_due:
      // White space stands between two parts only: none may be at the end of the line.
      if (is_blank(c)) return true;
      state_ = State::extension_first;
      return c == ';';
    case State::extension_first:
      if (is_blank(c)) return true;
      state_ = State::extension_name;
      return is_token_char(c);
    case State::extension_name:
      if (is_token_char(c)) return true;
      if (c == '=') {
        state_ = State::extension_value_first;
        return true;
      }
      if (is_blank(c)) {
        state_ = State::extension_name_end;
        return true;
      }
      break;
    case State::extension_name_end:
      if (is_blank(c)) return true;
      state_ = c == '=' ? State::extension_value_first : State::extension_first;
      return c == '=' || c == ';';
    case State::extension_value_first:
      if (is_blank(c)) return true;
      state_ = c == '"' ? State::extension_quoted : State::extension_token;
      return c == '"' || is_token_char(c);
    case State::extension_token:
      if (is_token_char(c)) return true;
      break;
    case State::extension_quoted:
      if (c == '"') state_ = State::extension_end;
      if (c == '\\') state_ = State::extension_escape;
      return is_field_value({&c, 1});
    case State::extension_escape:
      state_ = State::extension_quoted;
      return is_field_value({&c, 1});
    default:
      break;
  }
  if (c == '\r') {
    state_ = State::size_lf;
    return true;
  }
  state_ = is_blank(c) ? State::extension_due : State::extension_first;
  return is_blank(c) || c == ';';
}

BodyDecoder::Step BodyDecoder::take_trailers(std::string_view bytes, std::size_t consumed) {
  for (char c : bytes) {
    if (trailer_text_.size() == k_trailer_bytes_max) {
      return fail(consumed, 431, "The trailers are too large.");
    }
    ++consumed;
    const bool after_cr = trailer_text_.ends_with('\r');
    if ((c == '\n') != after_cr) return fail(consumed, 400, "A trailer line does not end in CRLF.");
    trailer_text_.push_back(c);
    if (trailer_text_ == "\r\n" || trailer_text_.ends_with("\r\n\r\n")) {
      const std::string_view lines(trailer_text_.data(), trailer_text_.size() - 2);
      if (auto error = parse_fields(lines, k_trailer_fields_max, trailers_)) {
        return fail(consumed, error->status, error->reason);
      }
      state_ = State::complete;
      return {Step::Kind::complete, consumed, {}};
    }
  }
  return {Step::Kind::need_more, consumed, {}};
}

}  // namespace atlasflow::http
