// JSON that a certificate authority sent, or that was stored, without trust in it. Free functions;
// any thread.
#pragma once

#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace atlasflow::domains {

// The object that the text is. Anything else is a value that is no object, as is one that nests so
// deep that writing it again would run out of stack.
[[nodiscard]] nlohmann::json parse_object(std::string_view text);

// The member's text; empty: it has none.
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* name);

}  // namespace atlasflow::domains
