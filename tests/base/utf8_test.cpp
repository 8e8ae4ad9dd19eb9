#include "base/utf8.hpp"

#include <string_view>
#include <vector>

#include <gmock/gmock.h>

namespace atlasflow {
namespace {

TEST(Utf8, what_is_none_is_told_from_what_is_and_replaced) {
  struct Case {
    std::string_view text;
    std::string_view made;
  };
  const std::vector<Case> cases = {
      {"", ""},
      {"caf\xC3\xA9", "caf\xC3\xA9"},
      {"\xF0\x9F\x9A\x80", "\xF0\x9F\x9A\x80"},
      {"caf\xE9", "caf\xEF\xBF\xBD"},
      {"\xC0\xAFx", "\xEF\xBF\xBD\xEF\xBF\xBDx"},                // overlong
      {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},  // a surrogate
      {"\xE2\x82", "\xEF\xBF\xBD\xEF\xBF\xBD"},                  // cut short
  };
  for (const auto& each : cases) {
    EXPECT_EQ(to_valid_utf8(each.text), each.made);
    EXPECT_EQ(is_utf8(each.text), each.text == each.made) << each.made;
  }
}

}  // namespace
}  // namespace atlasflow
