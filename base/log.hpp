// Log lines: one event a line, `part=vm event=started vm=ab12 port=3000`, by the process's logger.
// Values come from anywhere, so they are written such that a line stays one line and a value one
// value (docs/style.md); whoever calls this need not know what is in them. No secret, ever. Any
// thread.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace atlasflow {

enum class LogLevel : std::uint8_t {
  debug,     // the rest
  info,      // a step of a deployment
  warn,      // handled, but unusual
  error,     // a person must act
  critical,  // the process ends or starts anew
};

// Longer ones are cut, and end with "…" and how many bytes there were.
inline constexpr std::size_t k_log_value_bytes_max = 2'048;

// As it is where it consists of letters, digits and ._:/@+,=~%- only, none of which can end it;
// else in double quotes, with \" and \\, \n, \r, \t, and \xHH for any other control character (C1
// included) and for bytes that are no UTF-8. Text in UTF-8 stays readable.
[[nodiscard]] std::string log_value(std::string_view text);

struct LogField {
  std::string_view key;
  std::string value;  // as it is written

  LogField(std::string_view name, std::string_view text) : key(name), value(log_value(text)) {}
  LogField(std::string_view name, const std::string& text)
      : LogField(name, std::string_view(text)) {}
  LogField(std::string_view name, const char* text) : LogField(name, std::string_view(text)) {}
  LogField(std::string_view name, bool flag) : key(name), value(flag ? "true" : "false") {}
  template <std::integral T>
  LogField(std::string_view name, T number) : key(name), value(std::to_string(number)) {}
  // An id of a type of its own (events/ids.hpp).
  template <typename T>
  requires requires(const T& id) {
    { id.str() } -> std::convertible_to<std::string_view>;
  }
  LogField(std::string_view name, const T& id) : LogField(name, std::string_view(id.str())) {}
};

// The line without its time and level.
[[nodiscard]] std::string log_line(std::string_view part, std::string_view event,
                                   std::initializer_list<LogField> fields);

// log_event("vm", "started", {{"vm", id}, {"port", port}});
void log_event(LogLevel level, std::string_view part, std::string_view event,
               std::initializer_list<LogField> fields = {});
inline void log_event(std::string_view part, std::string_view event,
                      std::initializer_list<LogField> fields = {}) {
  log_event(LogLevel::info, part, event, fields);
}

}  // namespace atlasflow
