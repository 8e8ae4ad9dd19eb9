#include "base/rfc3339.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <utility>

namespace atlasflow {
namespace {

constexpr std::int64_t k_second_us = 1'000'000;

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

// Hours and minutes east of UTC, or Z.
std::optional<std::chrono::minutes> take_offset(std::string_view& text) {
  if (take_one_of(text, "Zz")) return std::chrono::minutes(0);
  const bool west = text.starts_with('-');
  if (!take_one_of(text, "+-")) return std::nullopt;
  const auto hours = take_number(text, 2);
  if (!hours) return std::nullopt;
  static_cast<void>(take_one_of(text, ":"));
  const auto minutes = take_number(text, 2);
  if (!minutes || *hours > 23 || *minutes > 59) return std::nullopt;
  const std::chrono::minutes offset(*hours * 60 + *minutes);
  return west ? -offset : offset;
}

// What follows the seconds; nothing when a dot has no digit behind it.
std::optional<std::int64_t> take_fraction_us(std::string_view& text) {
  if (!take_one_of(text, ".")) return 0;
  if (text.empty() || !is_digit(text.front())) return std::nullopt;
  std::int64_t fraction_us = 0;
  std::int64_t unit_us = k_second_us;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    unit_us /= 10;
    fraction_us += (text.front() - '0') * unit_us;
  }
  return fraction_us;
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339_us(std::string_view text) {
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
  const auto fraction_us = take_fraction_us(text);
  const auto offset = fraction_us ? take_offset(text) : std::nullopt;
  const std::chrono::year_month_day date(std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day)));
  if (!offset || !text.empty() || !date.ok() || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  const auto time = std::chrono::sys_days(date) + std::chrono::hours(hour) +
                    std::chrono::minutes(minute) + std::chrono::seconds(second) - *offset;
  return std::chrono::duration_cast<std::chrono::microseconds>(time.time_since_epoch()).count() +
         *fraction_us;
}

std::string rfc3339(std::int64_t at_us) {
  const std::chrono::sys_time<std::chrono::microseconds> at{std::chrono::microseconds(at_us)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss clock(at - day);
  std::array<char, 64> text{};
  const auto size = std::snprintf(
      text.data(), text.size(), "%04d-%02u-%02uT%02d:%02d:%02d.%06dZ",
      static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
      static_cast<unsigned>(date.day()), static_cast<int>(clock.hours().count()),
      static_cast<int>(clock.minutes().count()), static_cast<int>(clock.seconds().count()),
      static_cast<int>(clock.subseconds().count()));
  return {text.data(), static_cast<std::size_t>(size)};
}

}  // namespace atlasflow
