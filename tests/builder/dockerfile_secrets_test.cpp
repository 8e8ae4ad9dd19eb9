// What a Dockerfile's mounts of secrets become, of those that the project has and of others.
#include <gmock/gmock.h>

#include "builder/stack/dockerfile.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<DockerfilePlan> plan_with_secrets(const std::string& text, const std::string& target = "") {
  return plan_dockerfile(text,
                         {.name = "Dockerfile",
                          .build_args = {},
                          .target = target,
                          .may_use_any_base = true,
                          .project = "web",
                          .secrets = {{"NPM", "NPM.0123456789ab"}, {"key", "key.ba9876543210"}}});
}

// The id tells the value's digest, so that buildah takes no layer that another value made.
TEST(DockerfileSecrets, a_mount_of_a_secret_that_the_project_has_is_of_its_exact_id) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"--mount=type=secret,id=NPM",
       "--mount=type=secret,id=NPM.0123456789ab,target=/run/secrets/NPM"},
      {"--mount=type=secret,src=NPM,required=true,readonly",
       "--mount=type=secret,id=NPM.0123456789ab,target=/run/secrets/NPM"},
      {"--mount=type=secret,id=key,dst=/root/.ssh/id,mode=0400,uid=1,gid=2",
       "--mount=type=secret,id=key.ba9876543210,target=/root/.ssh/id,mode=0400,uid=1,gid=2"},
      {"--mount=type=secret,target=/root/key",
       "--mount=type=secret,id=key.ba9876543210,target=/root/key"},
      {"--mount=type=secret,id=$WHICH",
       "--mount=type=secret,id=NPM.0123456789ab,target=/run/secrets/NPM"},
  };
  for (const auto& [asked, given] : cases) {
    const auto plan = plan_with_secrets("FROM a\nARG WHICH=NPM\nRUN " + asked + " x\n");
    ASSERT_TRUE(plan) << asked << plan.error().message;
    EXPECT_THAT(plan->text, HasSubstr("\nRUN " + given + " x\n")) << asked;
    EXPECT_THAT(plan->notices, IsEmpty()) << asked;
  }
}

TEST(DockerfileSecrets, an_id_that_no_step_was_given_is_no_way_to_a_secret) {
  for (const std::string id : {"NPM.0123456789ab", "npm", "atlasflow.npmrc"}) {
    const auto plan = plan_with_secrets("FROM a\nRUN --mount=type=secret,id=" + id + " x\n");
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_THAT(plan->text, HasSubstr("\nRUN x\n"));
    EXPECT_THAT(plan->notices, ElementsAre("Dockerfile, line 2: there is no build secret '" + id +
                                           "'; the step runs without it"));
  }
}

// The project may well have it; what a stranger's Dockerfile would read is nobody's to set.
TEST(DockerfileSecrets, a_fork_is_told_that_it_gets_none_and_no_name_of_a_store) {
  DockerfileRequest fork;
  fork.may_use_any_base = true;
  fork.project = "web";
  fork.is_of_fork = true;
  const auto absent = plan_dockerfile("FROM a\nRUN --mount=type=secret,id=NPM,required x\n", fork);
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_EQ(absent.error().message,
            "Dockerfile, line 2: RUN --mount=type=secret,id=NPM,required: the step needs the build "
            "secret 'NPM', and what is built of a fork gets no secret of project 'web': take "
            "required away, so that the step goes on without it, or push the commit to a branch of "
            "the project's own repository");
  const auto without = plan_dockerfile("FROM a\nRUN --mount=type=secret,id=NPM x\n", fork);
  ASSERT_TRUE(without);
  EXPECT_THAT(without->notices,
              ElementsAre("Dockerfile, line 2: what is built of a fork gets no build secret; the "
                          "step runs without 'NPM'"));
}

TEST(DockerfileSecrets, what_is_wrong_with_a_secret_is_told_with_its_line_and_the_way_out) {
  const auto absent = plan_with_secrets("FROM a\n\nRUN --mount=type=secret,id=PYPI,required x\n");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_EQ(
      absent.error().message,
      "Dockerfile, line 3: RUN --mount=type=secret,id=PYPI,required: the step needs the build "
      "secret 'PYPI', which the project does not have; set it with 'atlasflow build-secret set "
      "web PYPI < FILE'");
  const auto variable = plan_with_secrets("FROM a\nRUN --mount=type=secret,id=NPM,env=NPM x\n");
  ASSERT_FALSE(variable);
  EXPECT_THAT(
      variable.error().message,
      HasSubstr("line 2: RUN --mount=type=secret,id=NPM,env=NPM: a secret is given as a file "
                "here: take env= away, and let the step read it, as in NAME=\"$(cat "
                "/run/secrets/NPM)\" command"));
}

TEST(DockerfileSecrets, a_secret_that_only_a_stage_needs_which_is_not_built_is_not_asked_for) {
  const std::string text =
      "FROM a AS other\nRUN --mount=type=secret,id=PYPI,required x\nFROM b AS last\nRUN y\n";
  EXPECT_TRUE(plan_with_secrets(text));
  EXPECT_FALSE(plan_with_secrets(text, "other"));
}

TEST(DockerfileSecrets, a_trigger_has_the_secret_of_the_stage_that_runs_it) {
  const std::string text =
      "FROM a AS base\nONBUILD RUN --mount=type=secret,id=NPM x\nFROM base\nRUN y\n";
  const auto plan = plan_with_secrets(text);
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->text, HasSubstr("ONBUILD RUN --mount=type=secret,id=NPM.0123456789ab,"
                                    "target=/run/secrets/NPM x\n"));
  const std::string absent =
      "FROM a AS base\nONBUILD RUN --mount=type=secret,id=PYPI,required x\nFROM base\n";
  EXPECT_TRUE(plan_with_secrets(absent, "base"));
  EXPECT_THAT(plan_with_secrets(absent).error().message, HasSubstr("build secret 'PYPI'"));
}

}  // namespace
}  // namespace atlasflow::builder
