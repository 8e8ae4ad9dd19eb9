// How deep a stranger's JSON nests, before a parser makes a tree of it: 25 MB of '[' are gigabytes
// of tree, and what walks it by recursion runs out of stack. Pure; any thread.
#pragma once

#include <string_view>

namespace atlasflow {

// Whether arrays and objects lie in each other in more than so many levels; brackets in strings do
// not count. Of text that is no JSON: at least up to where a parser stops.
[[nodiscard]] bool nests_deeper_than(std::string_view text, int levels);

}  // namespace atlasflow
