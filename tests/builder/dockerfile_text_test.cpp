// What buildah is given to read, so that it means to buildah what the file means to Docker: tables
// of cases. What a Dockerfile means at all is in dockerfile_test.cpp.
#include <gmock/gmock.h>

#include "builder/stack/dockerfile.hpp"
#include "builder/stack/ignore_file.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

Result<DockerfilePlan> plan_of(const std::string& text) {
  // Any base, so that the cases may have short names.
  return plan_dockerfile(text, {"Dockerfile", {}, "", true});
}

TEST(Dockerfile, buildah_reads_one_line_an_instruction_with_the_numbers_of_the_file) {
  const auto plan = plan_of(
      "# syntax=docker/dockerfile:1\n# escape=`\nFROM a:1 AS One\n# comment\nRUN x `\n  # y\n  && "
      "z\n"
      "RUN <<EOF\nFROM b\n  # kept\nEOF\ncopy --LINK=1 x y\n");
  ASSERT_FALSE(plan);  // Flags have the case that Docker gives them.
  const auto right = plan_of(
      "# syntax=docker/dockerfile:1\n# escape=`\nFROM a:1 AS One\n# comment\nRUN x `\n  # y\n  && "
      "z\n"
      "RUN <<EOF\nFROM b\n  # kept\nEOF\ncopy --link --chown=1:2 x y\n");
  ASSERT_TRUE(right) << right.error().message;
  EXPECT_EQ(right->text,
            "# escape=`\n\nFROM docker.io/library/a:1 AS One\n\nRUN x   && z\n\n\n"
            "RUN <<EOF\nFROM b\n  # kept\nEOF\nCOPY --chown=1:2 x y\n");
  EXPECT_THAT(
      right->notes,
      ElementsAre("Dockerfile, line 12: --link, a hint for the layer cache, was taken out"));
}

// buildah knows some of Docker's forms, and of some it makes something else without a word: its
// "*" ends at a slash, and ${X:?why} gives "why".
TEST(Dockerfile, buildah_is_given_the_value_of_what_it_would_read_otherwise) {
  const std::pair<std::string, std::string> cases[] = {
      {"ENV A=${V#v} B=\"${V%-*}\"", "ENV A=1.2-rc B=\"v1.2\""},
      {"ENV A=${PATHS##*/} B=${PATHS%%/*}", "ENV A=c B=a"},
      {"ENV A=${V/./_} B=${V:?no} C=${V+set}${NO-d}", "ENV A=v1_2-rc B=v1.2-rc C=set${NO:-d}"},
      {"ENV A='${V#v}' B=\\${V#v} C=${V} D=$V E=${NO:-${V}} F=${NO:+x}",
       "ENV A='${V#v}' B=\\${V#v} C=${V} D=$V E=${NO:-${V}} F=${NO:+x}"},
      {"ENV A=${NO:-${V#v}} B=\"${NO+${V}$V}\"", "ENV A=${NO:-1.2-rc} B=\"${NO:+${V}$V}\""},
      {"ENV A=${V-${NO#x}}", "ENV A=v1.2-rc"},
      {"ENV Q=${QUOTED#x} R=\"${QUOTED#x}\"", "ENV Q=a\\ \\\"b\\$\\' R=\"a \\\"b\\$'\""},
      {"COPY --chown=${U-1}:1 ${V#v}/x /${V%-rc}/", "COPY --chown=joe:1 1.2-rc/x /v1.2/"},
      {"COPY [\"${V#v} x\", \"/y\"]", "COPY [\"1.2-rc x\",\"/y\"]"},
      {"COPY [\"$V x\", \"/y\"]", "COPY [\"$V x\", \"/y\"]"},
      {"WORKDIR /${V%%.*}", "WORKDIR /v1"},
      {"USER ${U?}", "USER joe"},
      {"LABEL v=\"${V#v}\"", "LABEL v=\"1.2-rc\""},
      {"ARG W=${V#v} X=${W%-rc}", "ARG W=\"1.2-rc\" X=\"1.2\""},
      {"ARG V=${V#v}", "ARG V=\"1.2-rc\""},
      {"RUN echo ${V#v}", "RUN echo ${V#v}"},
      {"CMD echo ${V#v}", "CMD echo ${V#v}"},
  };
  for (const auto& [written, told] : cases) {
    const auto plan = plan_of("FROM a\nARG V=v1.2-rc U=joe PATHS=a/b/c\nARG QUOTED='xa \"b$'\\'\n" +
                              written + "\n");
    ASSERT_TRUE(plan) << written << plan.error().message;
    EXPECT_THAT(plan->text, ::testing::EndsWith("\n" + told + "\n")) << written;
  }
  const auto global = plan_of("ARG V=v1\nARG W=${V#v}\nFROM a:$W\n");
  ASSERT_TRUE(global) << global.error().message;
  EXPECT_THAT(global->text, HasSubstr("ARG W=\"1\"\nFROM docker.io/library/a:1\n"));
}

// Reported of configurations of nginx: "\\$host" became "\\$host" and not "$host".
TEST(Dockerfile, a_here_document_that_is_copied_loses_its_backslashes_as_in_docker) {
  const auto text = [](const std::string& rest) {
    const auto plan = plan_of("FROM a\nARG A=put-in\n" + rest);
    return plan ? plan->text.substr(plan->text.find("A=put-in\n") + 9) : plan.error().message;
  };
  EXPECT_EQ(text("COPY <<EOF /f\n\\$host \"$A\" '\\\\' ${A#put-}\nEOF\n"),
            "COPY <<'EOF' /f\n$host \"put-in\" '\\' in\nEOF\n");
  EXPECT_EQ(text("ADD <<-X <<Y /d/\n\t\\$a\nX\n$A\nY\n"), "ADD <<-'X' <<Y /d/\n\t$a\nX\n$A\nY\n");
  EXPECT_EQ(text("COPY <<E2 <<E /d/\n$A\nE2\n\\$a\nE\n"), "COPY <<E2 <<'E' /d/\n$A\nE2\n$a\nE\n");
  // What has none is buildah's to put in, and what is quoted, or a script, stays as it is.
  for (const char* same : {"COPY <<EOF /f\n$A $SET_BY_THE_BASE\nEOF\n",
                           "COPY <<'EOF' /f\n\\$host\nEOF\n", "RUN <<EOF\necho \\$A\nEOF\n"}) {
    EXPECT_EQ(text(same), same);
  }
  EXPECT_THAT(text("COPY <<EOF /f\n\\$host $uri\nEOF\n"),
              HasSubstr("line 3: the here-document <<EOF has backslashes and $uri, whose value is "
                        "not known"));
}

TEST(Dockerfile, buildah_is_given_names_that_can_only_mean_one_thing) {
  const auto plan = plan_of(
      "ARG V=1\nFROM --platform=$BUILDPLATFORM a:$V AS B\nFROM scratch\nARG T=x\n"
      "COPY --from=b /x /x\nCOPY --from=tool:$T /x /x\n"
      "RUN --mount=type=bind,from=0,target=/y --mount=type=bind,from=c,source=/,target=/z true\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_EQ(plan->text,
            "ARG V=1\nFROM docker.io/library/a:1 AS B\nFROM scratch\nARG T=x\n"
            "COPY --from=B /x /x\nCOPY --from=docker.io/library/tool:x /x /x\n"
            "RUN --mount=type=bind,from=B,target=/y "
            "--mount=type=bind,from=docker.io/library/c:latest,source=/,target=/z true\n");
}

// Without its type, buildah leaves what is mounted out of the layer's cache key.
TEST(Dockerfile, a_mount_is_told_to_buildah_in_full) {
  const std::pair<std::string, std::string> cases[] = {
      {"target=/m", "type=bind,target=/m"},
      {"source=a,dst=/m,rw", "type=bind,source=a,target=/m,rw"},
      {"type=bind,src=$X/b,target=${Y}", "type=bind,source=a/b,target=/y z"},
      {"type=cache,target=$HOME/c", "type=cache,target=$HOME/c"},
      {"'type=tmpfs,\"target=/a,b\"'", "type=tmpfs,\"target=/a,b\""},
  };
  for (const auto& [mount, told] : cases) {
    const auto plan = plan_of("FROM a\nARG X=a\nENV Y=\"/y z\"\nRUN --mount=" + mount + " x\n");
    ASSERT_TRUE(plan) << plan.error().message;
    std::string escaped;
    for (const char c : told) {
      if (c == ' ' || c == '"') escaped += '\\';
      escaped += c;
    }
    EXPECT_THAT(plan->text, HasSubstr("\nRUN --mount=" + escaped + " x\n"));
  }
}

// buildah takes octal modes only. What is in a checkout has 644, 755 or, a folder, 755.
TEST(Dockerfile, a_symbolic_mode_is_told_in_octal_where_it_makes_one_and_the_same_of_all) {
  const std::pair<std::string, std::string> cases[] = {
      {"COPY --chmod=u=rwX,go=rX a /x", "COPY a /x"},
      {"COPY --chmod=go-w --chown=1:2 a /x", "COPY --chown=1:2 a /x"},
      {"COPY --chmod=u=rw,go=r a /x", "COPY --chmod=644 a /x"},
      {"COPY --chmod=a+x a /x", "COPY --chmod=755 a /x"},
      {"COPY --chmod=ugo+x,go-rwx a /x", "COPY --chmod=700 a /x"},
      {"COPY --chmod=a= a /x", "COPY --chmod=0 a /x"},
      {"COPY --chmod=$M a /x", "COPY --chmod=555 a /x"},
      {"COPY --from=0 --chmod=u=rwx,g=rx,o= a /x", "COPY --from=one --chmod=750 a /x"},
      {"ADD --chmod=a=r a /x", "ADD --chmod=444 a /x"},
      {"COPY --chmod=0640 a /x", "COPY --chmod=0640 a /x"},
      {"ONBUILD COPY --chmod=a=rx a /x", "ONBUILD COPY --chmod=555 a /x"},
      {"ONBUILD COPY --chmod=$M a /x", "ONBUILD COPY --chmod=$M a /x"},
  };
  for (const auto& [written, told] : cases) {
    const auto plan = plan_of("FROM a AS one\nFROM a\nCOPY --from=one x x\nARG M=a=rx\n" + written +
                              "\nRUN end\n");
    ASSERT_TRUE(plan) << written << ": " << plan.error().message;
    EXPECT_THAT(plan->text, HasSubstr("\n" + told + "\nRUN end\n")) << written;
  }
}

// With its type, buildah counts the times of the context's files in the key.
TEST(Dockerfile, a_mount_of_the_context_is_named_by_what_it_mounts) {
  DockerfileRequest request{"Dockerfile", {}, "", true};
  request.name_of_part = [](const std::string& source) -> Result<std::string> {
    return source == "absent" ? "" : "part-" + source;
  };
  const std::pair<std::string, std::string> cases[] = {
      {"target=/m", "from=part-,target=/m"},
      {"type=bind,source=a,target=/m,rw", "from=part-a,source=a,target=/m,rw"},
      {"type=bind,src=$X,target=m", "from=part-ab,source=ab,target=/w/m"},
      {"source=absent,target=/m", "type=bind,source=absent,target=/m"},
      {"source=$HOME,target=/m", "type=bind,source=$HOME,target=/m"},
      {"from=one,target=/m", "type=bind,from=one,target=/m"},
      {"type=cache,target=/m", "type=cache,target=/m"},
  };
  for (const auto& [mount, told] : cases) {
    const auto plan = plan_dockerfile(
        "FROM a AS unneeded\nRUN --mount=source=u,target=/u x\n"
        "FROM a AS one\nFROM a\nWORKDIR /w\nARG X=ab\nRUN --mount=" +
            mount + " x\nRUN --mount=" + mount + " y\n",
        request);
    ASSERT_TRUE(plan) << plan.error().message;
    EXPECT_THAT(plan->text, HasSubstr("\nRUN --mount=" + told + " x\n"));
    const bool is_named = told.starts_with("from=");
    const auto name = told.substr(5, told.find(',') - 5);
    EXPECT_EQ(plan->parts, is_named ? std::vector<std::string>{name} : std::vector<std::string>{});
  }
  std::string many = "FROM a\n";
  for (int i = 0; i < 150; ++i)
    many += "RUN --mount=target=/m,source=s" + std::to_string(i) + " x\n";
  const auto plan_of_many = plan_dockerfile(many, request);
  ASSERT_TRUE(plan_of_many) << plan_of_many.error().message;
  EXPECT_EQ(plan_of_many->parts.size(), 100U);
  EXPECT_THAT(plan_of_many->text, HasSubstr("\nRUN --mount=type=bind,target=/m,source=s149 x\n"));
  request.name_of_part = [](const std::string&) -> Result<std::string> {
    return fail(ErrorCode::cancelled, "the build was stopped");
  };
  const auto stopped = plan_dockerfile("FROM a\nRUN --mount=target=/m x\n", request);
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, ErrorCode::cancelled);
  EXPECT_EQ(stopped.error().message, "the build was stopped");
}

// Go's own guide has WORKDIR /src and RUN --mount=target=.
TEST(Dockerfile, the_target_of_a_mount_starts_from_the_working_folder) {
  const std::pair<std::string, std::string> cases[] = {
      {"FROM a\nWORKDIR /src\nRUN --mount=target=. x\n", "type=bind,target=/src x"},
      {"FROM a\nWORKDIR /src/\nWORKDIR sub\nRUN --mount=target=./a/../b x\n",
       "type=bind,target=/src/sub/b x"},
      {"FROM a\nARG D=/w\nWORKDIR $D\nRUN --mount=type=cache,target=.npm x\n",
       "type=cache,target=/w/.npm x"},
      {"FROM scratch\nRUN --mount=type=tmpfs,dst=tmp x\n", "type=tmpfs,target=/tmp x"},
      {"FROM scratch\nRUN --mount=type=tmpfs,dst=/t,size=9 x\n",
       "type=tmpfs,target=/t,tmpfs-size=9 x"},
      {"FROM scratch\nRUN --mount=target=/t,readonly=true x\n", "type=bind,target=/t,ro x"},
      {"FROM scratch\nRUN --mount=target=/t,ro=false x\n", "type=bind,target=/t,rw x"},
      {"FROM scratch\nRUN --mount=type=cache,target=/t,rw=False x\n", "type=cache,target=/t,ro x"},
      {"FROM a AS p\nWORKDIR /p\nFROM p\nRUN --mount=target=c x\n", "type=bind,target=/p/c x"},
      {"FROM a\nWORKDIR $HOME\nWORKDIR /b\nRUN --mount=target=c x\n", "type=bind,target=/b/c x"},
  };
  for (const auto& [text, told] : cases) {
    const auto plan = plan_of(text);
    ASSERT_TRUE(plan) << text << plan.error().message;
    EXPECT_THAT(plan->text, HasSubstr("\nRUN --mount=" + told)) << text;
  }
}

TEST(Dockerfile, what_is_behind_two_dashes_stays_no_flag_when_the_flags_before_it_go) {
  const auto plan = plan_of("FROM a\nRUN --mount=type=ssh -- --from=x y\nONBUILD RUN -- --z\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->text, HasSubstr("\nRUN -- --from=x y\nONBUILD RUN -- --z\n"));
}

TEST(Dockerfile, a_mount_of_what_a_build_is_not_given_is_left_out_and_told) {
  const auto plan = plan_of(
      "FROM a\nRUN --mount=type=secret,id=npm --mount=type=ssh --security=sandbox "
      "--mount=type=cache,target=/c x\n");
  ASSERT_TRUE(plan) << plan.error().message;
  EXPECT_THAT(plan->text, HasSubstr("\nRUN --mount=type=cache,target=/c x\n"));
  EXPECT_THAT(plan->notices, ElementsAre(HasSubstr("line 2: there is no build secret 'npm'"),
                                         HasSubstr("line 2: there is no SSH agent")));
}

TEST(Dockerfile, a_line_that_buildah_could_not_read_is_cut_and_means_the_same) {
  std::string text = "FROM a:1\nRUN echo";
  for (int i = 0; i < 20'000; ++i) text += " \\\n  #x\n word" + std::to_string(i);
  const auto plan = plan_of(text + "\n");
  ASSERT_TRUE(plan) << plan.error().message;
  const auto again = plan_of(plan->text);
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_EQ(plan->text, again->text);
  std::size_t longest = 0;
  for (std::size_t at = 0; at < plan->text.size();) {
    const auto end = plan->text.find('\n', at);
    longest = std::max(longest, end - at);
    at = end + 1;
  }
  EXPECT_LT(longest, 65'000U);
}

TEST(Dockerfile, a_health_check_is_told_to_be_another) {
  const std::string base = "FROM a AS base\nHEALTHCHECK --interval=5s CMD curl -f http://x/\n";
  const std::pair<std::string, int> cases[] = {{base, 2},
                                               {base + "FROM base\n", 2},
                                               {base + "FROM base\nHEALTHCHECK NONE\n", 0},
                                               {base + "FROM base\nHEALTHCHECK CMD [\"x\"]\n", 4},
                                               {base + "FROM b\nCOPY --from=base x y\n", 0}};
  for (const auto& [text, line] : cases) {
    const auto plan = plan_of(text);
    ASSERT_TRUE(plan) << plan.error().message;
    if (line == 0) {
      EXPECT_THAT(plan->notices, IsEmpty()) << text;
      continue;
    }
    EXPECT_THAT(plan->notices, ElementsAre(HasSubstr("Dockerfile, line " + std::to_string(line) +
                                                     ": HEALTHCHECK is not run")));
  }
}

TEST(IgnoreFile, is_read_by_dockers_rules) {
  const auto plain = [](std::string_view text) {
    const auto read = plain_ignore_file(text, ".dockerignore");
    EXPECT_TRUE(read) << text;
    return read.value_or("?");
  };
  EXPECT_EQ(plain("\xEF\xBB\xBF*.md\r\n# a comment\r\n!/README.md \r\n"), "*.md\n!README.md\n");
  EXPECT_EQ(plain("  a/ \n! ./b//c/\n/\n.\n\n\t\n/d/../e\n../../f\n/../g\n"), "a\n!b/c\ne\ng\n");
  EXPECT_EQ(plain(" #x\n!#y\n#z"), "\\#x\n!#y\n");
  EXPECT_EQ(plain("**/[a-z]*/\\[x]\n**\n*/x y"), "**/[a-z]*/\\[x]\n**\n*/x y\n");
}

TEST(IgnoreFile, that_docker_refuses_is_refused_with_its_line) {
  for (const char* wrong : {"!", "a[", "[]", "[^]", "x\\", "[a\\]"}) {
    const auto read = plain_ignore_file(std::string("ok\n") + wrong + "\n", "web.dockerignore");
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error().code, ErrorCode::user_error);
    EXPECT_THAT(read.error().message, HasSubstr("web.dockerignore, line 2: '"));
  }
}

}  // namespace
}  // namespace atlasflow::builder
