// Keys and index values of the event log (docs/event-format.md, "Keys"). Integers are big-endian so
// that the order of the bytes is the order of the numbers. Pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "events/ids.hpp"
#include "storage/log/batch_plan.hpp"

namespace atlasflow::storage {

inline void put_u64(std::string& bytes, std::uint64_t value) {
  for (int shift = 56; shift >= 0; shift -= 8) {
    bytes.push_back(static_cast<char>((value >> static_cast<unsigned>(shift)) & 0xFFU));
  }
}

[[nodiscard]] inline std::uint64_t get_u64(std::string_view eight_bytes) {
  std::uint64_t value = 0;
  for (const char byte : eight_bytes.substr(0, 8)) {
    value = (value << 8U) | static_cast<unsigned char>(byte);
  }
  return value;
}

[[nodiscard]] inline std::string u64_bytes(std::uint64_t value) {
  std::string bytes;
  bytes.reserve(8);
  put_u64(bytes, value);
  return bytes;
}

// events: position -> stored record. streams: this -> position.
[[nodiscard]] inline std::string stream_key(const StreamId& stream, StreamVersion version) {
  std::string key = stream.str();
  key.push_back('\0');
  put_u64(key, version.value());
  return key;
}

struct StreamKey {
  std::string_view stream;  // in the key's bytes
  StreamVersion version;
};
[[nodiscard]] inline std::optional<StreamKey> parse_stream_key(std::string_view key) {
  constexpr std::size_t k_behind_stream = 9;  // NUL, version
  if (key.size() <= k_behind_stream || key[key.size() - k_behind_stream] != '\0') {
    return std::nullopt;
  }
  return StreamKey{key.substr(0, key.size() - k_behind_stream),
                   StreamVersion(get_u64(key.substr(key.size() - 8)))};
}

// heads: stream -> version, position.
[[nodiscard]] inline std::string head_value(const StreamHead& head) {
  std::string value;
  put_u64(value, head.version.value());
  put_u64(value, head.position.value());
  return value;
}
[[nodiscard]] inline std::optional<StreamHead> parse_head(std::string_view value) {
  if (value.size() != 16) return std::nullopt;
  return StreamHead{StreamVersion(get_u64(value)), Position(get_u64(value.substr(8)))};
}

// dedupe: key -> position, stream.
[[nodiscard]] inline std::string dedupe_value(Position position, const StreamId& stream) {
  return u64_bytes(position.value()) + stream.str();
}
[[nodiscard]] inline std::optional<Duplicate> parse_dedupe(std::string_view value) {
  if (value.size() <= 8) return std::nullopt;
  return Duplicate{Position(get_u64(value)), StreamId(std::string(value.substr(8)))};
}

// meta: "epoch" -> the newest writer epoch; "tip" -> position, chain of the newest record.
inline constexpr std::string_view k_epoch_key = "epoch";
inline constexpr std::string_view k_tip_key = "tip";

[[nodiscard]] inline std::string tip_value(const LogTip& tip) {
  return u64_bytes(tip.last.value()) + std::string(bytes_of(tip.chain));
}

}  // namespace atlasflow::storage
