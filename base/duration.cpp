#include "base/duration.hpp"

#include <algorithm>
#include <array>
#include <limits>

namespace atlasflow {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t us;
};
constexpr std::array<Unit, 5> k_units = {{{"d", 86'400'000'000},
                                          {"h", 3'600'000'000},
                                          {"m", 60'000'000},
                                          {"s", 1'000'000},
                                          {"ms", 1'000}}};
constexpr std::int64_t k_longest = std::numeric_limits<std::int64_t>::max();

}  // namespace

std::optional<std::int64_t> parse_duration_us(std::string_view text) {
  const auto digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto* const unit = std::ranges::find(k_units, text.substr(digits), &Unit::name);
  if (digits == 0 || unit == k_units.end()) return std::nullopt;
  std::int64_t number = 0;
  for (const char c : text.substr(0, digits)) {
    const std::int64_t digit = c - '0';
    if (number > (k_longest / unit->us - digit) / 10) return k_longest;
    number = number * 10 + digit;
  }
  return number * unit->us;
}

std::string duration_text(std::int64_t duration_us) {
  if (duration_us == 0) return "0s";
  for (const auto& unit : k_units) {
    if (duration_us % unit.us == 0) {
      return std::to_string(duration_us / unit.us) + std::string(unit.name);
    }
  }
  return std::to_string(duration_us) + "us";
}

}  // namespace atlasflow
