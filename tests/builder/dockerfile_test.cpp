#include "builder/stack/dockerfile.hpp"

#include <gmock/gmock.h>

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;

using Args = std::vector<std::pair<std::string, std::string>>;

struct Case {
  std::string text;
  Args args;
  std::vector<std::string> images;
};

TEST(Dockerfile, the_images_that_it_starts_from_are_found) {
  const Case cases[] = {
      {"FROM debian:bookworm-slim\nRUN x\n", {}, {"debian:bookworm-slim"}},
      {"from scratch\n", {}, {}},
      {"# FROM a\n\n   FROM --platform=linux/amd64 b AS c\r\n", {}, {"b"}},
      {"FROM a AS one\nFROM one\nFROM b as Two\nFROM two\nCOPY --from=TWO /x /x\n", {}, {"a", "b"}},
      {"FROM a\nCOPY --from=0 /x /x\nCOPY --from=tools:1 /x /x\n", {}, {"a", "tools:1"}},
      {"FROM \\\n# a comment between\n  a:1\n", {}, {"a:1"}},
      {"FROM a\nRUN --mount=type=bind,from=b,target=/x true\n", {}, {"a", "b"}},
      {"ARG TAG=1\nFROM a:$TAG\nFROM b:${TAG}\n", {}, {"a:1", "b:1"}},
      {"ARG TAG=1\nFROM a:$TAG\n", {{"TAG", "2"}}, {"a:2"}},
      {"ARG TAG\nFROM a:${TAG:-3}\nFROM b:$TAG\n", {}, {"a:3"}},
      {"ARG A=x B=$A-y\nFROM $B\n", {}, {"x-y"}},
      {"FROM a\nARG TAG=1\nFROM b:$TAG\n", {}, {"a"}},  // An ARG of a stage is not one of FROM.
      {"FROM ${UNCLOSED\n", {}, {}},
      {"FROM a\nFROM a\n", {}, {"a"}},
      {"FROM\n", {}, {}},
      {"", {}, {}},
      {"\\\n", {}, {}},
  };
  for (const Case& each : cases) {
    EXPECT_THAT(images_named_by(each.text, each.args), ElementsAreArray(each.images)) << each.text;
  }
}

TEST(Dockerfile, a_short_name_is_one_of_docker_hub) {
  const std::pair<std::string, std::string> cases[] = {
      {"debian", "docker.io/library/debian:latest"},
      {"debian:12", "docker.io/library/debian:12"},
      {"me/app", "docker.io/me/app:latest"},
      {"ghcr.io/me/app:1", "ghcr.io/me/app:1"},
      {"localhost/x", "localhost/x:latest"},
      {"host:5000/x", "host:5000/x:latest"},
      {"a@sha256:00", "docker.io/library/a@sha256:00"},
  };
  for (const auto& [name, full] : cases) EXPECT_EQ(full_image_name(name), full);
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
  }
}

TEST(Dockerfile, its_stages_are_known_by_name_and_number) {
  const std::string text =
      "ARG TAG=1\nFROM a:$TAG AS Build\nRUN x\nFROM b\nFROM --platform=linux/amd64 c as prod\n";
  EXPECT_THAT(stages_of(text), ElementsAre("Build", "1", "prod"));
  for (const auto& [name, stage] :
       {std::pair("build", "Build"), std::pair("BUILD", "Build"), std::pair("0", "Build"),
        std::pair("1", "1"), std::pair("2", "prod"), std::pair("prod", "prod")}) {
    const auto found = find_stage(text, name);
    ASSERT_TRUE(found) << name;
    EXPECT_EQ(*found, stage);
  }
}

TEST(Dockerfile, a_stage_that_it_lacks_is_a_user_error_that_lists_those_it_has) {
  const auto absent = find_stage("FROM a AS build\nFROM b\n", "prod");
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_EQ(absent.error().message,
            "build_target is 'prod', and the Dockerfile has no such stage; it has build, 1");
  EXPECT_FALSE(find_stage("RUN x\n", "0"));
}

}  // namespace
}  // namespace atlasflow::builder
