#include "builder/static_server/answer.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>
#include <optional>

namespace atlasflow::static_server {
namespace {

struct Range {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
};

std::string_view value_of(const http::RequestHead& request, std::string_view name) {
  const auto* field = http::find_field(request.fields, name);
  return field == nullptr ? std::string_view{} : field->value;
}

// weak: "W/" before either counts as nothing (RFC 9110 section 8.8.3.2).
bool lists_etag(std::string_view list, std::string_view etag, bool weak) {
  if (list == "*") return true;
  std::string_view element;
  while (http::next_list_element(list, element)) {
    if (weak && element.starts_with("W/")) element.remove_prefix(2);
    if (element == etag) return true;
  }
  return false;
}

std::optional<std::uint64_t> number(std::string_view text) {
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

// One range of bytes; everything else that Range may say is ignored, as section 14.2 allows, and
// answered with the whole. `unsatisfiable` when it lies behind the end.
std::optional<Range> range_of(std::string_view text, std::uint64_t size, bool& unsatisfiable) {
  constexpr std::string_view k_unit = "bytes=";
  if (!text.starts_with(k_unit) || text.find(',') != std::string_view::npos) return std::nullopt;
  text.remove_prefix(k_unit.size());
  const auto dash = text.find('-');
  if (dash == std::string_view::npos) return std::nullopt;
  const auto first = number(text.substr(0, dash));
  const auto last = number(text.substr(dash + 1));
  if (dash == 0) {
    if (!last) return std::nullopt;
    unsatisfiable = *last == 0 || size == 0;
    const auto length = std::min(*last, size);
    return Range{size - length, length};
  }
  if (!first || (!last && dash + 1 != text.size()) || (last && *last < *first)) return std::nullopt;
  unsatisfiable = *first >= size;
  if (unsatisfiable) return Range{};
  const auto end = last ? std::min(*last, size - 1) : size - 1;
  return Range{*first, end - *first + 1};
}

bool may_use_range(const http::RequestHead& request, const Found& found) {
  const auto condition = value_of(request, "If-Range");
  if (condition.empty()) return true;
  if (condition.front() == '"') return condition == found.etag;
  return parse_http_date(condition) == found.modified_s;
}

// 200, 304 or 412.
int status_by_conditions(const http::RequestHead& request, const Found& found) {
  const auto if_match = value_of(request, "If-Match");
  if (!if_match.empty() && !lists_etag(if_match, found.etag, false)) return 412;
  const auto if_none_match = value_of(request, "If-None-Match");
  if (!if_none_match.empty()) return lists_etag(if_none_match, found.etag, true) ? 304 : 200;
  const auto since = parse_http_date(value_of(request, "If-Modified-Since"));
  return since >= found.modified_s ? 304 : 200;
}

std::string status_line(int status) {
  return "HTTP/1.1 " + std::to_string(status) + " " + std::string(http::reason_phrase(status)) +
         "\r\nDate: " + http_date(std::time(nullptr)) + "\r\nX-Content-Type-Options: nosniff\r\n";
}

void close_head(Answer& answer) {
  answer.head += answer.keep_alive ? "\r\n" : "Connection: close\r\n\r\n";
}

Answer short_answer(int status, bool keep_alive, bool with_body, const std::string& fields = {}) {
  Answer answer;
  answer.keep_alive = keep_alive;
  const std::string body =
      std::to_string(status) + " " + std::string(http::reason_phrase(status)) + "\n";
  answer.head = status_line(status) + fields + "Content-Type: text/plain; charset=utf-8\r\n" +
                "Content-Length: " + std::to_string(body.size()) + "\r\n";
  close_head(answer);
  if (with_body) answer.head += body;
  return answer;
}

}  // namespace

std::string http_date(std::int64_t seconds) {
  // By hand: strftime would take the names from the locale.
  constexpr std::array<const char*, 7> k_days = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  constexpr std::array<const char*, 12> k_months = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  std::array<char, 40> text{};
  std::snprintf(text.data(), text.size(), "%s, %02d %s %04d %02d:%02d:%02d GMT",
                k_days[static_cast<std::size_t>(parts.tm_wday)], parts.tm_mday,
                k_months[static_cast<std::size_t>(parts.tm_mon)], parts.tm_year + 1900,
                parts.tm_hour, parts.tm_min, parts.tm_sec);
  return text.data();
}

std::int64_t parse_http_date(std::string_view text) {
  // Only the form that http_date() writes; a client sends back what it was sent.
  const std::string whole(text);
  std::tm parts{};
  const char* const end = ::strptime(whole.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (whole.empty() || end == nullptr || *end != '\0') return -1;
  return ::timegm(&parts);
}

Answer answer_error(int status) { return short_answer(status, false, true); }

Answer answer_request(const Site& site, const http::RequestHead& request, bool keep_alive) {
  const bool is_head = request.method == "HEAD";
  if (!is_head && request.method != "GET") {
    return short_answer(405, keep_alive, true, "Allow: GET, HEAD\r\n");
  }
  Found found = site.find(request.path);
  if (found.status == 301) {
    return short_answer(301, keep_alive, !is_head, "Location: " + found.location + "\r\n");
  }
  if (!found.file.valid()) return short_answer(found.status, keep_alive, !is_head);

  int status = found.status;
  Range range{0, found.size};
  std::string fields;
  if (status == 200) {
    status = status_by_conditions(request, found);
    if (status == 412) return short_answer(412, keep_alive, !is_head);
    bool unsatisfiable = false;
    const auto asked = status == 200 && may_use_range(request, found)
                           ? range_of(value_of(request, "Range"), found.size, unsatisfiable)
                           : std::nullopt;
    const std::string total = std::to_string(found.size);
    if (unsatisfiable) {
      return short_answer(416, keep_alive, !is_head, "Content-Range: bytes */" + total + "\r\n");
    }
    if (asked) {
      status = 206;
      range = *asked;
      fields = "Content-Range: bytes " + std::to_string(range.offset) + "-" +
               std::to_string(range.offset + range.size - 1) + "/" + total + "\r\n";
    }
    // A copy may be kept, but is used only when it is still the same: names do not change when the
    // content does.
    fields +=
        "Accept-Ranges: bytes\r\nCache-Control: public, max-age=0, must-revalidate\r\nETag: " +
        found.etag + "\r\nLast-Modified: " + http_date(found.modified_s) + "\r\n";
  } else {
    fields = "Cache-Control: no-store\r\n";
  }
  Answer answer;
  answer.keep_alive = keep_alive;
  answer.head = status_line(status) + fields;
  if (status != 304) {
    answer.head += "Content-Type: " + std::string(found.content_type) +
                   "\r\nContent-Length: " + std::to_string(range.size) + "\r\n";
  }
  close_head(answer);
  if (!is_head && status != 304) {
    answer.file = std::move(found.file);
    answer.offset = range.offset;
    answer.size = range.size;
  }
  return answer;
}

}  // namespace atlasflow::static_server
