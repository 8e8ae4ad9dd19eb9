#include "builder/stack/version_range.hpp"

#include <gtest/gtest.h>

namespace atlasflow::builder {
namespace {

struct Case {
  const char* version;
  const char* range;
  bool expected;
};

TEST(VersionRange, is_read_as_npm_reads_it) {
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

TEST(VersionRange, that_cannot_be_read_asks_for_nothing) {
  for (const char* range : {"lts/*", "latest", ">=18.a", "1.2.3.4", ">=99999999"}) {
    EXPECT_EQ(may_satisfy({{18, 0, 0}, 1}, range), std::nullopt) << range;
  }
  EXPECT_FALSE(parse_partial_version("lts/hydrogen"));
  EXPECT_FALSE(parse_partial_version(""));
}

TEST(VersionRange, of_other_ecosystems_means_what_their_own_tools_take_it_for) {
  struct OtherCase {
    RangeDialect dialect;
    const char* version;
    const char* range;
    bool expected;
  };
  const OtherCase cases[] = {
      {RangeDialect::pep440, "3.11", ">=3.9,<3.13", true},
      {RangeDialect::pep440, "3.13", ">=3.9,<3.13", false},
      {RangeDialect::pep440, "3.11", "~=3.9", true},
      {RangeDialect::pep440, "4.0", "~=3.9", false},
      {RangeDialect::pep440, "3.11", "~=3.10.2", false},
      {RangeDialect::pep440, "3.10", "~=3.10.2", true},
      {RangeDialect::pep440, "3.11", "==3.11.*", true},
      {RangeDialect::pep440, "3.11", ">=3.9, !=3.11.0", true},
      {RangeDialect::pep440, "3.12", "^3.9", true},
      {RangeDialect::ruby, "3.4", "~> 3.2", true},
      {RangeDialect::ruby, "3.4", "~> 3.2.0", false},
      {RangeDialect::ruby, "3.2", "~> 3.2.0", true},
      {RangeDialect::ruby, "3.1.2", "3.1.2", true},
      {RangeDialect::ruby, "3.1.2", "3.1.4", false},
      {RangeDialect::composer, "8.3", "^8.1", true},
      {RangeDialect::composer, "8.3", "~8.1", true},
      {RangeDialect::composer, "9.0", "~8.1", false},
      {RangeDialect::composer, "8.3", "~8.1.0", false},
      {RangeDialect::composer, "8.3", "^7.4|^8.0", true},
      {RangeDialect::composer, "8.3", "7.4.* || 8.0.*", false},
      {RangeDialect::composer, "8.3", ">=8.1@dev", true},
  };
  for (const auto& each : cases) {
    const auto version = parse_partial_version(each.version);
    ASSERT_TRUE(version);
    const auto range = npm_range_of(each.range, each.dialect);
    EXPECT_EQ(may_satisfy(*version, range), each.expected)
        << each.version << " in " << each.range << ", read as " << range;
  }
}

}  // namespace
}  // namespace atlasflow::builder
