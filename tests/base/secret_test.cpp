// A secret goes nowhere by accident: the compiler says so.
#include "base/secret.hpp"

#include <concepts>
#include <ostream>
#include <sstream>
#include <string>

#include <gtest/gtest.h>

namespace atlasflow {
namespace {

template <typename T>
concept Streamable = requires(std::ostream& out, const T& value) {
  out << value;
};
template <typename T>
concept Comparable = requires(const T& a, const T& b) {
  a == b;
};

static_assert(Streamable<std::string> && Comparable<std::string>, "the questions are right");
static_assert(!Streamable<Secret>);
static_assert(!Comparable<Secret>);
static_assert(!std::convertible_to<Secret, std::string>);
static_assert(!std::convertible_to<Secret, std::string_view>);
static_assert(!std::convertible_to<Secret, const char*>);
static_assert(!std::convertible_to<std::string, Secret>);

TEST(Secret, is_told_apart_by_all_of_its_bytes) {
  const Secret secret("ghs_abc");
  EXPECT_TRUE(secret.is("ghs_abc"));
  EXPECT_FALSE(secret.is("ghs_abd"));
  EXPECT_FALSE(secret.is("ghs_ab"));
  EXPECT_FALSE(secret.is("ghs_abcd"));
  EXPECT_TRUE(Secret().is(""));
}

TEST(Secret, leaves_nothing_behind_where_it_was_moved_from) {
  // So short that it lies in the string itself.
  Secret from("ghs_abc");
  const Secret to(std::move(from));
  const auto* bytes = reinterpret_cast<const char*>(&from);  // NOLINT(bugprone-use-after-move)
  EXPECT_EQ(std::string(bytes, sizeof from).find("ghs_"), std::string::npos);
  EXPECT_TRUE(to.is("ghs_abc"));
}

TEST(Secret, survives_being_assigned_to_itself) {
  Secret secret("ghs_abc");
  const auto& same = secret;
  secret = same;
  EXPECT_TRUE(secret.is("ghs_abc"));
}

}  // namespace
}  // namespace atlasflow
