#include "github/http_date.hpp"

#include <charconv>
#include <chrono>

namespace atlasflow::github {
namespace {

// Exactly `digits` digits from `at` on; nothing for anything else.
std::optional<int> number_at(std::string_view text, std::size_t at, std::size_t digits) {
  int number = 0;
  const char* first = text.data() + at;
  const auto [rest, error] = std::from_chars(first, first + digits, number);
  if (error != std::errc{} || rest != first + digits || number < 0) return std::nullopt;
  return number;
}

std::optional<std::int64_t> seconds_of(std::optional<int> year, unsigned month,
                                       std::optional<int> day, std::string_view clock) {
  const auto hour = number_at(clock, 0, 2);
  const auto minute = number_at(clock, 3, 2);
  const auto second = number_at(clock, 6, 2);
  if (!year || !day || !hour || !minute || !second || clock[2] != ':' || clock[5] != ':' ||
      *hour > 23 || *minute > 59 || *second > 60) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(*year), std::chrono::month(month),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return ((days * 24 + *hour) * 60 + *minute) * 60 + *second;
}

}  // namespace

std::optional<std::int64_t> http_date(std::string_view text) {
  constexpr std::string_view k_form = "Sun, 06 Nov 1994 08:49:37 GMT";
  constexpr std::string_view k_months = "JanFebMarAprMayJunJulAugSepOctNovDec";
  if (text.size() != k_form.size() || !text.ends_with(" GMT") || text[4] != ' ' || text[7] != ' ' ||
      text[11] != ' ' || text[16] != ' ') {
    return std::nullopt;
  }
  const auto month = k_months.find(text.substr(8, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  return seconds_of(number_at(text, 12, 4), static_cast<unsigned>(month / 3 + 1),
                    number_at(text, 5, 2), text.substr(17, 8));
}

}  // namespace atlasflow::github
