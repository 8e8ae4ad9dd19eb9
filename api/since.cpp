#include "api/since.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <optional>

namespace atlasflow::api {
namespace {

constexpr TimestampUs k_second_us = 1'000'000;
constexpr TimestampUs k_longest_s = 100LL * 366 * 86'400;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Exactly that many digits, taken off the front.
std::optional<int> take_number(std::string_view& text, std::size_t digits) {
  if (text.size() < digits || !std::all_of(text.begin(), text.begin() + digits, is_digit)) {
    return std::nullopt;
  }
  int number = 0;
  std::from_chars(text.data(), text.data() + digits, number);
  text.remove_prefix(digits);
  return number;
}

bool take_one_of(std::string_view& text, std::string_view choices) {
  if (text.empty() || choices.find(text.front()) == std::string_view::npos) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<TimestampUs> duration(std::string_view text) {
  TimestampUs number = 0;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data(), end, number);
  if (parsed.ec != std::errc{} || parsed.ptr + 1 != end || !is_digit(text.front())) {
    return std::nullopt;
  }
  TimestampUs unit_s = 0;
  switch (*parsed.ptr) {
    case 's':
      unit_s = 1;
      break;
    case 'm':
      unit_s = 60;
      break;
    case 'h':
      unit_s = 3'600;
      break;
    case 'd':
      unit_s = 86'400;
      break;
    default:
      return std::nullopt;
  }
  if (number > k_longest_s / unit_s) return std::nullopt;
  return number * unit_s * k_second_us;
}

// Hours and minutes east of UTC, or Z.
std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take_one_of(text, "Zz")) return std::chrono::minutes(0);
  const bool west = text.starts_with('-');
  if (!take_one_of(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours || !take_one_of(text, ":")) return std::nullopt;
  const auto minutes = take_number(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const std::chrono::minutes offset(*hours * 60 + *minutes);
  return west ? -offset : offset;
}

std::optional<TimestampUs> date_time(std::string_view text) {
  // year-month-dayThour:minute:second, each with what follows it.
  static constexpr std::array<std::pair<std::size_t, std::string_view>, 6> k_parts = {
      {{4, "-"}, {2, "-"}, {2, "Tt "}, {2, ":"}, {2, ":"}, {2, ""}}};
  std::array<int, 6> parts{};
  for (std::size_t i = 0; i < k_parts.size(); ++i) {
    const auto number = take_number(text, k_parts[i].first);
    if (!number || (!k_parts[i].second.empty() && !take_one_of(text, k_parts[i].second))) {
      return std::nullopt;
    }
    parts[i] = *number;
  }
  const auto [year, month, day, hour, minute, second] = parts;
  TimestampUs fraction_us = 0;
  if (take_one_of(text, ".")) {
    TimestampUs unit_us = k_second_us;
    if (text.empty() || !is_digit(text.front())) return std::nullopt;
    for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
      unit_us /= 10;
      fraction_us += (text.front() - '0') * unit_us;
    }
  }
  const auto offset = take_offset(text);
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!offset || !text.empty() || !date.ok() || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                    std::chrono::minutes(minute) + std::chrono::seconds(second) - *offset;
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count() +
         fraction_us;
}

}  // namespace

Result<TimestampUs> parsed_since(std::string_view text, TimestampUs now) {
  if (const auto ago = duration(text)) return now - *ago;
  if (const auto time = date_time(text)) return *time;
  return fail(ErrorCode::invalid_argument,
              "'since' must be a time span like 90s, 10m, 2h or 1d, or a time like "
              "2026-07-01T12:00:00Z.");
}

}  // namespace atlasflow::api
