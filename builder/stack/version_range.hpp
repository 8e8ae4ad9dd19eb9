// Version ranges, as far as one question goes: may a base image's version be one that a package
// asks for? In npm's notation, after node-semver's documentation ("Ranges", "Advanced Range
// Syntax"), into which those of other ecosystems are written over. Pure; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace atlasflow::builder {

// "20", "20.11" or "v20.11.1": what is left out is not known.
struct PartialVersion {
  std::uint32_t parts[3] = {0, 0, 0};
  int known = 0;  // how many of them
};
// nullopt: it does not begin with a number.
[[nodiscard]] std::optional<PartialVersion> parse_partial_version(std::string_view text);

// Whether some version that begins with `version` is in the range. nullopt: the range can't be read
// ("lts/*"), and so asks for nothing that could be checked.
[[nodiscard]] std::optional<bool> may_satisfy(const PartialVersion& version,
                                              std::string_view range);

enum class RangeDialect : std::uint8_t {
  pep440,    // Python's: "~=3.10" is less than 4, "==3.11.*"
  ruby,      // "~> 3.2" is less than 4, "~> 3.2.0" less than 3.3
  composer,  // "~8.1" is less than 9, "^7.4|^8.0"
};
// In npm's notation and, for "up to the next of the last but one part", the operator "~=".
[[nodiscard]] std::string npm_range_of(std::string_view range, RangeDialect dialect);

}  // namespace atlasflow::builder
