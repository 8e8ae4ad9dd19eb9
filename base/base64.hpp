// Base64 (RFC 4648 section 4) and its form for URLs without padding (section 5, as RFC 7515 section
// 2 wants it). Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace atlasflow {

[[nodiscard]] std::string base64(std::string_view bytes);
[[nodiscard]] std::string base64url(std::string_view bytes);

// The bytes whose text this is, exactly as the functions above write it: no white space, no missing
// or superfluous padding, no stray bits behind the last byte (section 3.5). Otherwise none.
[[nodiscard]] std::optional<std::string> from_base64(std::string_view text);
[[nodiscard]] std::optional<std::string> from_base64url(std::string_view text);

}  // namespace atlasflow
