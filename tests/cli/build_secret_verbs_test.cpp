// The verbs build-secret … over the real API, whose control plane records what it is asked for.
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class BuildSecretVerbs : public VerbTest {
 protected:
  BuildSecretVerbs() { control_.add_project("shop"); }
};

TEST_F(BuildSecretVerbs, a_build_secret_is_read_from_a_file_or_standard_input_and_never_shown) {
  const auto value_of = [&](const std::string& input) {
    const auto ran = run(BuildSecretSetCommand{"shop", "NPM", "-"}, input);
    EXPECT_EQ(ran.code, 0) << ran.err;
    EXPECT_EQ(ran.out,
              "Set NPM; 'atlasflow deploy shop' builds with it, in steps with "
              "--mount=type=secret,id=NPM\n");
    return control_.asked<commands::SetBuildSecrets>().back().secrets.at(0).second;
  };
  EXPECT_EQ(value_of("hunter2\n"), "hunter2") << "of one line, the end is an editor's";
  EXPECT_EQ(value_of("hunter2\r\n"), "hunter2");
  EXPECT_EQ(value_of("hunter2"), "hunter2");
  EXPECT_EQ(value_of("-----BEGIN\nx\n-----END\n"), "-----BEGIN\nx\n-----END\n") << "as it is";
  const auto list = run(BuildSecretListCommand{"shop", false});
  EXPECT_THAT(list.out,
              AllOf(HasSubstr("NPM"), HasSubstr("0123456789ab"), Not(HasSubstr("hunter"))));
  EXPECT_THAT(run(ProjectShowCommand{"shop", false}).out, HasSubstr("Build secrets"));
  EXPECT_EQ(run(BuildSecretUnsetCommand{"shop", {"NPM"}}).out,
            "Unset NPM; it applies to later deployments\n");
  EXPECT_THAT(run(BuildSecretListCommand{"shop", false}).out, StartsWith("No build secrets; "));
}

TEST_F(BuildSecretVerbs, a_build_secret_that_is_wrong_is_not_repeated) {
  const auto typed = run(BuildSecretSetCommand{"shop", "NPM=hunter2", "-"}, "x");
  EXPECT_EQ(typed.code, 2);
  EXPECT_THAT(typed.err, AllOf(HasSubstr("standard input"), Not(HasSubstr("hunter2"))));
  const auto argument = run(BuildSecretSetCommand{"shop", "NPM", "-", {"hunter2"}}, "x");
  EXPECT_EQ(argument.code, 2);
  EXPECT_THAT(argument.err,
              AllOf(HasSubstr("the value is no argument"), Not(HasSubstr("hunter2"))));
  EXPECT_EQ(run(BuildSecretSetCommand{"shop", "NPM", "-"}, "\n").code, 2) << "it is empty";
  EXPECT_EQ(run(BuildSecretSetCommand{"shop", "NPM", "/nonexistent"}).code, 2);
  const auto large = run(BuildSecretSetCommand{"shop", "NPM", "-"}, std::string(140'000, 'x'));
  EXPECT_EQ(large.code, 2);
  EXPECT_THAT(large.err, AllOf(HasSubstr("128 KiB"), Not(HasSubstr("xxx"))));
  const auto binary = run(BuildSecretSetCommand{"shop", "NPM", "-"}, "\xff\xfe hunter2");
  EXPECT_EQ(binary.code, 2);
  EXPECT_THAT(binary.err, AllOf(HasSubstr("base64"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(control_.calls(), IsEmpty());
}

}  // namespace
}  // namespace atlasflow::cli
