#include "base/assert.hpp"

#include <cstdio>
#include <cstdlib>

namespace atlasflow {

void assertion_failed(const char* expression, const char* file, int line,
                      const std::string& detail) {
  std::fprintf(stderr, "%s:%d: broken invariant: %s: %s\n", file, line, expression, detail.c_str());
  std::fflush(stderr);
  std::abort();
}

}  // namespace atlasflow
