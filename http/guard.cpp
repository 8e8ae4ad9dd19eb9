#include "http/guard.hpp"

#include <algorithm>
#include <utility>

namespace atlasflow::http {
namespace {

constexpr std::size_t k_host_bytes_max = 253;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool is_hex_digit(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

bool is_target(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(),
                                      [](char c) { return c >= 0x21 && c <= 0x7E && c != '#'; });
}

bool is_name_char(char c) {
  return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

// The number after the colon, which may be missing (RFC 3986 section 3.2.3); 0 then.
bool parse_port(std::string_view text, unsigned& port) {
  port = 0;
  if (text.empty()) return true;
  if (text.size() > 5 || !std::all_of(text.begin(), text.end(), is_digit)) return false;
  for (char c : text) port = port * 10 + static_cast<unsigned>(c - '0');
  return port >= 1 && port <= 65535;
}

// Without the colon that no port follows.
std::string_view without_empty_port(std::string_view authority) {
  if (authority.ends_with(':')) authority.remove_suffix(1);
  return authority;
}

// "HTTP/1.0" or "HTTP/1.1"; `minor` on success.
std::optional<HttpError> parse_version(std::string_view text, int& minor) {
  if (text.size() != 8 || !text.starts_with("HTTP/") || !is_digit(text[5]) || text[6] != '.' ||
      !is_digit(text[7])) {
    return HttpError{400, "The version in the first line is not HTTP/1.0 or HTTP/1.1."};
  }
  if (text[5] != '1') {
    return HttpError{505, "Only HTTP/1.0 and HTTP/1.1 are spoken here."};
  }
  if (text[7] != '0' && text[7] != '1') {
    return HttpError{400, "The minor version is neither 0 nor 1."};
  }
  minor = text[7] - '0';
  return std::nullopt;
}

// Splits "http://authority/path" (RFC 9112 section 3.2.2). False when it is none.
bool split_absolute(std::string_view target, std::string_view& authority, std::string_view& path,
                    unsigned& default_port) {
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return false;
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!equal_ignoring_case(scheme, "http") && !equal_ignoring_case(scheme, "https")) return false;
  default_port = scheme.size() == 4 ? 80 : 443;
  const std::string_view rest = target.substr(scheme_end + 3);
  const std::size_t path_start = rest.find_first_of("/?");
  authority = rest.substr(0, path_start);
  path = path_start == std::string_view::npos ? std::string_view("/") : rest.substr(path_start);
  return !authority.empty() && path.front() == '/';
}

struct FramingFields {
  bool has_length = false;
  bool has_encoding = false;
  bool length_repeated = false;
  std::uint64_t length = 0;
};

// Whose message it is. A request that says its length twice is refused, whatever it says: what is
// behind us may take either. An answer goes no further than us, and we write its length anew.
enum class Sender : std::uint8_t { client, application };

std::optional<HttpError> parse_length(std::string_view text, std::uint64_t& length) {
  // 18 digits cannot overflow 64 bits, and no body is longer.
  if (text.empty() || text.size() > 18 || !std::all_of(text.begin(), text.end(), is_digit)) {
    return HttpError{400, "Content-Length is not one decimal number."};
  }
  length = 0;
  for (char c : text) length = length * 10 + static_cast<std::uint64_t>(c - '0');
  return std::nullopt;
}

// An application may say its length again, in a list or in another field: "2, 2" (RFC 9110 section
// 8.6).
std::optional<HttpError> parse_own_length(std::string_view text, FramingFields& framing) {
  std::string_view element;
  bool more = true;
  while (more) {
    more = take_list_element(text, element);
    std::uint64_t length = 0;
    if (auto error = parse_length(element, length)) return error;
    if (framing.has_length && length != framing.length) {
      return HttpError{400, "Content-Length says two numbers."};
    }
    framing.length_repeated |= framing.has_length;
    framing.has_length = true;
    framing.length = length;
  }
  return std::nullopt;
}

std::optional<HttpError> parse_transfer_encoding(std::string_view text) {
  if (equal_ignoring_case(text, "chunked")) return std::nullopt;
  // Codings that are well formed but not ours are 501; a list that hides chunked anywhere but as
  // its one element is an attempt at smuggling.
  bool well_formed = !text.empty();
  bool chunked = false;
  std::string_view rest = text;
  while (well_formed && !rest.empty()) {
    const std::size_t comma = rest.find(',');
    std::string_view element = rest.substr(0, comma);
    while (!element.empty() && element.front() == ' ') element.remove_prefix(1);
    while (!element.empty() && element.back() == ' ') element.remove_suffix(1);
    well_formed = is_token(element) && !chunked &&
                  (comma == std::string_view::npos || comma + 1 < rest.size());
    chunked = equal_ignoring_case(element, "chunked");
    rest.remove_prefix(comma == std::string_view::npos ? rest.size() : comma + 1);
  }
  if (well_formed) return HttpError{501, "The only transfer coding spoken here is chunked."};
  return HttpError{400, "Transfer-Encoding is not exactly \"chunked\"."};
}

// Content-Length and Transfer-Encoding, each at most once and never both (RFC 9112 section 6.3); an
// application may say the same length again (RFC 9110 section 8.6).
std::optional<HttpError> parse_framing(const std::vector<Field>& fields, int minor_version,
                                       Sender sender, FramingFields& framing) {
  for (const Field& field : fields) {
    if (field.name.size() == 14 && equal_ignoring_case(field.name, "Content-Length")) {
      if (sender == Sender::application) {
        if (auto error = parse_own_length(field.value, framing)) return error;
        continue;
      }
      if (auto error = parse_length(field.value, framing.length)) return error;
      if (std::exchange(framing.has_length, true)) {
        return HttpError{400, "Content-Length appears twice."};
      }
    } else if (field.name.size() == 17 && equal_ignoring_case(field.name, "Transfer-Encoding")) {
      if (framing.has_encoding) return HttpError{400, "Transfer-Encoding appears twice."};
      framing.has_encoding = true;
      if (auto error = parse_transfer_encoding(field.value)) return error;
    }
  }
  if (framing.has_length && framing.has_encoding) {
    return HttpError{400, "Content-Length and Transfer-Encoding together are ambiguous."};
  }
  if (framing.has_encoding && minor_version == 0) {
    return HttpError{400, "HTTP/1.0 has no Transfer-Encoding."};
  }
  return std::nullopt;
}

// A method is any token (RFC 9110 section 9.1), and what it means is the application's to know.
// Only these change how a message is framed or where it goes, so no other spelling of them is
// passed on: an application that takes "head" for HEAD would answer without the body that we wait
// for.
std::optional<HttpError> check_method(std::string_view method) {
  if (!is_token(method)) return HttpError{400, "The method is not a token."};
  if (equal_ignoring_case(method, "CONNECT") || equal_ignoring_case(method, "TRACE")) {
    return HttpError{405, "CONNECT and TRACE are not allowed here."};
  }
  if (method == "PRI") return HttpError{400, "PRI is how HTTP/2 begins (RFC 9113 section 3.4)."};
  if (method != "HEAD" && equal_ignoring_case(method, "HEAD")) {
    return HttpError{400, "The method HEAD is written in capitals."};
  }
  return std::nullopt;
}

std::optional<HttpError> parse_request_line(std::string_view line, RequestHead& head,
                                            unsigned& default_port) {
  const std::size_t method_end = line.find(' ');
  const std::size_t target_end = line.rfind(' ');
  if (method_end == std::string_view::npos || target_end <= method_end) {
    return HttpError{400, "The request line is not \"method target version\"."};
  }
  head.method = line.substr(0, method_end);
  head.target = line.substr(method_end + 1, target_end - method_end - 1);
  if (auto error = parse_version(line.substr(target_end + 1), head.minor_version)) return error;
  if (!is_target(head.target)) {
    return HttpError{400, "The request target has a byte that a target cannot have."};
  }
  if (auto error = check_method(head.method)) return error;
  head.authority = {};
  const bool whole_server = head.target == "*" && head.method == "OPTIONS";
  if (head.target.front() == '/' || whole_server) {
    head.path = head.target;
  } else if (!split_absolute(head.target, head.authority, head.path, default_port)) {
    return HttpError{400, "The request target is neither a path nor an http URL."};
  }
  return std::nullopt;
}

bool parse_authority(std::string_view authority, std::string& host, unsigned& port) {
  host.clear();
  port = 0;
  if (authority.empty()) return false;
  std::string_view name = authority;
  if (authority.front() == '[') {
    const std::size_t bracket = authority.find(']');
    if (bracket == std::string_view::npos || bracket < 3) return false;
    name = authority.substr(0, bracket + 1);
    const std::string_view rest = authority.substr(bracket + 1);
    if (!rest.empty() && (rest.front() != ':' || !parse_port(rest.substr(1), port))) return false;
    for (char c : name.substr(1, name.size() - 2)) {
      if (!is_hex_digit(c) && c != ':' && c != '.') return false;
    }
  } else {
    const std::size_t colon = authority.find(':');
    name = authority.substr(0, colon);
    if (colon != std::string_view::npos && !parse_port(authority.substr(colon + 1), port)) {
      return false;
    }
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty() || name.size() > k_host_bytes_max) return false;
    char previous = '.';
    for (char c : name) {
      if (c == '.' ? previous == '.' : !is_name_char(c)) return false;
      previous = c;
    }
    if (previous == '.') return false;
  }
  host.reserve(name.size());
  for (char c : name) host.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  return true;
}

// Whether Host says the same as the URL in the request line: the same host at the same port, the
// scheme's own when none is named.
bool same_authority(const std::string& host, unsigned port, std::string_view host_field,
                    unsigned default_port) {
  std::string field_host;
  unsigned field_port = 0;
  if (!parse_authority(host_field, field_host, field_port)) return false;
  const auto in_force = [&](unsigned named) { return named == 0 ? default_port : named; };
  return field_host == host && in_force(field_port) == in_force(port);
}

std::optional<HttpError> find_host(RequestHead& head, unsigned default_port,
                                   std::string& host_text) {
  const Field* host = nullptr;
  for (const Field& field : head.fields) {
    if (field.name.size() != 4 || !equal_ignoring_case(field.name, "Host")) continue;
    if (host != nullptr) return HttpError{400, "Host appears twice."};
    host = &field;
  }
  host_text.clear();
  unsigned port = 0;
  if (host == nullptr) {
    if (head.minor_version == 1) return HttpError{400, "HTTP/1.1 needs a Host field."};
  } else if (!parse_authority(host->value, host_text, port)) {
    return HttpError{400, "Host is not a host name with an optional port."};
  }
  if (head.authority.empty()) {
    if (host != nullptr) head.authority = host->value;
  } else {
    if (!parse_authority(head.authority, host_text, port)) {
      return HttpError{400, "The URL in the request line has no usable host."};
    }
    if (host != nullptr && !same_authority(host_text, port, host->value, default_port)) {
      return HttpError{400, "Host and the URL in the request line differ."};
    }
  }
  head.authority = without_empty_port(head.authority);
  head.host = host_text;
  return std::nullopt;
}

// Reads the Connection fields once, for all who ask later.
std::optional<HttpError> parse_connection(const std::vector<Field>& fields,
                                          std::vector<std::string_view>& options) {
  options.clear();
  std::size_t elements = 0;  // empty ones too: skipping them is work as well
  for (const Field& field : fields) {
    if (field.name.size() != 10 || !equal_ignoring_case(field.name, "Connection")) continue;
    std::string_view list = field.value;
    std::string_view option;
    bool more = !list.empty();
    while (more) {
      if (++elements > k_connection_options_max) {
        return HttpError{400, "Connection has more than 32 options."};
      }
      more = take_list_element(list, option);
      if (!option.empty()) options.push_back(option);
    }
  }
  return std::nullopt;
}

bool names(const std::vector<std::string_view>& options, std::string_view option) {
  return std::any_of(options.begin(), options.end(),
                     [&](std::string_view each) { return equal_ignoring_case(each, option); });
}

// Whether the connection stays open after the message (RFC 9112 section 9.3).
bool wants_keep_alive(const std::vector<std::string_view>& options, int minor_version) {
  if (names(options, "close")) return false;
  return minor_version == 1 || names(options, "keep-alive");
}

std::optional<std::uint32_t> announced_keep_alive(const std::vector<Field>& fields) {
  const Field* field = find_field(fields, "Keep-Alive");
  if (field == nullptr) return std::nullopt;
  std::string_view list = field->value;
  std::string_view element;
  while (next_list_element(list, element)) {
    if (element.size() < 9 || !equal_ignoring_case(element.substr(0, 8), "timeout=")) continue;
    std::uint64_t seconds = 0;
    if (parse_length(element.substr(8), seconds)) return std::nullopt;
    return static_cast<std::uint32_t>(std::min<std::uint64_t>(seconds, 86400));
  }
  return std::nullopt;
}

}  // namespace

bool normalise_host(std::string_view authority, std::string& host) {
  unsigned port = 0;
  return parse_authority(authority, host, port);
}

std::optional<HttpError> parse_fields(std::string_view lines, std::size_t fields_max,
                                      std::vector<Field>& fields) {
  fields.clear();
  while (!lines.empty()) {
    const std::size_t end = lines.find("\r\n");
    if (end == std::string_view::npos) return HttpError{400, "A field line does not end in CRLF."};
    const std::string_view line = lines.substr(0, end);
    lines.remove_prefix(end + 2);
    const std::size_t colon = line.find(':');
    // An empty name, a space before the colon and a folded line all fail to be a token here.
    if (colon == std::string_view::npos || !is_token(line.substr(0, colon))) {
      return HttpError{400, "A field line is not \"name: value\"."};
    }
    std::string_view value = line.substr(colon + 1);
    while (!value.empty() && (value.front() == ' ' || value.front() == '\t'))
      value.remove_prefix(1);
    while (!value.empty() && (value.back() == ' ' || value.back() == '\t')) value.remove_suffix(1);
    if (!is_field_value(value)) {
      return HttpError{400, "A field value has a control character."};
    }
    if (fields.size() == fields_max) return HttpError{431, "The message has too many fields."};
    fields.push_back({line.substr(0, colon), value});
  }
  return std::nullopt;
}

std::optional<HttpError> check_partial_head(std::string_view raw, std::size_t& checked) {
  for (; checked < raw.size(); ++checked) {
    const auto byte = static_cast<unsigned char>(raw[checked]);
    const bool after_cr = checked > 0 && raw[checked - 1] == '\r';
    if (byte == '\n') {
      if (!after_cr) return HttpError{400, "A line ends in LF without CR."};
      if (checked == 1) return HttpError{400, "The request line is empty."};
    } else if (after_cr) {
      return HttpError{400, "A CR is not followed by LF."};
    } else if ((byte < 0x20 && byte != '\t' && byte != '\r') || byte == 0x7F) {
      return HttpError{400, "The head has a control character."};
    } else if ((byte == ' ' || byte == '\t') && checked > 0 && raw[checked - 1] == '\n') {
      return HttpError{400, "A line is folded or begins with white space."};
    }
  }
  return std::nullopt;
}

std::optional<HttpError> parse_request_head(std::string_view raw, const HttpLimits& limits,
                                            RequestHead& head, std::string& host_text) {
  const std::size_t line_end = raw.find("\r\n");
  if (line_end > request_line_bytes_max(limits)) {
    return HttpError{414, "The request line is too long."};
  }
  unsigned default_port = 0;
  if (auto error = parse_request_line(raw.substr(0, line_end), head, default_port)) return error;
  if (head.target.size() > limits.target_bytes_max) {
    return HttpError{414, "The URL in the request line is too long."};
  }
  const std::string_view lines = raw.substr(line_end + 2, raw.size() - line_end - 4);
  if (auto error = parse_fields(lines, limits.fields_max, head.fields)) return error;

  FramingFields framing;
  if (auto error = parse_framing(head.fields, head.minor_version, Sender::client, framing)) {
    return error;
  }
  head.content_length = framing.length;
  head.framing = framing.has_encoding  ? Framing::chunked
                 : framing.length != 0 ? Framing::length
                                       : Framing::none;
  if (framing.length > limits.body_bytes_max) {
    return HttpError{413, "The announced body is too large."};
  }
  if (auto error = find_host(head, default_port, host_text)) return error;

  if (auto error = parse_connection(head.fields, head.connection_options)) return error;
  head.keep_alive = wants_keep_alive(head.connection_options, head.minor_version);
  head.expect_continue = false;
  if (const Field* expect = find_field(head.fields, "Expect"); expect && head.minor_version == 1) {
    if (!equal_ignoring_case(expect->value, "100-continue")) {
      return HttpError{417, "The only expectation met here is 100-continue."};
    }
    head.expect_continue = head.framing != Framing::none;
  }
  head.upgrade_websocket =
      head.minor_version == 1 && head.method == "GET" && head.framing == Framing::none &&
      names(head.connection_options, "upgrade") && has_token(head.fields, "Upgrade", "websocket");
  return std::nullopt;
}

std::optional<HttpError> parse_response_head(std::string_view raw, const HttpLimits& limits,
                                             bool to_head, ResponseHead& head) {
  const std::size_t line_end = raw.find("\r\n");
  const std::string_view line = raw.substr(0, line_end);
  if (line.size() < 12 || line[8] != ' ') return HttpError{502, "The status line is malformed."};
  if (parse_version(line.substr(0, 8), head.minor_version)) {
    return HttpError{502, "The response is not HTTP/1.0 or HTTP/1.1."};
  }
  if (!is_digit(line[9]) || !is_digit(line[10]) || !is_digit(line[11]) || line[9] == '0' ||
      (line.size() > 12 && line[12] != ' ') || !is_field_value(line)) {
    return HttpError{502, "The status line is malformed."};
  }
  head.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  head.reason = line.size() > 13 ? line.substr(13) : std::string_view{};
  const std::string_view lines = raw.substr(line_end + 2, raw.size() - line_end - 4);
  if (auto error = parse_fields(lines, limits.fields_max, head.fields)) {
    return HttpError{502, error->reason};
  }
  FramingFields framing;
  if (auto error = parse_framing(head.fields, head.minor_version, Sender::application, framing)) {
    return HttpError{502, error->reason};
  }
  const bool bodyless =
      to_head || head.status / 100 == 1 || head.status == 204 || head.status == 304;
  head.content_length = framing.length;
  head.length_repeated = framing.length_repeated;
  if (bodyless || (framing.has_length && framing.length == 0)) {
    head.framing = Framing::none;
  } else if (framing.has_encoding) {
    head.framing = Framing::chunked;
  } else {
    head.framing = framing.has_length ? Framing::length : Framing::until_close;
  }
  if (auto error = parse_connection(head.fields, head.connection_options)) {
    return HttpError{502, error->reason};
  }
  head.keep_alive = head.framing != Framing::until_close &&
                    wants_keep_alive(head.connection_options, head.minor_version);
  head.keep_alive_timeout_s = announced_keep_alive(head.fields);
  head.upgrade_websocket = head.status == 101 && names(head.connection_options, "upgrade") &&
                           has_token(head.fields, "Upgrade", "websocket");
  return std::nullopt;
}

}  // namespace atlasflow::http
