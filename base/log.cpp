#include "base/log.hpp"

#include <algorithm>

#include <spdlog/spdlog.h>

#include "base/utf8.hpp"

namespace atlasflow {
namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

bool is_plain(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
         std::string_view("._:/@+,=~%-").find(c) != std::string_view::npos;
}

void append_byte(std::string& into, unsigned byte) {
  constexpr std::string_view k_hex = "0123456789abcdef";
  into += {'\\', 'x', k_hex[byte >> 4U], k_hex[byte & 0xFU]};
}

void append_character(std::string& into, std::string_view character) {
  const unsigned first = byte_at(character, 0);
  const bool is_c1 = first == 0xC2 && byte_at(character, 1) < 0xA0;  // terminals obey these too
  if (first == '"' || first == '\\') {
    into += {'\\', static_cast<char>(first)};
  } else if (first == '\n') {
    into += "\\n";
  } else if (first == '\r') {
    into += "\\r";
  } else if (first == '\t') {
    into += "\\t";
  } else if (first < 0x20 || first == 0x7F || is_c1) {
    for (std::size_t i = 0; i < character.size(); ++i) append_byte(into, byte_at(character, i));
  } else {
    into += character;
  }
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
    case LogLevel::critical:
      return spdlog::level::critical;
  }
  return spdlog::level::critical;
}

}  // namespace

std::string log_value(std::string_view text) {
  const auto whole = text.size();
  text = text.substr(0, k_log_value_bytes_max);
  if (!text.empty() && text.size() == whole && std::ranges::all_of(text, is_plain)) {
    return std::string(text);
  }
  std::string value = "\"";
  for (std::size_t at = 0; at < text.size();) {
    const auto size = utf8_character(text.substr(at));
    if (size == 0) {
      append_byte(value, byte_at(text, at));
    } else {
      append_character(value, text.substr(at, size));
    }
    at += std::max<std::size_t>(size, 1);
  }
  if (text.size() != whole) value += "… of " + std::to_string(whole) + " bytes";
  return value + '"';
}

std::string log_line(std::string_view part, std::string_view event,
                     std::initializer_list<LogField> fields) {
  std::string line = "part=";
  line.append(part).append(" event=").append(event);
  for (const auto& field : fields)
    line.append(" ").append(field.key).append("=").append(field.value);
  return line;
}

void log_event(LogLevel level, std::string_view part, std::string_view event,
               std::initializer_list<LogField> fields) {
  auto* const logger = spdlog::default_logger_raw();
  if (logger == nullptr || !logger->should_log(level_of(level))) return;
  logger->log(level_of(level), log_line(part, event, fields));
}

}  // namespace atlasflow
