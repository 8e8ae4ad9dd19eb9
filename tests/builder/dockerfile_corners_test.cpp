// Small repositories as an unlucky user and an attacker write them, built: the corners where
// stages, triggers, shells and quotes meet. Beside dockerfile_kinds_test.cpp. As root.
#include "tests/builder/dockerfile_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DockerfileCornersTest : public BoxBuildTest {};

TEST_F(DockerfileCornersTest, a_chain_of_triggers_runs_each_once_in_the_next_stage) {
  const auto said = built(
      "FROM box AS one\nONBUILD RUN echo one >> /log\nONBUILD COPY note /n\n"
      "FROM one AS two\nONBUILD RUN echo two >> /log\nONBUILD ARG T=of-two\n"
      "FROM two\nRUN echo \"log=$(cat /log /n | tr '\\n' ' ')$T\"\n",
      {{"note", "noted"}});
  EXPECT_THAT(said, HasSubstr("log=one two notedof-two\n"));
}

TEST_F(DockerfileCornersTest, a_stage_is_found_in_any_case_by_name_and_by_number) {
  const auto said = built(
      "FROM --platform=$BUILDPLATFORM box AS My.Stage-1\nRUN echo it > /it\n"
      "FROM my.STAGE-1 AS next\nCOPY --from=MY.stage-1 /it /a\nCOPY --from=1 /it /b\n"
      "ARG FROM=mY.stage-1\nCOPY --from=${FROM} /it /c\n"
      "RUN --mount=from=My.Stage-1,source=/it,target=/m cat /a /b /c /m | tr '\\n' ' '\n");
  EXPECT_THAT(said, HasSubstr("it it it it "));
}

TEST_F(DockerfileCornersTest, a_shell_is_of_its_stage_and_of_those_that_start_from_it) {
  const auto said = built(
      "FROM box AS strict\nSHELL [\"/bin/busybox\", \"sh\", \"-exc\"]\nRUN true\n"
      "FROM box AS plain\nRUN echo plain\nFROM strict\nRUN echo inherited\n"
      "SHELL [\"/bin/sh\", \"-c\"]\nRUN echo back\n"
      "COPY --from=plain /etc/passwd /copied\n");
  EXPECT_THAT(said, HasSubstr("+ echo inherited\n"));
  EXPECT_THAT(said, Not(HasSubstr("+ echo plain")));
  EXPECT_THAT(said, Not(HasSubstr("+ echo back")));
}

TEST_F(DockerfileCornersTest, quotes_continued_lines_and_odd_spellings_mean_what_they_mean) {
  const auto said = built(
      "# syntax=docker/dockerfile:1.7-labs\n"
      "  from box\n\trun echo lower \\  \n\n   # between\n   && echo joined\n"
      "ENV A=\"one \\\n  two\" \\\n    B='th ree' \\\n    C=${A:+\"q u\"} D=\\$A E=a\\ b\n"
      "RUN echo \"[$A][$B][$C][$D][$E]\"; echo $((1<<3))\n"
      "RUN cat <<EOF | tr a-z A-Z; echo after\na \\\nb # no comment\n\\$HOME ${B}\nEOF\n"
      "LABEL \"a b\"=\"c \\\"d\\\"\" e=f\\ g\nEXPOSE 3000-3002/udp 80/TCP\n"
      "COPY [\"with space.txt\", \"n\\u006fte\", \"/j/\"]\nRUN ls /j | tr '\\n' '|'\n"
      "HEALTHCHECK --interval=5s CMD exit 1\nHEALTHCHECK NONE\nSTOPSIGNAL 15\nCMD []\n",
      {{"with space.txt", ""}, {"note", ""}});
  EXPECT_THAT(said, HasSubstr("lower\njoined\n"));
  EXPECT_THAT(said, HasSubstr("[one   two][th ree][][$A][a b]\n8\n"));
  EXPECT_THAT(said, HasSubstr("A B # NO COMMENT\n"));
  EXPECT_THAT(said, HasSubstr("\nafter\n"));
  EXPECT_THAT(said, HasSubstr("note|with space.txt|"));
  EXPECT_THAT(said, Not(HasSubstr("HEALTHCHECK is not run")));
}

// A folder of Go's vendored sources is called as a repository is, and is none to ADD.
TEST_F(DockerfileCornersTest, a_folder_that_is_called_as_a_repository_is_a_folder) {
  const auto said = built(
      "FROM box\nADD github.com/x/y /go/src/github.com/x/y\nADD example.git /e\n"
      "RUN ls /go/src/github.com/x/y /e\n",
      {{"github.com/x/y/a.go", ""}, {"example.git/HEAD", ""}});
  EXPECT_THAT(said, HasSubstr("a.go"));
  EXPECT_THAT(said, HasSubstr("HEAD"));
}

TEST_F(DockerfileCornersTest, what_docker_refuses_of_a_source_is_refused_with_its_line) {
  for (const char* copy : {"COPY https://example.com/x /x\n", "COPY git@example.com:x/y.git /x\n",
                           "ARG U=http://a/b\nCOPY [\"$U\", \"/x\"]\n"}) {
    EXPECT_THAT(refused(std::string("FROM box\n") + copy), HasSubstr("COPY takes no URL")) << copy;
  }
  EXPECT_THAT(refused("FROM box\nADD user@example.com:x/y /x\n"),
              HasSubstr("Dockerfile, line 6: ADD of a Git repository"));
}

}  // namespace
}  // namespace atlasflow::builder
