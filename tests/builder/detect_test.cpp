#include "builder/stack/detect.hpp"

#include <map>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "builder/source/source_file.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

const StackBases k_bases{"example.com/node:1", "example.com/static:1"};
constexpr const char* k_start = R"({"scripts": {"start": "node server.js"}})";
constexpr const char* k_start_and_dependency =
    R"({"scripts": {"start": "node ."}, "dependencies": {"left-pad": "1"}})";

struct Case {
  std::map<std::string, std::string> files;
  std::string stack;  // empty: user_error
  std::string said;   // in the reason, or in the error
};

TEST(Detect, the_first_that_matches_decides) {
  const Case cases[] = {
      {{{"Dockerfile", "FROM a"}}, "dockerfile", "Dockerfile in the root folder"},
      {{{"Dockerfile", "FROM a"}, {"package.json", k_start}, {"index.html", ""}},
       "dockerfile",
       "Dockerfile"},
      {{{"package.json", k_start}}, "node", "package.json with a start script"},
      {{{"package.json", k_start}, {"index.html", ""}}, "node", "package.json"},
      {{{"package.json", "{}"}, {"index.html", ""}},
       "static",
       "index.html, and package.json without a start"},
      {{{"index.html", ""}}, "static", "index.html in the root folder"},
      {{{"package.json", k_start_and_dependency}}, "node", "dependencies without a lock file"},
      {{{"package.json", k_start_and_dependency}, {"package-lock.json", "{}"}},
       "node",
       "dependencies from package-lock.json"},
      {{}, "", "looked for Dockerfile, package.json with a start script and index.html"},
      {{{"dockerfile", "FROM a"}}, "", "looked for Dockerfile"},
      {{{"sub/Dockerfile", "FROM a"}, {"sub/index.html", ""}}, "", "looked for Dockerfile"},
      {{{"package.json", "{}"}}, "", "package.json has no start script"},
      {{{"package.json", R"({"scripts": {"start": ""}})"}}, "", "package.json has no start script"},
      {{{"package.json", R"({"scripts": {"start": ["x"]}})"}},
       "",
       "package.json has no start script"},
      {{{"package.json", R"({"scripts": "start"})"}}, "", "package.json has no start script"},
      {{{"package.json", "{"}}, "", "package.json is not valid JSON"},
      {{{"package.json", "[]"}, {"index.html", ""}}, "", "package.json is not valid JSON"},
  };
  for (const Case& each : cases) {
    const Scratch scratch;
    std::string names;
    for (const auto& [name, text] : each.files) {
      write(scratch.path() / name, text);
      names += name + " ";
    }
    const auto stack = detect_stack(scratch.path(), k_bases);
    ASSERT_EQ(stack.has_value(), !each.stack.empty()) << names;
    if (stack) {
      EXPECT_EQ(stack->name, each.stack) << names;
      EXPECT_THAT(stack->reason, HasSubstr(each.said));
    } else {
      EXPECT_EQ(stack.error().code, ErrorCode::user_error) << names;
      EXPECT_THAT(stack.error().message, HasSubstr(each.said));
    }
  }
}

TEST(Detect, a_dockerfile_is_taken_as_it_is) {
  const Scratch scratch;
  write(scratch.path() / "Dockerfile", "FROM a\n# a comment\n");
  write(scratch.path() / ".dockerignore", "secret\n");
  const auto stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_EQ(stack->dockerfile, "FROM a\n# a comment\n");
  EXPECT_EQ(stack->ignore, "secret\n");
}

TEST(Detect, a_dockerfile_that_links_out_of_the_folder_is_none) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path() / "checkout");
  write(scratch.path() / "secret", "FROM secret\n");
  std::filesystem::create_symlink("../secret", scratch.path() / "checkout" / "Dockerfile");
  EXPECT_FALSE(detect_stack(scratch.path() / "checkout", k_bases));
}

TEST(Detect, a_fifo_named_dockerfile_does_not_block) {
  const Scratch scratch;
  ASSERT_EQ(::mkfifo((scratch.path() / "Dockerfile").c_str(), 0644), 0);
  EXPECT_FALSE(detect_stack(scratch.path(), k_bases));
}

TEST(Detect, a_node_app_without_dependencies_needs_no_npm_install) {
  const Scratch scratch;
  write(scratch.path() / "package.json", k_start);
  write(scratch.path() / "package-lock.json", "{}");
  const auto stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_EQ(stack->dockerfile,
            "FROM example.com/node:1\n"
            "ENV NODE_ENV=production PORT=3000 NPM_CONFIG_UPDATE_NOTIFIER=false HOME=/tmp\n"
            "WORKDIR /app\n"
            "COPY . .\n"
            "USER 65534:65534\n"
            "EXPOSE 3000\n"
            "CMD [\"npm\", \"start\"]\n");
  EXPECT_THAT(stack->ignore, HasSubstr("node_modules"));
}

TEST(Detect, dependencies_are_installed_before_the_code_is_copied) {
  const Scratch scratch;
  write(scratch.path() / "package.json", k_start_and_dependency);
  auto stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_THAT(
      stack->dockerfile,
      HasSubstr(
          "COPY package.json ./\nRUN npm install --omit=dev --no-audit --no-fund\nCOPY . .\n"));
  write(scratch.path() / "package-lock.json", "{}");
  write(scratch.path() / ".npmrc", "x=1");
  stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_THAT(stack->dockerfile, HasSubstr("COPY package.json package-lock.json .npmrc ./\nRUN npm "
                                           "ci --omit=dev --no-audit --no-fund\nCOPY . .\n"));
}

TEST(Detect, a_static_site_hides_its_dot_files_and_has_its_error_page) {
  const Scratch scratch;
  write(scratch.path() / "index.html", "");
  auto stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_THAT(stack->dockerfile, HasSubstr("FROM example.com/static:1\n"));
  EXPECT_THAT(stack->dockerfile, Not(HasSubstr("E404")));
  EXPECT_THAT(stack->ignore, HasSubstr(".*\n!.well-known\n"));
  write(scratch.path() / "404.html", "");
  stack = detect_stack(scratch.path(), k_bases);
  ASSERT_TRUE(stack);
  EXPECT_THAT(stack->dockerfile, HasSubstr("E404:/srv/404.html"));
}

TEST(Detect, the_repositorys_own_ignore_file_wins) {
  const Scratch scratch;
  write(scratch.path() / "index.html", "");
  write(scratch.path() / ".dockerignore", "drafts\n");
  EXPECT_EQ(detect_stack(scratch.path(), k_bases)->ignore, "drafts\n");
  write(scratch.path() / ".containerignore", "notes\n");
  EXPECT_EQ(detect_stack(scratch.path(), k_bases)->ignore, "notes\n");
}

TEST(Detect, a_dockerfile_that_was_chosen_is_the_one_and_must_be_there) {
  const Scratch scratch;
  write(scratch.path() / "Dockerfile", "FROM wrong");
  write(scratch.path() / "docker/Dockerfile.prod", "FROM right");
  const auto chosen = detect_stack(scratch.path(), k_bases, {"", "docker/Dockerfile.prod"});
  ASSERT_TRUE(chosen) << to_string(chosen.error());
  EXPECT_EQ(chosen->name, "dockerfile");
  EXPECT_EQ(chosen->dockerfile, "FROM right");
  EXPECT_EQ(chosen->reason, "docker/Dockerfile.prod in the root folder");
  const auto absent = detect_stack(scratch.path(), k_bases, {"", "docker/Dockerfile.test"});
  ASSERT_FALSE(absent);
  EXPECT_EQ(absent.error().code, ErrorCode::user_error);
  EXPECT_EQ(absent.error().message,
            "there is no file docker/Dockerfile.test in the root folder, which the setting "
            "dockerfile names");
}

TEST(Detect, a_dockerfile_out_of_the_root_folder_is_none) {
  const Scratch scratch;
  write(scratch.path() / "Dockerfile.shared", "FROM a");
  write(scratch.path() / "web/index.html", "");
  std::filesystem::create_symlink("../Dockerfile.shared", scratch.path() / "web/Dockerfile.link");
  EXPECT_FALSE(detect_stack(scratch.path() / "web", k_bases, {"web", "Dockerfile.link"}));
  EXPECT_FALSE(detect_stack(scratch.path() / "web", k_bases, {"web", "../Dockerfile.shared"}));
}

TEST(Detect, the_root_folder_is_named_in_what_is_said) {
  const Scratch scratch;
  const auto nothing = detect_stack(scratch.path(), k_bases, {"apps/web", ""});
  ASSERT_FALSE(nothing);
  EXPECT_THAT(nothing.error().message, HasSubstr("nothing to build in apps/web: looked for"));
  write(scratch.path() / "index.html", "");
  EXPECT_EQ(detect_stack(scratch.path(), k_bases, {"apps/web", ""})->reason,
            "index.html in apps/web");
}

TEST(SourceFolder, is_found_inside_of_the_checkout_only) {
  const Scratch scratch;
  const auto checkout = scratch.path() / "checkout";
  write(checkout / "apps/web/file", "");
  write(scratch.path() / "outside/file", "");
  std::filesystem::create_symlink("apps/web", checkout / "inside");
  std::filesystem::create_symlink(scratch.path() / "outside", checkout / "absolute");
  std::filesystem::create_symlink("../outside", checkout / "relative");
  const auto found = [&](const std::string& name) {
    const auto folder = find_source_folder(checkout, name);
    EXPECT_TRUE(folder) << name;
    return folder ? *folder : std::nullopt;
  };
  EXPECT_EQ(found(""), checkout);
  EXPECT_EQ(found("apps/web"), checkout / "apps/web");
  EXPECT_EQ(found("inside"), checkout / "apps/web");
  for (const char* name :
       {"absent", "absolute", "relative", "../outside", "apps/web/file", "/etc", "apps/../.."}) {
    EXPECT_EQ(found(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace atlasflow::builder
