// Records of the log as a backup holds them: each the length of its stored bytes (32 bits,
// little-endian) and those bytes, chain and all. Pure; any thread.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace atlasflow::backup {

// The framed record.
[[nodiscard]] std::string framed(std::string_view stored);

// Takes a segment in pieces of any size and gives its records out.
class RecordSplitter {
 public:
  // An error of visit ends it. corrupt: a length that no record has.
  [[nodiscard]] Result<void> take(std::string_view piece,
                                  const std::function<Result<void>(std::string_view)>& visit);
  // Nothing is left of a record that was cut.
  [[nodiscard]] bool at_end() const { return rest_.empty(); }

 private:
  std::string rest_;
};

}  // namespace atlasflow::backup
