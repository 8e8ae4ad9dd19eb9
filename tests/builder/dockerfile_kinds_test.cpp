// Kinds of Dockerfiles that people bring, built: what each step finds is what Docker's own builder
// gives it. Beside dockerfile_build_test.cpp, whose cases are of single public reports.
#include <unistd.h>

#include "tests/builder/dockerfile_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class DockerfileKindsTest : public BoxBuildTest {
 protected:
  // What COPY . takes of the files, by the ignore file.
  std::string taken(const std::string& ignore, const std::vector<std::string>& names) {
    std::filesystem::remove_all(folder("app"));
    put_busybox("app");
    Files files = {{".dockerignore", ignore}};
    for (const auto& name : names) files.emplace_back(name, name);
    const auto said = built(
        "FROM box\nRUN --mount=type=bind,target=/ctx true\nCOPY . /all/\n"
        "RUN echo \"taken=$(cd /all && find . -type f | sort | grep -v -e busybox -e ockerfile -e "
        "ignore | tr '\\n' ' ')\"\n",
        files);
    const auto at = said.find("\ntaken=") + 7;
    return said.substr(at, said.find('\n', at) - at);
  }
};

// By the rules of Docker's own reader of ignore files: a byte order mark, line ends of Windows,
// spaces, slashes at both ends, "./", and the same behind a "!".
TEST_F(DockerfileKindsTest, an_ignore_file_means_what_it_means_to_docker) {
  const std::vector<std::string> names = {"a.md",        "b.md",  "s/keep",
                                          "s/drop",      "s/t/x", "n/pkg/f.js",
                                          "n/keep/f.js", "x y",   "deep/er/a.log"};
  EXPECT_EQ(taken("\xEF\xBB\xBF*.md\r\n!/b.md\r\n# a comment\r\n  s/*  \r\n! s/keep\r\n./n/\r\n"
                  "x y\r\n/deep\r\n",
                  names),
            "./b.md ./s/keep ");
  EXPECT_EQ(taken("**\n!busybox\n!s\n!./n/keep/\ns/t\n", names),
            "./n/keep/f.js ./s/drop ./s/keep ");
  EXPECT_EQ(taken("*\n!/busybox\n!s/**\n!n\nn/pkg\n", names),
            "./n/keep/f.js ./s/drop ./s/keep ./s/t/x ");
  EXPECT_EQ(taken("**/*.log\nn\n!n/keep\n*.md\ns/**\n!s/t\n", names),
            "./n/keep/f.js ./s/t/x ./x y ");
  EXPECT_EQ(taken("[ab].md\n?/drop\n**/pkg\n*/er\nx\\ y\n", names),
            "./n/keep/f.js ./s/keep ./s/t/x ");
}

TEST_F(DockerfileKindsTest, variables_have_all_of_dockers_forms_wherever_docker_knows_them) {
  const auto said = built(
      "FROM box\nARG V=v1.2.3-rc\nARG NONE\n"
      "ENV A=${V#v} B=${V%-*} C=${V/./_} D=${NONE-d} E=${V+set} F=${NONE:-${V}} G=${V//./}\n"
      "ENV H=\"${V##*.}\" I=${V%%.*}x J='${V#v}' K=\\${V#v} L=${UNSET:+no}\n"
      "WORKDIR /w/${V%%.*}\nCOPY note ${V#v}/${NONE:-x}\n"
      "RUN echo \"$A|$B|$C|$D|$E|$F|$G|$H|$I|$J|$K|$L|$(pwd)|$(cat 1.2.3-rc/x)\"\n"
      "LABEL v=${V#v}\nEXPOSE ${PORT:-80}\nUSER ${V:+joe}\nRUN id -un\n",
      {{"note", "noted"}});
  EXPECT_THAT(said, HasSubstr("1.2.3-rc|v1.2.3|v1_2.3-rc|d|set|v1.2.3-rc|v123-rc|3-rc|v1x|${V#v}|"
                              "${V#v}||/w/v1|noted\n"));
  EXPECT_THAT(said, HasSubstr("\njoe\n"));
}

TEST_F(DockerfileKindsTest, here_documents_of_every_form_are_what_the_shell_or_the_file_gets) {
  const std::string wide(100'000, 'w');
  const auto said = built(
      "FROM box\nARG A=put-in\n"
      "RUN <<-EOF cat > /tabs && cat - <<'B C' >> /tabs\n\tone\n\t\ttwo\n\tEOF\nthree $A \\\n"
      "four\nB C\nRUN cat /tabs; echo end\n"
      "COPY <<EOF <<\"raw\" /d/\n\"$A\" \\$A ${A:-x} #no comment\n\nEOF \nEOF\n$A\nraw\n"
      "RUN cat /d/EOF /d/raw\n"
      "COPY <<wide /d/\n" +
      wide +
      "\nwide\nRUN stat -c 'wide=%s' /d/wide\n"
      "RUN <<EOF\n#!/bin/busybox sh\n# FROM nowhere\necho by $0 | sed 's/.*/ran/'\nEOF\n"
      "ADD --chmod=600 <<f /d/\n1\nf\nRUN stat -c 'mode=%a' /d/f\n"
      "RUN 3<<one 4<<two cat /dev/fd/3 /dev/fd/4\nthis\none\nthat\ntwo\n");
  EXPECT_THAT(said, HasSubstr("one\ntwo\nthree $A \\\nfour\nend\n"));
  EXPECT_THAT(said, HasSubstr("\"put-in\" $A put-in #no comment\n\nEOF \n$A\n"));
  EXPECT_THAT(said, HasSubstr("wide=100001\n"));
  EXPECT_THAT(said, HasSubstr("\nran\n"));
  EXPECT_THAT(said, HasSubstr("mode=600\n"));
  EXPECT_THAT(said, HasSubstr("this\nthat\n"));
}

TEST_F(DockerfileKindsTest, a_file_of_windows_is_read_as_any_other) {
  const auto said = built(
      "FROM box\r\nARG A=1\r\nRUN echo a=$A && \\\r\n# a comment\r\n\r\n  echo b\r\n"
      "COPY <<EOF /f\r\nx\r\nEOF\r\nRUN <<EOF\r\necho here\r\necho there\r\nEOF\r\n"
      "ENV X=\"y\"\r\nRUN echo \"[$X]\"; wc -l < /f\r\n");
  EXPECT_THAT(said, HasSubstr("a=1\nb\n"));
  EXPECT_THAT(said, HasSubstr("here\nthere\n"));
  EXPECT_THAT(said, HasSubstr("[y]\n1\n"));
}

TEST_F(DockerfileKindsTest, names_of_files_are_found_as_docker_finds_them) {
  write(folder("app") / std::string("caf\xE9"), "latin");
  write(folder("app") / "line\nbreak", "two");
  write(folder("app") / "[x].txt", "bracket");
  std::filesystem::create_symlink("note", folder("app") / "link");
  std::filesystem::create_symlink("/etc/passwd", folder("app") / "out");
  const auto said = built(
      "FROM box\nCOPY [\"a b.txt\", \"/d/\"]\nCOPY *.cfg n?te /d/\nCOPY [[]x].txt /d/\n"
      "COPY sub /s\nCOPY sub/ /s2/\nCOPY . /all\nCOPY --chown=joe:1234 note /d/deep/er/\n"
      "RUN ls /d | tr '\\n' ' '; ls /s /s2 | tr '\\n' ' '; ls -n /d/deep/er | tail -1; "
      "ls /all | wc -l; readlink /all/link; readlink /all/out\n",
      {{"a b.txt", "1"}, {"one.cfg", ""}, {"two.cfg", ""}, {"note", "n"}, {"sub/f", ""}});
  EXPECT_THAT(said, HasSubstr("[x].txt a b.txt deep note one.cfg two.cfg "));
  EXPECT_THAT(said, HasSubstr("/s: f  /s2: f "));
  EXPECT_THAT(said, HasSubstr(" 1234     1234 "));
  EXPECT_THAT(said, HasSubstr("note\n/etc/passwd\n"));
}

TEST_F(DockerfileKindsTest, what_is_not_there_is_told_with_the_line) {
  EXPECT_THAT(refused("FROM box\nCOPY gone /d/\n"), HasSubstr("Dockerfile, line 6: "));
  EXPECT_THAT(refused("FROM box\nCOPY --from=box /gone /d/\n"), HasSubstr("line 6: "));
  EXPECT_THAT(refused("FROM box\nCOPY --chown=nobody-there busybox /d/\n"), HasSubstr("line 6: "));
  EXPECT_THAT(refused("FROM box\nUSER nobody-there\nRUN true\n"), HasSubstr("line 7: "));
  EXPECT_THAT(refused("FROM box\nCOPY <<EOF /d/\nx\n"), HasSubstr("line 6: the here-document"));
  EXPECT_THAT(refused("FROM box\nSHELL [\"/bin/none\", \"-c\"]\nRUN true\n"),
              HasSubstr("line 7: "));
}

TEST_F(DockerfileKindsTest, what_one_instruction_sets_another_one_changes) {
  const auto said = built(
      "FROM box AS first\nSHELL [\"/bin/busybox\", \"sh\", \"-exc\"]\nENV A=1 PATH=/x:$PATH\n"
      "WORKDIR /w\nWORKDIR sub\nUSER joe\nVOLUME [\"/v\"]\nCMD [\"old\"]\n"
      "LABEL a=1 \\\n  b=\"two words\"\n"
      "FROM first\nRUN echo \"shell $A $(pwd) $(id -u)\"\nUSER 0\n"
      "RUN mkdir -p /v && echo kept > /v/f\n"
      "RUN cat /v/f\nENV A=$A$A B=$A\nRUN echo \"a=$A b=$B path=$PATH\"\nUSER 4242:4242\n"
      "RUN id -u; id -g\nEXPOSE 80/TCP 8000-8002 53/udp\nSTOPSIGNAL SIGINT\nHEALTHCHECK NONE\n");
  EXPECT_THAT(said, HasSubstr("+ echo 'shell 1 /w/sub 1234'"));
  EXPECT_THAT(said, HasSubstr("\nkept\n"));
  EXPECT_THAT(said, HasSubstr("a=11 b=1 path=/x:"));
  EXPECT_THAT(said, HasSubstr("\n4242\n"));
}

TEST_F(DockerfileKindsTest, archives_are_unpacked_by_add_and_not_by_copy) {
  const auto said = built(
      "FROM box AS packed\nRUN mkdir /p && echo in > /p/f && tar -C /p -czf /a.tar.gz f\n"
      "FROM box\nCOPY --from=packed /a.tar.gz /c/\n"
      "RUN --mount=from=packed,source=/a.tar.gz,target=/m.tgz tar -xzf /m.tgz -C /tmp\n"
      "RUN ls /c; cat /tmp/f\n");
  EXPECT_THAT(said, HasSubstr("a.tar.gz\nin\n"));
}

TEST_F(DockerfileKindsTest, mounts_take_the_options_that_docker_documents) {
  const auto said = built(
      "FROM box AS made\nRUN mkdir /out && echo of a stage > /out/f\nFROM box\nARG ID=kept\n"
      "RUN --mount=type=cache,id=$ID,target=/c,sharing=locked,uid=1234,gid=1234,mode=0750 "
      "stat -c 'cache=%u %g %a' /c; echo 1 > /c/f\n"
      "RUN --mount=type=cache,id=${ID},target=/other,readonly cat /other/f; touch /other/g || echo "
      "read only\n"
      "RUN --mount=type=cache,from=made,source=/out,target=/seeded cat /seeded/f\n"
      "RUN --mount=type=tmpfs,target=/t,size=1048576 df -k /t | tail -1 | awk '{print \"kib=\" "
      "$2}'\n"
      "RUN --network=none --mount=type=bind,from=made,source=/out,target=/o,readonly=true "
      "cat /o/f; ip -o link | wc -l | sed 's/^/links=/'\n");
  EXPECT_THAT(said, HasSubstr("cache=1234 1234 750\n"));
  EXPECT_THAT(said, HasSubstr("1\n"));
  EXPECT_THAT(said, HasSubstr("read only\n"));
  EXPECT_THAT(said, HasSubstr("of a stage\n"));
  EXPECT_THAT(said, HasSubstr("kib=1024\n"));
  EXPECT_THAT(said, HasSubstr("links=1\n"));
}

// Docker never sends what is ignored, so no step can take it along.
TEST_F(DockerfileKindsTest, what_is_ignored_is_in_no_mount_of_the_context_either) {
  std::filesystem::remove_all(folder("app"));
  put_busybox("app");
  std::filesystem::create_symlink("sub", folder("app") / "link");
  const Files files = {
      {".env", "KEY=1"},
      {"note", "n"},
      {"sub/keep", "k"},
      {"sub/drop.log", "d"},
      {"gone/a", ""},
      {"gone/deep/kept/x", "x"},
      {"gone/deep/y", ""},
      {"mods/m/i", ""},
      {"only/a.log", ""},
      {".dockerignore",
       ".env\n.dockerignore\nDockerfile\n**/*.log\ngone\n!gone/deep/kept\nmods\n"}};
  const std::string show =
      "find . -mindepth 1 ! -type d | grep -v busybox | sort | tr '\\n' ' '; ls -d only gone/deep "
      "mods 2>/dev/null | tr '\\n' ' '";
  const std::string dockerfile =
      "FROM box\nCOPY . /all\nWORKDIR /all\nRUN echo \"copied=$(" + show +
      ")\"\nRUN --mount=type=bind,target=/all echo \"mounted=$(" + show +
      ")\"; stat -c 'sub=%u %a' sub\nRUN --mount=type=bind,source=sub,target=/s ls /s\n";
  const auto said = built(dockerfile, files);
  const std::string seen = "./gone/deep/kept/x ./link ./note ./sub/keep gone/deep only ";
  EXPECT_THAT(said, HasSubstr("copied=" + seen + "\n"));
  EXPECT_THAT(said, HasSubstr("mounted=" + seen + "\n"));
  EXPECT_THAT(said, HasSubstr("sub=0 755\n"));
  EXPECT_EQ(read(folder("app") / ".env"), "KEY=1") << "the checkout is as it was";
  // However the mount is written, each in a file of its own; the last is not in the file at all.
  const std::string look = "echo \"hidden=$(cd /ctx && " + show + ")\"";
  put_base("localhost/atlasflow-base/mounts:1",
           busybox_dockerfile("ONBUILD RUN --mount=type=bind,target=/ctx " + look + "\n"));
  for (const std::string& form :
       {"FROM box\nRUN --mount=target=/ctx,type=bind " + look + "\n",
        "FROM box AS template\nONBUILD RUN --mount=target=/ctx " + look + "\nFROM template\n",
        std::string("FROM localhost/atlasflow-base/mounts:1\n")}) {
    EXPECT_THAT(built(form, files), HasSubstr("hidden=" + seen + "\n")) << form;
  }
}

// Triggers of a base image, which no look at the Dockerfile shows.
TEST_F(DockerfileKindsTest, triggers_of_a_base_image_run_in_the_order_in_which_they_were_written) {
  put_base("localhost/atlasflow-base/template:1",
           busybox_dockerfile("ENV FROM_BASE=yes\nONBUILD ARG WHO=nobody\nONBUILD COPY note /n\n"
                              "ONBUILD RUN echo \"by $WHO of $(cat /n)\" > /made\n"));
  write(folder("app") / "note", "a note");
  const auto said = built(
      "FROM localhost/atlasflow-base/template:1\nENV X=${FROM_BASE:+known}\n"
      "RUN echo \"$(cat /made) x=$X\"\n");
  EXPECT_THAT(said, HasSubstr("by nobody of a note x=known\n"));
}

}  // namespace
}  // namespace atlasflow::builder
