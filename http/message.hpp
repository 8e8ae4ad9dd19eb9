// The values of an HTTP/1 message: fields, request head, response head, and the few rules that
// every user of them needs (RFC 9110, RFC 9112). The heads are slices of the buffer of the parser
// that made them and live as long as its message: until reset() or the parser's end. Plain values,
// any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace atlasflow::http {

struct Field {
  std::string_view name;   // as sent
  std::string_view value;  // without the white space around it
};

// How a message's body is delimited (RFC 9112 section 6.3).
enum class Framing : std::uint8_t {
  none,         // no body
  length,       // content_length bytes, at least one
  chunked,      //
  until_close,  // responses only
};

// What Connection may name (RFC 9110 section 7.6.1), empty elements counted: each option is
// compared with each field, so the product must stay small. Real messages have one or two.
inline constexpr std::size_t k_connection_options_max = 32;

struct HttpLimits {
  std::size_t target_bytes_max = std::size_t{16} * 1024;  // 414: the URL in a request line
  std::size_t head_bytes_max = std::size_t{32} * 1024;  // 431; request line or status line included
  std::size_t fields_max = 200;                         // 431
  std::uint64_t body_bytes_max = UINT64_MAX;  // 413, before the body when its length is announced
};

// A target of the greatest length, with a method and the version.
[[nodiscard]] constexpr std::size_t request_line_bytes_max(const HttpLimits& limits) {
  return limits.target_bytes_max + 128;
}

// Why a message was refused: the status to answer with (for a response: 502 is what the client
// gets) and a sentence with static lifetime.
struct HttpError {
  int status = 400;
  std::string_view reason;
};

struct RequestHead {
  std::string_view method;     // "GET"; case-sensitive
  std::string_view target;     // as sent: origin form, absolute form or "*"
  std::string_view path;       // origin form of the target, query included; "*" for OPTIONS *
  std::string_view host;       // lower case, no port, no trailing dot; empty only under HTTP/1.0
  std::string_view authority;  // host[:port] as sent, from an absolute target or else from Host
  int minor_version = 1;       // HTTP/1.x: 0 or 1
  std::vector<Field> fields;
  std::vector<std::string_view> connection_options;  // what all Connection fields name, in order

  Framing framing = Framing::none;
  std::uint64_t content_length = 0;  // only with Framing::length
  bool keep_alive = false;           // the client would like to send another request
  bool expect_continue = false;      // it waits for "100 Continue" before it sends the body
  bool upgrade_websocket =
      false;  // GET, HTTP/1.1, no body, Connection: upgrade, Upgrade: websocket
};

struct ResponseHead {
  int status = 0;
  std::string_view reason;  // may be empty
  int minor_version = 1;
  std::vector<Field> fields;
  std::vector<std::string_view> connection_options;  // what all Connection fields name, in order

  Framing framing = Framing::none;
  std::uint64_t content_length = 0;  // only with Framing::length
  bool length_repeated = false;      // Content-Length is said more than once, and always the same
  bool keep_alive = false;
  bool upgrade_websocket = false;                     // a 101 that switches to websocket
  std::optional<std::uint32_t> keep_alive_timeout_s;  // "Keep-Alive: timeout=5"
};

[[nodiscard]] bool equal_ignoring_case(std::string_view left, std::string_view right);

// The first field of that name, or nullptr.
[[nodiscard]] const Field* find_field(const std::vector<Field>& fields, std::string_view name);

// Takes the first element off a comma-separated list, trimmed, perhaps empty. False when it was the
// last: no comma followed.
[[nodiscard]] bool take_list_element(std::string_view& list, std::string_view& element);

// Takes the next element off a comma-separated list (RFC 9110 section 5.6.1), trimmed; empty
// elements are skipped. False at the end.
[[nodiscard]] bool next_list_element(std::string_view& list, std::string_view& element);

// Whether a field of that name has that element in its list: has_token(fields, "Connection",
// "close").
[[nodiscard]] bool has_token(const std::vector<Field>& fields, std::string_view name,
                             std::string_view token);

[[nodiscard]] bool is_token_char(char c);                  // RFC 9110 section 5.6.2
[[nodiscard]] bool is_token(std::string_view text);        // not empty, token characters only
[[nodiscard]] bool is_field_value(std::string_view text);  // no control character but tab

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7).
[[nodiscard]] std::string date_text(std::time_t seconds);

// "Not Found" for 404; "Unknown" for a status that this list does not have.
[[nodiscard]] std::string_view reason_phrase(int status);

}  // namespace atlasflow::http
