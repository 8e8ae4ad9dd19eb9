// SHA-256 (FIPS 180-4) and the short names made from it. Values and free functions, any thread; one
// Sha256 object belongs to one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow {

using Digest = std::array<std::uint8_t, 32>;

// A hash context that is reused, because making one costs more than hashing a record does.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  // SHA-256(first || second).
  [[nodiscard]] Digest of(std::string_view first, std::string_view second = {});

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// The bytes of a digest as text that a string function can take.
[[nodiscard]] std::string_view bytes_of(const Digest& digest);

[[nodiscard]] std::string to_hex(std::string_view bytes);
// What to_hex() made of a digest, and nothing else: 64 lower-case hex digits.
[[nodiscard]] std::optional<Digest> digest_of_hex(std::string_view text);
// 64 lower-case hex digits.
[[nodiscard]] std::string sha256_hex(std::string_view bytes);

// The id that a seed stands for: the first 8 characters of the lower-case base32 (RFC 4648,
// [a-z2-7]) of SHA-256(seed), the first of them moved into a-z so that it may start a DNS label.
[[nodiscard]] std::string short_id(std::string_view seed);

}  // namespace atlasflow
