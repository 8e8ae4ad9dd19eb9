#include "cli/dotenv.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;
using testing::Pair;

struct ValueCase {
  const char* text;
  const char* value;
};

class DotenvValue : public testing::TestWithParam<ValueCase> {};

TEST_P(DotenvValue, is_read_as_users_write_it) {
  const auto variables = parse_dotenv(GetParam().text);
  ASSERT_TRUE(variables) << to_string(variables.error());
  EXPECT_THAT(variables->variables, ElementsAre(Pair("KEY", GetParam().value)));
  EXPECT_TRUE(variables->left_out.empty());
}

INSTANTIATE_TEST_SUITE_P(
    Forms, DotenvValue,
    testing::Values(ValueCase{"KEY=value", "value"}, ValueCase{"KEY=value\r\n", "value"},
                    ValueCase{"  KEY = spaced out \n", "spaced out"}, ValueCase{"KEY=", ""},
                    ValueCase{"export KEY=value", "value"}, ValueCase{"KEY=a#b", "a#b"},
                    ValueCase{"KEY=a # comment", "a"}, ValueCase{"KEY=# comment", ""},
                    ValueCase{"KEY='a # b'", "a # b"}, ValueCase{"KEY='a\\n'", "a\\n"},
                    ValueCase{"KEY=\"a\\nb\"", "a\nb"}, ValueCase{"KEY=\"a\nb\"", "a\nb"},
                    ValueCase{"KEY=\"\\$x \\\"y\\\"\" # comment", "$x \"y\""},
                    ValueCase{"KEY=a=b=c", "a=b=c"}, ValueCase{"KEY=first\nKEY=last", "last"},
                    ValueCase{"\n# comment\n\nKEY=value", "value"},
                    ValueCase{"KEY=`it's \"quoted\"`", "it's \"quoted\""},
                    ValueCase{"KEY=\"one\r\ntwo\"\r\n", "one\ntwo"},
                    ValueCase{"KEY='one\r\ntwo'\r\n", "one\ntwo"},
                    ValueCase{"KEY=${OTHER}-$HOME", "${OTHER}-$HOME"},
                    ValueCase{"KEY=\"${OTHER}\"", "${OTHER}"},
                    ValueCase{"KEY=postgres://u:p@h/db?a=b#c", "postgres://u:p@h/db?a=b#c"},
                    ValueCase{"\xEF\xBB\xBFKEY=value", "value"}));

TEST(Dotenv, takes_every_name_that_a_process_can_have) {
  const auto read = parse_dotenv("spring.datasource.url=x\nA-B=y\n1ST=z\nMIIEvg=v\n");
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_THAT(read->variables, ElementsAre(Pair("spring.datasource.url", "x"), Pair("A-B", "y"),
                                           Pair("1ST", "z"), Pair("MIIEvg", "v")));
}

TEST(Dotenv, leaves_out_what_atlasflow_sets_and_says_so) {
  const auto read = parse_dotenv("PORT=8080\nexport HOST=\"localhost\"\nAPI_KEY=x\nPORT=1\n");
  ASSERT_TRUE(read) << to_string(read.error());
  EXPECT_THAT(read->variables, ElementsAre(Pair("API_KEY", "x")));
  EXPECT_THAT(read->left_out, ElementsAre("PORT", "HOST"));
}

TEST(Dotenv, that_is_no_utf8_text_says_how_to_save_it) {
  const std::string utf16(
      "\xFF\xFE"
      "A\0=\0",
      6);
  EXPECT_THAT(parse_dotenv(utf16).error().message, HasSubstr("save it as UTF-8"));
  const std::string nul("A=1\nB=x\0y\n", 10);
  EXPECT_THAT(parse_dotenv(nul).error().message, HasSubstr("line 2: there is a NUL byte"));
}

TEST(Dotenv, lines_after_a_value_over_several_lines_keep_their_numbers) {
  const auto variables = parse_dotenv("A=\"one\ntwo\nthree\"\nB\n");
  ASSERT_FALSE(variables);
  EXPECT_THAT(variables.error().message, HasSubstr("line 4"));
}

TEST(Dotenv, an_error_names_the_line_and_quotes_nothing_of_it) {
  for (const auto* text : {"A=1\nMIIEvgIBADANBg/kqhkiG9w0==\n", "A=1\nB='never closed hunter2\n",
                           "A=1\nB='x' hunter2\n", "A=1\nhunter2\n"}) {
    const auto variables = parse_dotenv(text);
    ASSERT_FALSE(variables) << text;
    EXPECT_EQ(variables.error().code, ErrorCode::invalid_argument);
    EXPECT_THAT(variables.error().message, HasSubstr("line 2"));
    EXPECT_THAT(to_string(variables.error()), Not(HasSubstr("hunter2")));
    EXPECT_THAT(to_string(variables.error()), Not(HasSubstr("MIIE")));
  }
}

TEST(Dotenv, an_export_without_a_value_is_refused) { EXPECT_FALSE(parse_dotenv("export A")); }

TEST(Dotenv, a_variable_called_export_is_a_variable) {
  const auto variables = parse_dotenv("export=1");
  ASSERT_TRUE(variables);
  EXPECT_THAT(variables->variables, ElementsAre(Pair("export", "1")));
}

TEST(Assignments, keep_the_value_as_it_was_given) {
  const auto variables = parse_assignments({"A= 'x' # y", "B=", "C=a=b"});
  ASSERT_TRUE(variables);
  EXPECT_THAT(*variables, ElementsAre(Pair("A", " 'x' # y"), Pair("B", ""), Pair("C", "a=b")));
}

TEST(Assignments, an_argument_without_equals_is_named_by_its_place_only) {
  const auto variables = parse_assignments({"A=1", "hunter2"});
  ASSERT_FALSE(variables);
  EXPECT_THAT(variables.error().message, HasSubstr("variable 2"));
  EXPECT_THAT(to_string(variables.error()), Not(HasSubstr("hunter2")));
}

TEST(Assignments, atlasflows_own_names_are_refused) {
  const auto variables = parse_assignments({"PORT=80"});
  ASSERT_FALSE(variables);
  EXPECT_THAT(variables.error().message, HasSubstr("PORT"));
}

}  // namespace
}  // namespace atlasflow::cli
