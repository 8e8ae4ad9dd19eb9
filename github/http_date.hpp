// The field Date, by which GitHub tells its clock. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace atlasflow::github {

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), in s since 1970; nothing for any other
// form.
[[nodiscard]] std::optional<std::int64_t> http_date(std::string_view text);

}  // namespace atlasflow::github
