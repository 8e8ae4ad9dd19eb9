// The house rules of ATLAS_PROBE and ATLAS_BUGGIFY: each mark of the repository says something that
// no other says, and none stands in a header, whose functions belong to several object files. Pure,
// like tidy.hpp.
#pragma once

#include <vector>

#include "tests/house/tidy.hpp"

namespace atlasflow::house {

[[nodiscard]] std::vector<Finding> check_marks(const std::vector<SourceFile>& files);

}  // namespace atlasflow::house
