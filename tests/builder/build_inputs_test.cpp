// What makes another build of the same: each thing that an image depends on, changed alone, and
// what it does not depend on.
#include <functional>
#include <set>

#include <gmock/gmock.h>

#include "builder/image/buildah_builder.hpp"

namespace atlasflow::builder {
namespace {

constexpr const char* k_dockerfile =
    "FROM docker.io/library/debian:12 AS tools\n"
    "RUN --mount=type=secret,id=TOKEN fetch\n"
    "FROM tools AS app\n"
    "COPY . /app\n";

// A build as the builder prepares one, of a Dockerfile's text in place of a checkout.
struct Build {
  Build() {
    request.source = "tree-1";
    request.build_args = {{"MODE", "fast"}};
    request.secrets.push_back({"TOKEN", "digest-1", Secret("value")});
  }
  [[nodiscard]] std::string inputs() const {
    const auto plan = plan_dockerfile(dockerfile, {.build_args = request.build_args,
                                                   .target = request.build_target,
                                                   .secrets = secret_ids(request.secrets)});
    if (!plan) {
      ADD_FAILURE() << to_string(plan.error());
      return {};
    }
    PreparedStack prepared;
    prepared.stack.ignore = ignore;
    prepared.plan = *plan;
    return inputs_of(workshop, request, prepared, bases, supplies, context);
  }

  Workshop workshop{"buildah 1.39.3", "oci+userns", true};
  BuildRequest request;
  std::string dockerfile = k_dockerfile;
  std::string ignore = "*.md\n";
  std::string context = ".";
  std::vector<UsedBase> bases = {{"docker.io/library/debian:12", "sha256:1"}};
  BuildSupplies supplies = {.digest = "ca 1\n"};
};

struct Row {
  const char* what;
  std::function<void(Build&)> change;
};

TEST(BuildInputs, each_that_changes_alone_makes_another_build) {
  const Row rows[] = {
      {"buildah", [](Build& b) { b.workshop.toolchain = "buildah 1.40.0"; }},
      {"isolation", [](Build& b) { b.workshop.isolation = "chroot"; }},
      {"network", [](Build& b) { b.workshop.has_network = false; }},
      {"the files", [](Build& b) { b.request.source = "tree-2"; }},
      {"root_folder", [](Build& b) { b.context = "apps/web"; }},
      {"the Dockerfile", [](Build& b) { b.dockerfile += "RUN true\n"; }},
      {"the target by its name", [](Build& b) { b.request.build_target = "app"; }},
      {"another target", [](Build& b) { b.request.build_target = "tools"; }},
      {"the ignore file", [](Build& b) { b.ignore = "*.txt\n"; }},
      {"no ignore file", [](Build& b) { b.ignore.clear(); }},
      {"an argument's value", [](Build& b) { b.request.build_args[0].second = "slow"; }},
      {"an argument's name", [](Build& b) { b.request.build_args[0].first = "MODES"; }},
      {"where an argument's name ends",
       [](Build& b) {
         b.request.build_args = {{"MOD", "Efast"}};
       }},
      {"one argument more", [](Build& b) { b.request.build_args.emplace_back("X", ""); }},
      {"the base image", [](Build& b) { b.bases[0].digest = "sha256:2"; }},
      {"a secret's digest", [](Build& b) { b.request.secrets[0].digest = "digest-2"; }},
      {"a secret that is gone", [](Build& b) { b.request.secrets.clear(); }},
      {"what this machine adds", [](Build& b) { b.supplies.digest = "ca 2\n"; }},
  };
  std::set<std::string> known = {Build().inputs()};
  EXPECT_EQ(known.begin()->size(), 64U);
  for (const auto& row : rows) {
    Build build;
    row.change(build);
    EXPECT_EQ(build.inputs().size(), 64U) << row.what;
    EXPECT_TRUE(known.insert(build.inputs()).second) << row.what;
  }
}

TEST(BuildInputs, what_the_image_does_not_depend_on_makes_no_other) {
  const Row rows[] = {
      {"nothing", [](Build&) {}},
      {"the build's name", [](Build& b) { b.request.build_id = "b-2"; }},
      {"how long it may take", [](Build& b) { b.request.deadline = std::chrono::hours(1); }},
      {"a secret that no step mounts",
       [](Build& b) {
         b.request.secrets.push_back({"OTHER", "digest-3", Secret("x")});
       }},
      {"what only the log hides", [](Build& b) { b.request.hidden.emplace_back("x"); }},
  };
  for (const auto& row : rows) {
    Build build;
    row.change(build);
    EXPECT_EQ(build.inputs(), Build().inputs()) << row.what;
  }
}

// Then it is never the same as another one.
TEST(BuildInputs, what_is_not_known_has_none) {
  const Row rows[] = {
      {"files without a name", [](Build& b) { b.request.source.clear(); }},
      {"a base that is in no store", [](Build& b) { b.bases.clear(); }},
      {"ADD of a URL",
       [](Build& b) { b.dockerfile += "ADD https://example.com/tool /usr/bin/tool\n"; }},
      {"ADD of a URL that a variable has",
       [](Build& b) { b.dockerfile += "ARG URL=http://example.com/tool\nADD $URL /tool\n"; }},
      {"ADD of what a variable of the base image says",
       [](Build& b) { b.dockerfile += "ADD $WHERE /tool\n"; }},
  };
  for (const auto& row : rows) {
    Build build;
    row.change(build);
    EXPECT_EQ(build.inputs(), "") << row.what;
  }
}

TEST(BuildInputs, what_only_a_stage_adds_that_is_not_built_keeps_nothing_from_being_the_same) {
  Build build;
  build.dockerfile =
      std::string("FROM scratch AS other\nADD https://example.com/tool /tool\n") + k_dockerfile;
  EXPECT_EQ(build.inputs().size(), 64U);
  build.dockerfile = std::string(k_dockerfile) + "ADD --checksum=sha256:" + std::string(64, 'a') +
                     " https://example.com/tool /tool\n";
  EXPECT_EQ(build.inputs().size(), 64U) << "its checksum says what it is";
}

}  // namespace
}  // namespace atlasflow::builder
