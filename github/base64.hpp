// Base64 (RFC 4648 section 4) and its form for URLs without padding (section 5, as RFC 7515 section
// 2 wants it). Pure, any thread.
#pragma once

#include <string>
#include <string_view>

namespace atlasflow::github {

[[nodiscard]] std::string base64(std::string_view bytes);
[[nodiscard]] std::string base64url(std::string_view bytes);

}  // namespace atlasflow::github
