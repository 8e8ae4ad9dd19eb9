// The two forms in which GitHub writes a time. Pure, any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::github {

// "2016-07-11T22:14:10Z", in s since 1970; nothing for any other form.
[[nodiscard]] std::optional<std::int64_t> iso_time(std::string_view text);

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), of the field Date.
[[nodiscard]] std::optional<std::int64_t> http_date(std::string_view text);

}  // namespace atlasflow::github
