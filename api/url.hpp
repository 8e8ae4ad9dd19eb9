// Percent-encoding and queries (RFC 3986 section 2.1, the WHATWG form encoding). Pure, any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace atlasflow::api {

using QueryItems = std::vector<std::pair<std::string, std::string>>;

enum class PlusSign { literal, space };

// Nothing when a '%' is not followed by two hex digits.
[[nodiscard]] std::optional<std::string> percent_decoded(std::string_view text, PlusSign plus);

// "a=1&b=2&b=3"; a name without '=' has an empty value. Nothing when it does not decode.
[[nodiscard]] std::optional<QueryItems> parsed_query(std::string_view text);

// A decimal number without sign, at most max; nothing otherwise.
[[nodiscard]] std::optional<std::uint64_t> parsed_number(std::string_view text, std::uint64_t max);

}  // namespace atlasflow::api
