// Dockerfiles that Docker takes and that other builders get wrong, built: each stands for a public
// report. What is said before a build runs is in dockerfile_test.cpp.
#include "tests/builder/dockerfile_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class DockerfileBuildTest : public BoxBuildTest {};

TEST_F(DockerfileBuildTest, here_documents_are_scripts_and_files) {
  const auto said = built(
      "FROM box\nARG A=put-in\nRUN <<EOF\nset -eu\necho first\n  # FROM nowhere\necho $((1 + "
      "1))nd\nEOF\n"
      "COPY --chmod=640 --chown=joe:joe <<ONE <<'TWO' /d/\na=$A\nONE\na=$A\nTWO\n"
      "RUN cat /d/ONE /d/TWO; stat -c '%a %u %n' /d/ONE\nRUN <<-\"END\" sh -f\n\techo "
      "no names for: *\n\tEND\n");
  EXPECT_THAT(said, HasSubstr("first\n2nd\n"));
  EXPECT_THAT(said, HasSubstr("a=put-in\na=$A\n640 1234 /d/ONE\n"));
  EXPECT_THAT(said, HasSubstr("\nno names for: *\n"));
}

TEST_F(DockerfileBuildTest, flags_of_copy_do_what_docker_says) {
  const auto said = built(
      "FROM box\nCOPY --link a.txt /linked\n"
      "COPY --exclude=*.md --exclude=**/deep . /all/\n"
      "COPY --chown=70000:70001 a.txt /far\nCOPY --chown=joe a.txt /joes\n"
      "RUN cat /linked; cd /all && find . -type f | sort | tr '\\n' ' '; "
      "stat -c '%u:%g' /far /joes | tr '\\n' ' '\n",
      {{"a.txt", "linked\n"}, {"b.md", ""}, {"sub/c.md", ""}, {"sub/deep/d", ""}});
  EXPECT_THAT(said, HasSubstr("--link, a hint for the layer cache, was taken out"));
  EXPECT_THAT(said, HasSubstr("linked\n./Dockerfile ./a.txt ./busybox ./sub/c.md "));
  EXPECT_THAT(said, HasSubstr("70000:70001 1234:1234"));
}

TEST_F(DockerfileBuildTest, symbolic_modes_of_copy_are_those_that_docker_makes) {
  const auto script = folder("app") / "script";
  write(script, "#!/bin/sh\n");
  std::filesystem::permissions(script, std::filesystem::perms(0755));
  const auto said = built(
      "FROM box\nCOPY --chmod=u=rwX,go=rX script f sub /kept/\nCOPY --chmod=a+x f /run\n"
      "COPY --chmod=u=rw,go=r script /plain\n"
      "RUN stat -c '%n=%a' /kept/script /kept/f /run /plain | tr '\\n' ' '\n",
      {{"f", "f"}, {"sub/g", "g"}});
  EXPECT_THAT(said, HasSubstr("/kept/script=755 /kept/f=644 /run=755 /plain=644 "));
}

TEST_F(DockerfileBuildTest, a_stage_is_chosen_by_the_platform_and_the_others_are_not_pulled) {
  const auto said = built(
      "FROM box AS base-amd64\nRUN echo is amd64\nFROM absent.example.com/x AS base-arm64\n"
      "RUN echo is arm64\nFROM base-${TARGETARCH}\nARG TARGETPLATFORM\nRUN echo on "
      "$TARGETPLATFORM\n");
  EXPECT_THAT(said, HasSubstr("is amd64\n"));
  EXPECT_THAT(said, HasSubstr("on linux/amd64\n"));
  EXPECT_THAT(said, Not(HasSubstr("Pulling")));
}

TEST_F(DockerfileBuildTest, the_shell_that_is_asked_for_is_used) {
  // A shell that takes no names for "*". Its trace, -x, would come by another pipe than its output.
  EXPECT_THAT(
      built("FROM box\nSHELL [\"/bin/busybox\", \"sh\", \"-efc\"]\nRUN echo no names for: *\n"),
      HasSubstr("\nno names for: *\n"));
  EXPECT_THAT(refused("FROM box\nSHELL [\"/bin/sh\", \"-o\", \"pipefail\", \"-c\"]\n"
                      "RUN false | cat\n"),
              HasSubstr("failed with exit code 1"));
}

TEST_F(DockerfileBuildTest, triggers_run_once_in_the_stage_that_starts_from_theirs) {
  const auto said = built(
      "FROM box AS template\nONBUILD RUN echo triggered >> /page\nONBUILD ENV SET=yes\n"
      "FROM template\nRUN echo \"page=$(cat /page) set=$SET\"\n");
  EXPECT_THAT(said, HasSubstr("page=triggered set=yes\n"));
}

TEST_F(DockerfileBuildTest, an_option_of_a_command_is_no_image) {
  const auto said = built("FROM box\nRUN echo --from=staging --mount=type=x --to=/srv\n");
  EXPECT_THAT(said, HasSubstr("--from=staging --mount=type=x --to=/srv\n"));
  EXPECT_THAT(said, Not(HasSubstr("Pulling")));
}

TEST_F(DockerfileBuildTest, mounts_are_there_for_their_step) {
  const auto said = built(
      "FROM box AS made\nRUN mkdir /out && echo of a stage > /out/f\nFROM box\n"
      "RUN --mount=target=/ctx cat /ctx/note\n"
      "RUN --mount=type=bind,source=sub,target=/w,rw echo written > /w/new && cat /w/new\n"
      "RUN --mount=from=made,source=/out,dst=/o cat /o/f\n"
      "RUN --mount=type=tmpfs,target=/t --mount=type=secret,id=none,target=/s "
      "--mount=type=cache,target=/c touch /t/x /c/x && ls /s 2>&1 || true\n"
      "RUN test ! -e /t/x && test ! -e /c/x && test ! -e /w/new && echo gone\n"
      "WORKDIR /here\nRUN --mount=target=. --mount=type=cache,target=../kept sed s/of/from/ note; "
      "touch ../kept/x\n",
      {{"note", "of the context\n"}, {"sub/f", ""}});
  EXPECT_THAT(said, HasSubstr("of the context\n"));
  EXPECT_THAT(said, HasSubstr("written\n"));
  EXPECT_THAT(said, HasSubstr("of a stage\n"));
  EXPECT_THAT(said, HasSubstr("there is no build secret 'none'"));
  EXPECT_THAT(said, HasSubstr("gone\n"));
  EXPECT_THAT(said, HasSubstr("\nfrom the context\n"));
  EXPECT_FALSE(std::filesystem::exists(folder("app") / "sub/new"));
}

// Reported of buildah: a second push went live with the first one's content.
TEST_F(DockerfileBuildTest, what_a_step_has_mounted_counts_in_its_cache_key) {
  for (const char* mount :
       {"target=/m", "source=sub,target=/m", "type=bind,target=/m",
        "type=bind,source=sub/f,target=/m/sub/f", "from=made,source=/c,target=/m"}) {
    const auto dockerfile =
        "FROM box AS made\nCOPY sub /c/sub\nFROM box\nRUN --mount=" + std::string(mount) +
        " find /m -name f -exec cat {} + > /page\n";
    built(dockerfile, {{"sub/f", "first"}});
    const auto first = last_.image_id;
    built(dockerfile, {{"sub/f", "second"}});
    EXPECT_NE(last_.image_id, first) << mount;
  }
}

// Each checkout has times of its own, which buildah would count.
TEST_F(DockerfileBuildTest, a_step_runs_again_only_when_what_it_mounts_is_another) {
  const auto step = [](const std::string& options) {
    return "RUN --mount=" + options + " find /m -name f -exec cat {} + && echo it ran\n";
  };
  for (const std::string options : {"target=/m", "type=bind,source=sub,target=/m",
                                    "source=sub/f,target=/m/f", "target=/m,source=/sub,rw"}) {
    const bool is_of_all = options == "target=/m";
    const auto dockerfile = "FROM box\n" + step(options);
    built(dockerfile, {{".dockerignore", "*.log\n"}, {"sub/f", "one\n"}, {"other", "one\n"}});
    const auto first = last_.image_id;
    for (const auto* name : {"sub/f", "sub", "other", "Dockerfile"}) {
      std::filesystem::last_write_time(
          folder("app") / name,
          std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
    }
    EXPECT_THAT(built(dockerfile, {{"a.log", options}}),
                AllOf(HasSubstr("echo it ran\n--> Using cache"), Not(HasSubstr("\nit ran\n"))))
        << options;
    EXPECT_EQ(last_.image_id, first) << options;
    const auto of_another_file = built(dockerfile, {{"other", "two\n"}});
    EXPECT_EQ(of_another_file.find("\nit ran\n") != std::string::npos, is_of_all) << options;
    const auto of_its_own = built(dockerfile, {{"sub/f", "two\n"}});
    EXPECT_THAT(of_its_own, HasSubstr("two\nit ran\n")) << options;
    EXPECT_NE(last_.image_id, first) << options;
    // And what it was before is known again.
    const auto back = built(dockerfile, {{"sub/f", "one\n"}, {"other", "one\n"}});
    EXPECT_THAT(back, Not(HasSubstr("\nit ran\n"))) << options;
    EXPECT_EQ(last_.image_id, first) << options;
  }
}

TEST_F(DockerfileBuildTest, what_the_file_continues_is_what_docker_continues) {
  const auto said = built(
      "FROM box\nENV A one two\nENV B=\"x y\" C=z\\ w D='$A'\nARG E=${A%two}end\n"
      "RUN echo \"$A|$B|$C|$D|$E\" \\\n  # a comment\n\n  && echo more\n"
      "RUN echo `echo tick`\nWORKDIR /w\nWORKDIR x\nCOPY [\"note\", \"./with space\"]\n"
      "RUN pwd; ls\n",
      {{"note", ""}});
  EXPECT_THAT(said, HasSubstr("one two|x y|z w|$A|one end\nmore\n"));
  EXPECT_THAT(said, HasSubstr("tick\n"));
  EXPECT_THAT(said, HasSubstr("/w/x\nwith space\n"));
}

TEST_F(DockerfileBuildTest, an_ignore_file_may_leave_out_the_dockerfile_and_all_else) {
  const auto said = built("FROM box\nCOPY note /note\nRUN cat /note\n",
                          {{"note", "kept\n"}, {".dockerignore", "*\n!note\n!busybox\n"}});
  EXPECT_THAT(said, HasSubstr("kept\n"));
}

TEST_F(DockerfileBuildTest, an_image_that_cannot_be_had_is_told_with_its_line) {
  EXPECT_THAT(
      refused("FROM box AS builder\nFROM box\nCOPY --from=localhost/atlasflow-base/no:1 /x /\n"),
      HasSubstr("Dockerfile, line 7: the base image localhost/atlasflow-base/no:1 is not"));
  EXPECT_THAT(refused("FROM box AS builder\nFROM box\nCOPY --from=build /x /\n"),
              HasSubstr("; if build was meant to be a stage, there are only box, builder"));
}

TEST_F(DockerfileBuildTest, what_cannot_be_built_is_refused_before_anything_runs) {
  EXPECT_THAT(refused("FROM box\nRUN echo ran\nADD https://example.com/x.git /x/\n"),
              HasSubstr("Dockerfile, line 7: ADD of a Git repository"));
  EXPECT_THAT(log("b-1"), Not(HasSubstr("ran")));
}

}  // namespace
}  // namespace atlasflow::builder
