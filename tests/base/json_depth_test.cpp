#include "base/json_depth.hpp"

#include <string>

#include <gtest/gtest.h>

namespace atlasflow {
namespace {

TEST(JsonDepth, counts_arrays_and_objects_in_each_other) {
  EXPECT_FALSE(nests_deeper_than(R"({"a":[{}],"b":[[]]})", 3));
  EXPECT_TRUE(nests_deeper_than(R"({"a":[{}],"b":[[]]})", 2));
  EXPECT_TRUE(nests_deeper_than(std::string(1'000'000, '['), 64));
}

TEST(JsonDepth, leaves_out_what_stands_in_strings) {
  EXPECT_FALSE(nests_deeper_than(R"(["[[[[", "\"[[[[", "\\"])", 1));
  EXPECT_TRUE(nests_deeper_than(R"(["\\", [[]]])", 2));
}

}  // namespace
}  // namespace atlasflow
