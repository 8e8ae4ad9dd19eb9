// GitHub's signature of a delivery: "X-Hub-Signature-256: sha256=<hex>", the HMAC-SHA-256 of the
// raw body; other hosts make the same under other names. Pure, any thread. Source: docs.github.com,
// "Validating webhook deliveries".
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::api {

using Sha256 = std::array<std::uint8_t, 32>;

[[nodiscard]] Sha256 hmac_sha256(std::string_view secret, std::string_view message);

// The 32 bytes of "sha256=" and 64 hex digits; nothing for anything else.
[[nodiscard]] std::optional<Sha256> parsed_signature(std::string_view field);

// Takes the same time wherever the two differ.
[[nodiscard]] bool equal_in_constant_time(const Sha256& left, const Sha256& right);

}  // namespace atlasflow::api
