// What a Dockerfile means before anything runs: tables of cases, most of them from what Docker's
// own builder documents or what people reported of others.
#include "builder/stack/dockerfile.hpp"

#include <gmock/gmock.h>

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::Not;

using Args = std::vector<std::pair<std::string, std::string>>;

Result<DockerfilePlan> plan_of(const std::string& text, Args args = {},
                               const std::string& target = "") {
  // Any base, so that the cases may have short names; check_base_image has a test of its own.
  return plan_dockerfile(text, {"Dockerfile", std::move(args), target, true});
}

std::string hub(const std::string& name) { return "docker.io/library/" + name; }

struct ImagesCase {
  std::string text;
  std::vector<std::string> images;  // of Docker Hub's library
  Args args{};
  std::string target{};
};

void expect_images(const std::vector<ImagesCase>& cases) {
  for (const auto& each : cases) {
    const auto plan = plan_of(each.text, each.args, each.target);
    ASSERT_TRUE(plan) << each.text << plan.error().message;
    std::vector<std::string> names;
    for (const auto& image : plan->images) names.push_back(image.value);
    std::vector<std::string> wanted;
    for (const auto& image : each.images) wanted.push_back(hub(image));
    EXPECT_THAT(names, ElementsAreArray(wanted)) << each.text;
  }
}

TEST(Dockerfile, the_images_that_its_stages_start_from_are_found) {
  expect_images({
      {"FROM debian:bookworm-slim\nRUN x\n", {"debian:bookworm-slim"}},
      {"from scratch\n", {}},
      {"# FROM a\n\n   FROM --platform=linux/amd64 b AS c\r\n", {"b:latest"}},
      {"\xEF\xBB\xBF"
       "FROM a:1\n",
       {"a:1"}},
      {"FROM a:1 AS one\r\nFROM one\r\nFROM b:1 as Two\r\nFROM two\r\nCOPY --from=TWO /x /x\r\n",
       {"b:1"}},
      {"FROM a:1\nCOPY --from=tools:1 /x /x\n", {"a:1", "tools:1"}},
      {"FROM a:1\nFROM b:1\nCOPY --from=0 /x /x\n", {"a:1", "b:1"}},
      {"FROM a:1\nRUN --mount=type=bind,from=b:1,target=/x true\n", {"a:1", "b:1"}},
      {"FROM a:1\nRUN --mount=type=cache,'\"target=/a,b\"',from=c:1 true\n", {"a:1", "c:1"}},
      {"FROM a:1\nFROM a:1\n", {"a:1"}},
      {"FROM \"a:1\"\n", {"a:1"}},
  });
}

// Reported of a library that looked for words: images were fetched that nobody had asked for.
TEST(Dockerfile, a_flag_counts_only_right_behind_the_instruction) {
  expect_images({
      {"FROM a:1\nRUN fetch --from=staging --to=/srv\n", {"a:1"}},
      {"FROM a:1\nRUN -- --mount=type=bind,from=b:1,target=/x\n", {"a:1"}},
      {"FROM a:1\nCOPY x --from=b:1 /y\n", {"a:1"}},
      {"FROM a:1\nCMD [\"x\", \"--from=b:1\"]\nLABEL a=\"--from=b:1\"\n", {"a:1"}},
      {"FROM a:1\nRUN echo FROM b:1\nENV X=\"FROM c\"\n", {"a:1"}},
  });
}

TEST(Dockerfile, what_a_here_document_holds_is_no_instruction) {
  expect_images({
      {"FROM a:1\nRUN <<EOF\nFROM b:1\nCOPY --from=c:1 x y\nEOF\nCOPY --from=d:1 x y\n",
       {"a:1", "d:1"}},
      {"FROM a:1\nCOPY <<-'END' <<\"B C\" /x/\n\tFROM b:1\n\tEND\nFROM c:1\nB C\n", {"a:1"}},
      {"FROM a:1\nRUN python3 - 3<<X <<Y > /z\nFROM b\nX\nFROM c\nY\nFROM d:1\n", {"d:1"}},
      {"FROM a:1\nRUN cat <<< \"$X\" && echo $((1<<2)) && x << y\nFROM b:1\n", {"b:1"}},
      {"FROM a:1\nRUN [\"sh\", \"-c\", \"cat <<EOF\"]\nFROM b:1\n", {"b:1"}},
      {"FROM a:1\nRUN <<EOF\r\nFROM b\r\nEOF\r\nCOPY --from=c:1 x y\r\n", {"a:1", "c:1"}},
      {"FROM a:1\nCMD x <<EOF\nFROM b:1\n", {"b:1"}},
  });
}

TEST(Dockerfile, lines_continue_as_in_docker) {
  expect_images({
      {"FROM \\\n# a comment between\n  a:1\n", {"a:1"}},
      {"FROM a:1\nRUN x \\\n\n   # comment\n\n  && y\nCOPY --from=b:1 x y\n", {"a:1", "b:1"}},
      {"FROM a:1\nRUN x \\  \t\nFROM b:1\nCOPY --from=c:1 x y\n", {"a:1", "c:1"}},
      // A backtick continues nothing, unless the file says so at its top.
      {"FROM a:1\nRUN echo `date`\nFROM b:1\n", {"b:1"}},
      {"FROM a:1\nRUN echo `\nFROM b:1\n", {"b:1"}},
      {"# escape=`\nFROM a:1\nRUN echo `\nFROM b:1\nRUN echo \\\nFROM c:1\n", {"c:1"}},
      {"# syntax=docker/dockerfile:1\n#ESCAPE = `\nFROM `\n a:1\n", {"a:1"}},
      {"# a comment\n# escape=`\nFROM a:1\nRUN x `\nFROM b:1\n", {"b:1"}},
      {"\n# escape=`\nFROM a:1\nRUN x `\nFROM b:1\n", {"b:1"}},
      {"# unknown=1\n# escape=`\nFROM a:1\nRUN x `\nFROM b:1\n", {"b:1"}},
      {"FROM a:1\nRUN x \\", {"a:1"}},
  });
}

TEST(Dockerfile, arguments_have_the_scope_that_docker_gives_them) {
  expect_images({
      {"ARG TAG=1\nFROM a:$TAG\nFROM b:${TAG}\nCOPY --from=0 x y\n", {"a:1", "b:1"}},
      {"ARG TAG=1\nFROM a:$TAG\n", {"a:2"}, {{"TAG", "2"}}},
      {"ARG TAG\nFROM a:${TAG:-3}\n", {"a:3"}},
      {"ARG A=x B=$A-y\nFROM $B\n", {"x-y:latest"}},
      {"ARG A='x' B=\"$A\" C=\\$A\nFROM $B\n", {"x:latest"}},
      // An unset variable is empty, as long as a name of an image is left.
      {"ARG REGISTRY\nFROM ${REGISTRY}a:1\n", {"a:1"}},
      {"FROM base-${TARGETARCH}\n", {"base-amd64:latest"}},
      {"FROM --platform=$BUILDPLATFORM a:1\n", {"a:1"}},
      {"FROM --platform=${TARGETPLATFORM} a:1-$TARGETOS$TARGETVARIANT\n", {"a:1-linux"}},
      // A global one is in a stage only when the stage declares it.
      {"ARG T=1\nFROM a:1\nARG T\nCOPY --from=b:$T x y\n", {"a:1", "b:1"}},
      {"ARG T=1\nFROM a:1\nARG T=2\nCOPY --from=b:$T x y\n", {"a:1", "b:2"}},
      {"FROM a:1\nARG T=2\nENV T=3\nARG T=4\nCOPY --from=b:$T x y\n", {"a:1", "b:3"}},
      {"FROM a:1\nENV X=1 Y=$X\nENV X=2 Z=\"$X\"\nCOPY --from=b:$Z x y\n", {"a:1", "b:1"}},
      {"FROM a:1\nENV X the rest\nCOPY --from=\"b:${X% rest}\" x y\n", {"a:1", "b:the"}},
      {"FROM a:1 AS p\nARG T=7\nFROM p\nCOPY --from=b:$T x y\n", {"a:1", "b:7"}},
  });
}

TEST(Dockerfile, variables_take_the_forms_of_docker) {
  const std::pair<std::string, std::string> cases[] = {{"a$X", "aone"},
                                                       {"a${X}b", "aoneb"},
                                                       {"${X:-y}", "one"},
                                                       {"${U:-y}", "y"},
                                                       {"${U-y}", "y"},
                                                       {"${E:-y}", "y"},
                                                       {"x${E-y}", "x"},
                                                       {"${X:+y}", "y"},
                                                       {"x${U:+y}", "x"},
                                                       {"x${E:+y}", "x"},
                                                       {"${E+y}", "y"},
                                                       {"${U:-${X}-2}", "one-2"},
                                                       {"${P#*/}", "b/c.tar"},
                                                       {"${P##*/}", "c.tar"},
                                                       {"${P%/*}", "a/b"},
                                                       {"${P%%/*}", "a"},
                                                       {"${P/b/z}", "a/z/c.tar"},
                                                       {"${P//a/z}", "z/b/c.tzr"},
                                                       {"'$X'b", ""},
                                                       {"\"$X\"b", "oneb"},
                                                       {"${P%.tar}", "a/b/c"},
                                                       {"${P/\\//-}", "a-b/c.tar"},
                                                       {"${X:?must}", "one"},
                                                       {"x${P#?}", "x/b/c.tar"}};
  for (const auto& [word, value] : cases) {
    const auto plan =
        plan_of("ARG X=one\nARG E=\nARG P=a/b/c.tar\nFROM i:1 AS x\nFROM " + word + "\n");
    if (value.empty()) {
      EXPECT_FALSE(plan) << word;
      continue;
    }
    ASSERT_TRUE(plan) << word << plan.error().message;
    EXPECT_EQ(plan->images.front().value, full_image_name(value == "x" ? "i:1" : value)) << word;
  }
}

// It may not exist at all: a stage for another platform, for tests, for development.
TEST(Dockerfile, images_of_stages_that_the_target_does_not_need_are_not_asked_for) {
  const std::string three =
      "FROM a:1 AS base\nFROM absent:1 AS test\nCOPY --from=alsoabsent:1 x y\nFROM base AS prod\n"
      "FROM c:1 AS dev\n";
  expect_images({
      {three, {"a:1"}, {}, "prod"},
      {three, {"a:1"}, {}, "PROD"},
      {three, {"a:1"}, {}, "2"},
      {three, {"c:1"}},
      {three, {"absent:1", "alsoabsent:1"}, {}, "test"},
      {"FROM a:1 AS base-amd64\nFROM b:1 AS base-arm64\nFROM base-${TARGETARCH}\n", {"a:1"}},
      {"FROM --platform=linux/arm64 a:1 AS arm\nFROM b:1\n", {"b:1"}},
      {"FROM 127.0.0.1/x AS other\nFROM b:1\n", {"b:1"}},
      {"FROM a:1 AS x\nFROM b:1 AS y\nFROM c:1\nRUN --mount=from=y,target=/y true\n",
       {"b:1", "c:1"}},
      // What a trigger needs is needed by who starts from its stage.
      {"FROM a:1 AS x\nONBUILD COPY --from=t:1 x y\nFROM x\n", {"a:1", "t:1"}},
      {"FROM a:1 AS x\nONBUILD COPY --from=t:1 x y\n", {"a:1"}},
  });
  const auto plan = plan_of(three, {}, "PROD");
  ASSERT_TRUE(plan);
  EXPECT_EQ(plan->target, "prod");
  EXPECT_THAT(plan->stages, ElementsAre("base", "test", "prod", "dev"));
  EXPECT_THAT(plan->text, Not(HasSubstr("absent")));
  EXPECT_THAT(plan->notes, ElementsAre("stages that the image does not need: test, dev"));
}

TEST(Dockerfile, what_cannot_be_built_is_refused_with_its_line) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "Dockerfile: there is no FROM"},
      {"\\\n", "Dockerfile: there is no FROM"},
      {"RUN x\nFROM a\n", "line 1: RUN comes before the first FROM"},
      {"FROM\n", "line 1: FROM has nothing behind it"},
      {"FROM a b\n", "line 1: FROM is followed by an image"},
      {"FROM a\nFRM b\n", "line 2: there is no instruction 'FRM'"},
      {"FROM a AS 1st\n", "line 1: '1st' cannot be the name of a stage"},
      {"FROM a AS x\nFROM b AS X\n", "line 2: there is a stage 'X' already, in line 1"},
      {"FROM ${UNCLOSED\n", "line 1: ${UNCLOSED"},
      {"FROM a:$NOTHING\n", "line 1: FROM a:$NOTHING has no value: declare ARG NOTHING"},
      {"FROM a\nARG TAG=1\nFROM b:$TAG\n", "line 3: FROM b:$TAG has no value"},
      {"FROM ${X:?set it}\n", "line 1: X: set it"},
      {"FROM ${X^^}\n", "line 1: ${X…} is not a form that Docker knows"},
      {"FROM Debian\n", "line 1: 'Debian' is no name of an image"},
      {"FROM a:\n", "line 1: 'a:' is no name of an image"},
      {"FROM --platform=linux/arm64 a\n", "line 1: FROM --platform=linux/arm64: this machine"},
      {"FROM a\nRUN <<EOF\nx\n", "line 2: the here-document <<EOF has no end"},
      {"FROM a\nRUN echo it's <<EOF\nx\nEOF\n", "line 2: a quote has no end"},
      {"FROM a\nCOPY --lnk x y\n", "line 2: COPY has no flag --lnk"},
      {"FROM a\nADD --from=b x y\n", "line 2: ADD has no flag --from"},
      {"FROM a\nCOPY --from x y\n", "line 2: --from needs a value"},
      {"FROM a\nCOPY x\n", "line 2: COPY needs a source and a destination"},
      {"FROM a\nCOPY --from=0 x y\n", "line 2: COPY --from=0: there is no stage 0 before"},
      {"FROM a AS b\nCOPY --from=b x y\n", "line 2: COPY --from names the stage that it is in"},
      {"FROM a\nCOPY --from=l x y\nFROM b AS l\n", "that stage comes later, in line 3"},
      {"FROM a\nCOPY --from=$X x y\n", "line 2: COPY --from=$X has no value for X"},
      {"FROM a\n\nRUN --mount=type=volume,target=/x y\n", "line 3: RUN --mount=type=volume"},
      {"FROM a\nRUN --mount=type=bind,tgt=/x y\n", "there is no option 'tgt'"},
      {"FROM a\nRUN --mount=type=bind y\n", "it needs target=PATH"},
      {"FROM a\nENV E=\nRUN --mount=type=bind,target=$E y\n", "it needs target=PATH"},
      {"FROM a\nRUN --mount=type=secret,id=t,required y\n",
       "line 2: RUN --mount=type=secret,id=t,required: the step needs the build secret 't'"},
      {"FROM a\nRUN --mount=type=secret y\n", "line 2: RUN --mount=type=secret: it needs id=NAME"},
      {"FROM a\nRUN --network=host y\n", "line 2: RUN --network=host is not allowed"},
      {"FROM a\nRUN --security=insecure y\n", "line 2: RUN --security=insecure is not allowed"},
      {"FROM a\nCOPY --chmod=u+x a /x\n", "line 2: --chmod=u+x is not supported: give the mode in"},
      {"FROM a\nARG M=a+r\nADD --chmod=$M a /x\n", "line 3: --chmod=a+r is not supported"},
      {"FROM a\nCOPY --chmod=u=rwX,go= a /x\n", "line 2: --chmod=u=rwX,go= is not supported"},
      {"FROM a AS b\nFROM b\nCOPY --from=0 --chmod=u=rwX,go=rX a /x\n", "line 3: --chmod=u=rwX"},
      {"FROM a\nCOPY --chmod=+x a /x\n", "line 2: --chmod=+x is not supported"},
      {"FROM a\nCOPY --chmod=u=rwx, a /x\n", "line 2: --chmod=u=rwx, is not supported"},
      {"FROM a\nCOPY --chmod=a=rs a /x\n", "line 2: --chmod=a=rs is not supported"},
      {"FROM a\nONBUILD COPY --chmod=u+x a /x\n", "line 2: --chmod=u+x is not supported"},
      {"FROM a\nADD https://example.com/x/y.git#v1:sub /x\n", "line 2: ADD of a Git repository"},
      {"FROM a\nADD git@example.com:x/y.git /x\n", "line 2: ADD of a Git repository"},
      {"FROM a\nADD me@example.com:x/y /x\n", "line 2: ADD of a Git repository"},
      {"FROM a\nARG R=git://example.com/x\nADD [\"a\", \"$R\", \"/x/\"]\n",
       "line 3: ADD of a Git repository (git://example.com/x)"},
      {"FROM a AS t\nONBUILD ADD ssh://example.com/x /x\nFROM t\n", "ADD of a Git repository"},
      {"FROM a\nRUN --mount=target=. x\n", "line 2: RUN --mount=target=.: the target is relative"},
      {"FROM a\nWORKDIR x\nRUN --mount=type=cache,target=y x\n", "line 3: RUN --mount=type=cache"},
      {"FROM a\nSHELL /bin/bash -c\n", "line 2: SHELL must be a list"},
      {"FROM a\nENV X\n", "line 2: ENV needs a value"},
      {"FROM a\nENV X=1 two\n", "line 2: ENV has 'two'"},
      {"FROM a\nEXPOSE 80:80\n", "line 2: EXPOSE 80:80 is no port"},
      {"FROM a\nEXPOSE http\n", "line 2: EXPOSE http is no port"},
      {"FROM a\nHEALTHCHECK curl x\n", "line 2: HEALTHCHECK is followed by CMD"},
      {"FROM a\nONBUILD FROM b\n", "line 2: ONBUILD FROM is not allowed"},
      {"FROM a\nONBUILD RUN <<EOF\nx\nEOF\n", "line 2: ONBUILD with a here-document"},
      {"\xFF\xFE"
       "F",
       "Dockerfile: it is UTF-16"},
      {"version https://git-lfs.github.com/spec/v1\noid sha256:1\n",
       "it is in Git LFS and came as"},
      {std::string("FROM a\n\0RUN b\n", 14), "Dockerfile: it has a NUL byte"},
      {"FROM a\rRUN b\r", "Dockerfile: its lines end with CR alone"},
      {"FROM a\n<<<<<<< HEAD\nRUN x\n", "line 2: a merge was left half done"},
      {"FROM a\nCOPY ${B#x} y\n", "line 2: ${B#x} needs the value of B, which is not known"},
      {"FROM a\nARG V\nENV X=${V:?set V}\n", "line 3: V: set V"},
      {"# escape=x\nFROM a\n", "line 1: escape must be \\ or `"},
      {"FROM a\nRUN echo \\\\\nRUN x\n", "line 2: an instruction may not end with an escaped"},
  };
  for (const auto& [text, said] : cases) {
    const auto plan = plan_of(text);
    ASSERT_FALSE(plan) << text;
    EXPECT_EQ(plan.error().code, ErrorCode::user_error) << text;
    EXPECT_THAT(plan.error().message, HasSubstr(said)) << text;
    EXPECT_THAT(plan.error().message, ::testing::StartsWith("Dockerfile")) << text;
  }
}

TEST(Dockerfile, what_grows_without_end_is_refused) {
  std::string doubles = "FROM a\nENV A=xxxxxxxxxxxxxxxx\n";
  for (int i = 0; i < 40; ++i) doubles += "ENV A=$A$A\n";
  EXPECT_THAT(plan_of(doubles).error().message, HasSubstr("is too long"));
  std::string many = "FROM a\nENV A=" + std::string(60'000, 'x') + "\n";
  for (int i = 0; i < 400; ++i) many += "ENV B" + std::to_string(i) + "=$A\n";
  EXPECT_THAT(plan_of(many).error().message, HasSubstr("larger than 16 MiB"));
  EXPECT_THAT(plan_of("FROM a\nRUN x" + std::string(900'000, ' ') + "y\n").error().message,
              HasSubstr("line 2: there are more than 32 KiB without a word"));
  std::string uses;  // ${A-} is put in, for buildah would not
  for (int i = 0; i < 400; ++i) uses += "${A-}";
  const std::string wide = "FROM a\nENV A=" + std::string(60'000, 'x') + "\n";
  EXPECT_THAT(plan_of(wide + "LABEL x=" + uses + "\n").error().message,
              HasSubstr("line 3: it is larger than 1 MiB with its variables put in"));
  std::string labels = wide;
  for (int i = 0; i < 400; ++i) labels += "LABEL x=${A-}\n";
  EXPECT_THAT(plan_of(labels).error().message, HasSubstr("larger than 16 MiB"));
  std::string documents = wide;
  for (int i = 0; i < 40; ++i) {
    documents += "COPY <<X /x\n\\$" + std::string("$A$A$A$A$A$A$A$A$A$A") + "\nX\n";
  }
  EXPECT_THAT(plan_of(documents).error().message, HasSubstr("larger than 16 MiB"));
  std::string stages;
  for (int i = 0; i < 1100; ++i) stages += "FROM a\n";
  EXPECT_THAT(plan_of(stages).error().message, HasSubstr("more than 1000 stages"));
  std::string nested;
  for (int i = 0; i < 5000; ++i) nested += "${A:-";
  EXPECT_FALSE(plan_of("FROM " + nested + "\n"));
}

// Of a setting, say: buildah would read the second line as one of the Dockerfile.
TEST(Dockerfile, a_value_with_a_line_break_is_put_in_nowhere) {
  const auto said = [](const std::string& text) {
    Args args;
    args.emplace_back("A", "1\nADD https://example.com/x /x");
    const auto plan = plan_of(text, args);
    return plan ? "taken: " + plan->text : plan.error().message;
  };
  EXPECT_THAT(said("FROM a\nARG A\nLABEL v=${A%z}\n"),
              HasSubstr("line 3: ${A%z} has a line break in its value"));
  EXPECT_THAT(said("FROM a\nARG A=${A%z} B=${A%z}\n"), HasSubstr("has a line break"));
  EXPECT_THAT(said("FROM a\nARG A\nRUN echo \"$A\"\n"), HasSubstr("taken: "));
}

// ---- names of images and stages -----------------------------------------------------------------

TEST(Dockerfile, a_short_name_is_one_of_docker_hub) {
  const std::string digest = "sha256:" + std::string(64, 'a');
  const std::pair<std::string, std::string> cases[] = {
      {"debian", "docker.io/library/debian:latest"},
      {"debian:12", "docker.io/library/debian:12"},
      {"me/app", "docker.io/me/app:latest"},
      {"docker.io/debian", "docker.io/library/debian:latest"},
      {"index.docker.io/me/app:1", "docker.io/me/app:1"},
      {"ghcr.io/me/app:1", "ghcr.io/me/app:1"},
      {"localhost/x", "localhost/x:latest"},
      {"host:5000/x", "host:5000/x:latest"},
      {"a@" + digest, "docker.io/library/a@" + digest},
      {"a:1@" + digest, "docker.io/library/a@" + digest},
      {"host:5000/x:1@" + digest, "host:5000/x@" + digest},
  };
  for (const auto& [name, full] : cases) {
    EXPECT_EQ(full_image_name(name), full);
    EXPECT_TRUE(check_image_name(name)) << name;
  }
  for (const std::string name : {"", "A", "a:", "a:b c", "a/", "/a", "a//b", "-a", "a@sha256:1",
                                 "docker://a", "a:b:c", "ghcr.io/", "ghcr.io/A"}) {
    EXPECT_FALSE(check_image_name(name)) << name;
  }
}

TEST(Dockerfile, it_may_start_from_public_images_only) {
  for (const char* name : {"debian:12", "ghcr.io/me/app", "registry.example.com:5000/x",
                           "localhost/atlasflow-base/node:18-bookworm", "node", "busybox"}) {
    EXPECT_TRUE(check_base_image(full_image_name(name))) << name;
  }
  for (const char* name :
       {"localhost/atlasflow/other:build", "atlasflow/other:build", "127.0.0.1:5000/x",
        "10.0.0.1/x", "[::1]:5000/x", "localhost:5000/x", "registry.internal/x", "printer.local/x",
        "dc5be2f2fb08", "dc5", "docker://127.0.0.1/x", "oci:/etc/x", "dir:/etc",
        "localhost/atlasflow-base/../atlasflow/x"}) {
    const auto allowed = check_base_image(full_image_name(name));
    ASSERT_FALSE(allowed) << name;
    EXPECT_EQ(allowed.error().code, ErrorCode::user_error);
    const auto plan = plan_dockerfile("FROM a:1\nFROM " + std::string(name) + "\n", {});
    ASSERT_FALSE(plan) << name;
    EXPECT_THAT(plan.error().message, HasSubstr("Dockerfile, line 2: "));
  }
}

TEST(Dockerfile, a_stage_that_it_lacks_is_a_user_error_that_lists_those_it_has) {
  const auto absent = plan_of("FROM a AS build\nFROM b\n", {}, "prod");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_EQ(absent.error().message,
            "Dockerfile: build_target is 'prod', and there is no such stage; there are build, 1");
}

// Docker asks for such a file in every build, so what was made of it once may not be taken again.
TEST(Dockerfile, a_remote_file_without_a_checksum_is_told) {
  const auto adds = [](const std::string& text, const std::string& target = "") {
    const auto plan = plan_of(text, {}, target);
    EXPECT_TRUE(plan) << text;
    return plan && plan->adds_remote_files;
  };
  const std::string url = "https://example.com/tool.tar.gz";
  EXPECT_TRUE(adds("FROM a:1\nADD " + url + " /x\n"));
  EXPECT_TRUE(adds("FROM a:1\nADD [\"" + url + "\", \"/x\"]\n"));
  EXPECT_TRUE(adds("FROM a:1\nARG HOST=https://example.com\nADD $HOST/x /x\n"));
  EXPECT_TRUE(adds("FROM a:1\nADD $SET_BY_THE_BASE /x\n"));
  EXPECT_TRUE(adds("FROM a:1 AS b\nONBUILD ADD " + url + " /x\nFROM b\n"));
  EXPECT_FALSE(adds("FROM a:1\nADD --checksum=sha256:" + std::string(64, 'a') + " " + url +
                    " /x\nADD tool.tar /x\nRUN fetch " + url + "\n"));
  EXPECT_FALSE(adds("FROM a:1 AS b\nADD " + url + " /x\nFROM a:1\n")) << "not needed";
}

}  // namespace
}  // namespace atlasflow::builder
