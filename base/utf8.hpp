// What is text: UTF-8 (RFC 3629). Free functions; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace atlasflow {

// The bytes of the character that the text begins with; 0 where it begins with none (section 4: no
// overlong form, no surrogate, nothing beyond U+10FFFF).
[[nodiscard]] std::size_t utf8_character(std::string_view text);

[[nodiscard]] bool is_utf8(std::string_view text);

// Every byte that belongs to no character becomes U+FFFD.
[[nodiscard]] std::string to_valid_utf8(std::string_view text);

}  // namespace atlasflow
