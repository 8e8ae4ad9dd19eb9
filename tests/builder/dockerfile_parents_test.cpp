// How a Dockerfile with COPY --parents is told to buildah, and what of it is refused by its line.
// What it makes is in copy_parents_test.cpp and, built, in dockerfile_parents_build_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "builder/image/build_failure.hpp"
#include "builder/stack/dockerfile.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

Result<DockerfilePlan> plan_of(const std::string& text, const std::string& target = "") {
  DockerfileRequest request;
  request.target = target;
  request.build_args = {{"GIVEN", "by the project"}};
  return plan_dockerfile(text, request);
}

std::string text_of(const std::string& text, const std::string& target = "") {
  const auto plan = plan_of(text, target);
  EXPECT_TRUE(plan) << plan.error().message;
  return plan ? plan->text : "";
}

TEST(DockerfileParents, the_stage_is_cut_so_that_the_program_sees_what_is_there) {
  const auto plan = plan_of(
      "FROM app:1\nARG V=x/y\nWORKDIR /app\nCOPY --parents --chown=joe:1 --chmod=0755 "
      "--exclude=*.md $V ./z/./w /to/\nRUN true\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->text,
            "FROM docker.io/library/app:1 AS atlasflow-before-1\nARG V=x/y\nWORKDIR /app\n"
            "FROM scratch AS atlasflow-parents-1\n"
            "RUN --network=none --mount=type=bind,from=atlasflow-copy-parents,"
            "target=/.atlasflow/tool --mount=type=bind,target=/.atlasflow/from "
            "--mount=type=bind,from=atlasflow-before-1,target=/.atlasflow/before "
            "[\"/.atlasflow/tool/atlasflow-copy-parents\",\"--out=/.atlasflow/atlasflow-parents-1\""
            ",\"--from=/.atlasflow/from\",\"--to=/to\",\"--before=/.atlasflow/before\","
            "\"--root-owned\",\"--chown=joe:1\","
            "\"--chmod=0755\",\"--exclude=*.md\",\"--\",\"x/y\",\"./z/./w\"]\n"
            "FROM atlasflow-before-1 AS atlasflow-stage-0\nARG V=\"x/y\"\n"
            "COPY --from=atlasflow-parents-1 /.atlasflow/atlasflow-parents-1/ /\nRUN true\n");
  EXPECT_EQ(plan->numbered,
            "FROM docker.io/library/app:1 AS atlasflow-before-1\nARG V=x/y\nWORKDIR /app\n"
            "COPY --from=atlasflow-parents-1 /.atlasflow/atlasflow-parents-1/ /\nRUN true\n");
  EXPECT_TRUE(plan->copies_parents);
  EXPECT_THAT(plan->notes, ElementsAre(HasSubstr("Dockerfile, line 4: COPY --parents is done by")));
}

TEST(DockerfileParents, a_file_without_it_is_told_as_ever) {
  for (const std::string flag : {"", "--parents=false "}) {
    const auto plan = plan_of("FROM app:1\nCOPY " + flag + "x y\nFROM app:1\nCOPY --from=0 x y\n");
    ASSERT_TRUE(plan);
    EXPECT_EQ(plan->text,
              "FROM docker.io/library/app:1\nCOPY x y\nFROM docker.io/library/app:1\n"
              "COPY --from=0 x y\n");
    EXPECT_THAT(plan->numbered, IsEmpty());
    EXPECT_FALSE(plan->copies_parents);
  }
}

TEST(DockerfileParents, an_empty_image_needs_no_look_at_it) {
  const auto text = text_of("FROM scratch AS s\nENV A=b\nCOPY --parents $A/c /\n");
  EXPECT_THAT(text, Not(HasSubstr("before")));
  EXPECT_THAT(text, HasSubstr("FROM scratch AS s\nENV A=b\nCOPY --from=atlasflow-parents-1 "));
  EXPECT_THAT(text, HasSubstr("\"--\",\"b/c\"]"));
}

TEST(DockerfileParents, stages_are_named_since_their_numbers_change) {
  const std::string file =
      "FROM app:1\nRUN make\nFROM two:1\nCOPY --parents x /\nFROM three:1 AS last\n"
      "COPY --from=0 --parents /m/./n /\nRUN --mount=from=1,target=/o true\n";
  const auto plan = plan_of(file);
  ASSERT_TRUE(plan);
  EXPECT_THAT(plan->text, HasSubstr("FROM docker.io/library/app:1 AS atlasflow-stage-0\n"));
  EXPECT_THAT(plan->text,
              HasSubstr("--mount=type=bind,from=atlasflow-stage-0,target=/.atlasflow/"));
  EXPECT_THAT(plan->text, HasSubstr("RUN --mount=type=bind,from=atlasflow-stage-1,target=/o true"));
  EXPECT_THAT(plan->text, HasSubstr("FROM atlasflow-before-2 AS last\n"));
  EXPECT_THAT(plan->text, Not(HasSubstr("--root-owned\",\"--\",\"/m/./n\"")))
      << "files of a stage keep their owners";
  EXPECT_THAT(plan->stages, ElementsAre("0", "1", "last"));
  EXPECT_EQ(plan_of(file, "1")->target, "atlasflow-stage-1");
  EXPECT_THAT(plan_of(file, "0")->text, HasSubstr("FROM scratch AS last\n"));
  EXPECT_THAT(plan_of(file, "0")->text, Not(HasSubstr("parents-"))) << "not needed";
}

// What a part that begins anew would not know, or would do once more.
TEST(DockerfileParents, what_belongs_to_the_stage_stays_with_its_last_part) {
  const auto text = text_of(
      "FROM app:1 AS s\nARG GIVEN\nARG NONE\nARG OWN=$BASES\nONBUILD RUN x\nCMD [\"c\"]\n"
      "COPY --parents a /\nCOPY --parents b /\nENTRYPOINT [\"e\"]\n");
  EXPECT_THAT(text, HasSubstr("FROM atlasflow-before-2 AS s\nARG GIVEN\nARG NONE\nARG OWN=$BASES\n"
                              "COPY --from=atlasflow-parents-2 /.atlasflow/atlasflow-parents-2/ /\n"
                              "CMD [\"c\"]\nENTRYPOINT [\"e\"]\nONBUILD RUN x\n"));
  EXPECT_EQ(text.find("ONBUILD"), text.rfind("ONBUILD"));
}

TEST(DockerfileParents, a_working_folder_that_only_the_base_knows_is_found_within_it) {
  const auto text = text_of("FROM app:1\nUSER joe\nCOPY --parents x ./y/\n");
  EXPECT_THAT(text, HasSubstr("FROM atlasflow-before-1 AS atlasflow-parents-1\nUSER 0:0\n"));
  EXPECT_THAT(text, HasSubstr("\"--to=./y/\",\"--before=/\""));
  EXPECT_THAT(text_of("FROM app:1\nWORKDIR /w\nWORKDIR v\nCOPY --parents x .\n"),
              HasSubstr("\"--to=/w/v\""));
}

TEST(DockerfileParents, what_cannot_be_exact_is_refused_with_its_line) {
  const std::pair<std::string, std::string> cases[] = {
      {"FROM app\nCOPY --parents $BASES/x /\n", "line 2: COPY --parents needs the value of $BASES"},
      {"FROM app\nCOPY --parents x $BASES/\n", "line 2: COPY --parents needs the value of $BASES"},
      {"FROM app\nCOPY --parents --chown=$U x /\n", "line 2: COPY --parents needs the value of $U"},
      {"FROM app\nCOPY --parents . /x\n", "line 2: COPY --parents of '.' copies nothing"},
      {"FROM app\nCOPY --parents [\"a/./\", \"/x\"]\n", "COPY --parents of 'a/./' copies nothing"},
      {"FROM app\nCOPY --parents [a /x\n", "line 2: COPY --parents of '[a': '[a' is no pattern"},
      {"FROM app\nCOPY --parents !a /x\n", "line 2: COPY --parents of '!a'"},
      {"FROM app\nCOPY --parents <<E /x\nE\n", "line 2: COPY --parents of a here-document"},
      {"FROM app\nCOPY --parents \xFF /x\n", "line 2: COPY --parents takes only names in UTF-8"},
      {"FROM app\nCOPY --parents=maybe a /x\n", "line 2: --parents is true or false"},
      {"FROM app\nONBUILD COPY --parents a /x\n",
       "line 2: ONBUILD COPY --parents is not supported"},
      {"FROM app\nADD --parents a /x\n", "line 2: ADD has no flag --parents"},
      {"FROM app AS atlasflow-before-1\nCOPY --parents a /x\n", "line 1: 'atlasflow-before-1'"},
      {"FROM app\nCMD x\nSHELL [\"/s\", \"-c\"]\nCOPY --parents a /x\nENTRYPOINT [\"e\"]\n",
       "line 5: ENTRYPOINT behind a COPY --parents"},
  };
  for (const auto& [text, said] : cases) {
    const auto plan = plan_of(text);
    ASSERT_FALSE(plan) << text;
    EXPECT_EQ(plan.error().code, ErrorCode::user_error) << text;
    EXPECT_THAT(plan.error().message, HasSubstr(said)) << text;
  }
}

TEST(DockerfileParents, what_the_program_says_is_told_of_the_users_line) {
  const auto plan = plan_of("FROM app:1\n\n\nCOPY --parents x /\n");
  ASSERT_TRUE(plan);
  const auto failure = [&plan](const std::string& said, int code) {
    const auto output =
        "[2/3] STEP 2/2: RUN …\n\nCOPY --parents: " + said +
        "\nError: building at STEP \"RUN --network=none /.atlasflow/tool/atlasflow-copy-parents "
        "--out=/.atlasflow/atlasflow-parents-1 --from=/.atlasflow/from --to=/ -- x\": while "
        "running runtime: exit status " +
        std::to_string(code) + "\n";
    return build_failure({output, 1, false, 0, plan->numbered});
  };
  const auto error = failure("there is no 'x' in it", 1);
  EXPECT_EQ(error.code, ErrorCode::user_error);
  EXPECT_EQ(error.message, "Dockerfile, line 4: COPY --parents failed: there is no 'x' in it");
  // A full disk may have room later.
  EXPECT_EQ(failure("cannot write /x (No space left on device)", 2).code, ErrorCode::unavailable);
}

TEST(DockerfileParents, a_base_that_fails_is_told_by_the_line_of_its_from) {
  const auto plan = plan_of("# first\nFROM app:1\nCOPY --parents x /\nCOPY --parents y /\n");
  ASSERT_TRUE(plan);
  const auto error = build_failure(
      {"Error: building at STEP \"FROM docker.io/library/app:1 AS atlasflow-before-1\": no such "
       "layer\n",
       1, false, 0, plan->numbered});
  EXPECT_THAT(error.message, HasSubstr("Dockerfile, line 2: "));
}

TEST(DockerfileParents, what_the_stage_below_declared_is_known_behind_the_cut) {
  EXPECT_THAT(text_of("FROM app:1 AS p\nARG BELOW=b\nONBUILD ARG WHO=me\nONBUILD ARG GIVEN\n"
                      "FROM p\nARG OWN=o\nCOPY --parents a /\n"),
              HasSubstr("FROM atlasflow-before-1 AS atlasflow-stage-1\nARG BELOW=\"b\"\n"
                        "ARG GIVEN\nARG WHO=\"me\"\nARG OWN=\"o\"\nCOPY "));
}

TEST(DockerfileParents, values_that_each_cut_writes_again_have_a_limit_together) {
  std::string file = "FROM app:1\nARG A=" + std::string(60'000, 'x') + "\n";
  for (int i = 0; i < 300; ++i) file += "COPY --parents a /\n";
  const auto plan = plan_of(file);
  ASSERT_FALSE(plan);
  EXPECT_THAT(plan.error().message, HasSubstr("larger than 16 MiB together"));
}

TEST(DockerfileParents, a_value_with_a_line_break_begins_no_instruction) {
  DockerfileRequest request;
  request.build_args = {{"G", "a\nRUN x"}};
  const auto plan = plan_dockerfile("FROM app:1\nARG G\nARG X=$G\nCOPY --parents a /\n", request);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().code, ErrorCode::user_error);
  EXPECT_THAT(plan.error().message, HasSubstr("line 3: the value of X has a line break"));
  EXPECT_TRUE(plan_dockerfile("FROM app:1\nARG G\nCOPY --parents a /\n", request));
}

}  // namespace
}  // namespace atlasflow::builder
