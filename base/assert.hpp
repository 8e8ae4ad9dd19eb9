// ATLAS_ASSERT: an invariant, checked in every build. When it does not hold, both values are
// printed and the process aborts: state is a fold of the log, so stopping loses nothing and going
// on might.
#pragma once

#include <sstream>
#include <string>

namespace atlasflow {

[[noreturn]] void assertion_failed(const char* expression, const char* file, int line,
                                   const std::string& detail);

namespace detail {
template <typename A, typename B>
std::string both_values(const A& left, const B& right) {
  std::ostringstream out;
  out << "left=" << left << " right=" << right;
  return out.str();
}
}  // namespace detail

}  // namespace atlasflow

#define ATLAS_ASSERT(condition, detail)                                                   \
  do {                                                                                    \
    if (!(condition)) {                                                                   \
      ::atlasflow::assertion_failed(#condition, __FILE__, __LINE__, std::string(detail)); \
    }                                                                                     \
  } while (false)

#define ATLAS_ASSERT_EQ(left, right) \
  ATLAS_ASSERT((left) == (right), ::atlasflow::detail::both_values((left), (right)))
