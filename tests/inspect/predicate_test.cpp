#include "inspect/predicate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::inspect {
namespace {

const Json k_json = Json::parse(R"({
  "type": "BuildFailed", "position": 7,
  "data": {"exit_code": 2, "reason": "no space left", "at_us": "1700000000000000"},
  "list": ["a", "b"], "empty": {}, "on": true, "off": false})");

struct Case {
  const char* condition;
  bool holds;
};
class Condition : public testing::TestWithParam<Case> {};

TEST_P(Condition, holds_as_the_language_says) {
  const auto predicate = Predicate::parse(GetParam().condition);
  ASSERT_TRUE(predicate.has_value()) << predicate.error().message;
  EXPECT_EQ(predicate->holds(k_json), GetParam().holds) << GetParam().condition;
}

INSTANTIATE_TEST_SUITE_P(
    Predicate, Condition,
    testing::Values(Case{"type == \"BuildFailed\"", true}, Case{"type == 'Built'", false},
                    Case{"type != \"Built\"", true}, Case{"position >= 7", true},
                    Case{"position > 7", false},
                    Case{"position < 10", true},  // as numbers: as text 7 is more than 10
                    Case{"data.at_us > 1600000000000000", true},  // Protobuf's int64 are text
                    Case{"data.reason ~ \"space\"", true}, Case{"data.reason ~ \"memory\"", false},
                    Case{"data.exit_code == 2 and type ~ 'Build'", true},
                    Case{"data.exit_code == 3 or position == 7", true},
                    Case{"not data.exit_code == 3", true}, Case{"not (position == 7 or on)", false},
                    Case{"position == 1 or position == 7 and off", false},  // and binds closer
                    Case{"count(list) == 2", true}, Case{"count(missing) == 0", true},
                    Case{"count(empty)", false}, Case{"list.1 == \"b\"", true},
                    Case{"list.9 == null", true}, Case{"missing.deep", false},
                    Case{"missing > 1", false}, Case{"missing != 1", true}, Case{"on", true},
                    Case{"off", false}, Case{"empty", false}, Case{"on == true", true}));

struct Wrong {
  const char* condition;
  const char* says;
};
class WrongCondition : public testing::TestWithParam<Wrong> {};

TEST_P(WrongCondition, is_refused_with_its_column) {
  const auto predicate = Predicate::parse(GetParam().condition);
  ASSERT_FALSE(predicate.has_value());
  EXPECT_EQ(predicate.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(predicate.error().message, testing::HasSubstr(GetParam().says));
}

INSTANTIATE_TEST_SUITE_P(
    Predicate, WrongCondition,
    testing::Values(Wrong{"", "column 1: expected a field, a number or \"text\", found the end"},
                    Wrong{"type ==", "column 8"}, Wrong{"type = 'x'", "column 6"},
                    Wrong{"(on", "column 4: expected ')', found the end"},
                    Wrong{"type == \"x", "a closing \""}, Wrong{"count()", "column 7"},
                    Wrong{"and on", "column 1"}, Wrong{"on on", "expected and, or or the end"}));

TEST(Predicate, a_thousand_parentheses_are_refused) {
  const std::string deep(1000, '(');
  EXPECT_FALSE(Predicate::parse(deep).has_value());
}

}  // namespace
}  // namespace atlasflow::inspect
