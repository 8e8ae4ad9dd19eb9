#include "builder/stack/node_range.hpp"

#include <gtest/gtest.h>

namespace atlasflow::builder {
namespace {

struct Case {
  const char* version;
  const char* range;
  bool expected;
};

TEST(NodeRange, is_read_as_npm_reads_it) {
  const Case cases[] = {
      {"18", "", true},
      {"18", "*", true},
      {"18", "18.x", true},
      {"18", "18", true},
      {"18", "v18.20.4", true},
      {"18", "16 || 18", true},
      {"18", "16 || 20", false},
      {"18", ">=18", true},
      {"18", ">= 18.0.0 < 19", true},
      {"18", ">18", false},
      {"18", ">18.5", true},
      {"18", "<18", false},
      {"18", "<=18", true},
      {"18", "^18.2.0", true},
      {"18", "^20", false},
      {"18", "~18.20", true},
      {"18", "~20", false},
      {"18", "14 - 18", true},
      {"18", "14 - 16", false},
      {"18", "14.0.0 - 18.1.0", true},
      {"18.20.4", ">=18.20.5", false},
      {"18.20.4", "^18.20.3", true},
      {"18.20.4", "~18.19", false},
      {"0.12.3", "^0.12.1", true},
      {"0.12.3", "^0.11", false},
      {"20.11", ">=20.11.1", true},
      {"22", ">=18.17.0 <21 || >=22", true},
  };
  for (const auto& each : cases) {
    const auto version = parse_partial_version(each.version);
    ASSERT_TRUE(version);
    EXPECT_EQ(may_satisfy(*version, each.range), each.expected)
        << each.version << " in " << each.range;
  }
}

TEST(NodeRange, that_cannot_be_read_asks_for_nothing) {
  for (const char* range : {"lts/*", "latest", ">=18.a", "1.2.3.4", ">=99999999"}) {
    EXPECT_EQ(may_satisfy({{18, 0, 0}, 1}, range), std::nullopt) << range;
  }
  EXPECT_FALSE(parse_partial_version("lts/hydrogen"));
  EXPECT_FALSE(parse_partial_version(""));
}

}  // namespace
}  // namespace atlasflow::builder
