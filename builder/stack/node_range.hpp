// npm's version ranges, as far as one question goes: may a base image's version be one that a
// package asks for? After node-semver's documentation ("Ranges", "Advanced Range Syntax"). Pure.
#pragma once

#include <cstdint>
#include <optional>
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

}  // namespace atlasflow::builder
