// TOML whose keys have parts without end: "a.a.a.…" makes a table in a table for each, and the
// library takes a frame of the stack for each when it lets them go. Pure; any thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::builder {

// Dots in lines that have more than 16 of them. The library's own limit is 256 brackets in
// brackets, so that with those of the other lines there are at most some 6000 levels.
inline constexpr std::size_t k_toml_dots_max = 2000;

// user_error: a file has more than that. Strings count as well: to tell them apart would take what
// the library does. shown: the file's name in the message.
[[nodiscard]] Result<void> refuse_deep_toml(std::string_view text, const std::string& shown);

}  // namespace atlasflow::builder
