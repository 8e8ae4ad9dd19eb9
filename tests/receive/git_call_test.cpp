#include "receive/git_call.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <unistd.h>

#include "base/file.hpp"
#include "receive/repositories.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::receive {
namespace {

using namespace std::chrono_literals;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

class GitCallTest : public testing::Test {
 protected:
  // What a shell in the place of git sees and may do.
  std::string in_place_of_git(const std::string& script, GitBounds bounds = {}) {
    auto output = git_output(path_, {{"sh", "-c", script}, {}}, bounds, {}, 1 << 20);
    EXPECT_TRUE(output.has_value()) << to_string(output.error());
    return output.value_or("");
  }

  builder::Scratch scratch_;
  Repositories repositories_{scratch_.path(), 0};
  std::filesystem::path path_ = repositories_.open("web1", "main").value();
};

TEST_F(GitCallTest, it_has_no_environment_but_its_own) {
  ::setenv("ATLASFLOW_TEST_SECRET", "hush", 1);
  const auto said = in_place_of_git("env");
  EXPECT_THAT(said, Not(HasSubstr("hush")));
  EXPECT_THAT(said, HasSubstr("GIT_CONFIG_GLOBAL=/dev/null"));
}

TEST_F(GitCallTest, it_is_nobody_and_sees_its_repository_alone) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_TRUE(replace_file(scratch_.path() / "secret", "hush", 0644));
  const auto said = in_place_of_git("id -u; pwd; ls; cat " + (scratch_.path() / "secret").string() +
                                    " 2>&1; cat /etc/shadow 2>&1; touch /var/tmp/x 2>&1; true");
  EXPECT_THAT(said, HasSubstr("1800000000\n/mnt\n"));
  EXPECT_THAT(said, HasSubstr("HEAD"));
  EXPECT_THAT(said, Not(HasSubstr("hush")));
  EXPECT_THAT(said, Not(HasSubstr("root:")));
  EXPECT_THAT(said, HasSubstr("Read-only file system"));
  EXPECT_THAT(in_place_of_git("touch objects/x && ls objects"), HasSubstr("x"));
}

TEST_F(GitCallTest, it_sees_no_process_no_network_and_nobodys_folders) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root";
  ASSERT_THAT(names_if_any("/proc"), Not(testing::IsEmpty()));
  for (const char* folder :
       {"/tmp", "/proc", "/run", "/home", "/root", "/srv", "/opt", "/var/www"}) {
    if (!std::filesystem::is_directory(folder)) continue;
    EXPECT_EQ(in_place_of_git(std::string("ls -A ") + folder), "") << folder;
  }
  const auto links = in_place_of_git("PATH=$PATH:/usr/sbin:/sbin ip -o link");
  EXPECT_THAT(links, HasSubstr("lo:"));
  EXPECT_EQ(std::ranges::count(links, '\n'), 1) << links;
}

TEST_F(GitCallTest, one_that_takes_too_long_is_ended) {
  GitBounds bounds;
  bounds.deadline = 200ms;
  const auto output = git_output(path_, {{"sh", "-c", "sleep 60"}, {}}, bounds, {}, 100);
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::timed_out);
}

TEST_F(GitCallTest, one_that_wants_too_much_memory_is_ended) {
  GitBounds bounds;
  bounds.memory_mib = 64;
  std::string said;
  const auto outcome = run_git(
      path_, {{"git", "hash-object", "--stdin"}, {}}, bounds, {}, [](std::string_view) {}, said);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_EQ(outcome->exit_code, 0);
  const auto greedy = run_git(
      path_, {{"sh", "-c", "x=$(head -c 6442450944 /dev/zero | tr '\\0' x); echo ${#x}"}, {}},
      bounds, {}, [](std::string_view) {}, said);
  ASSERT_TRUE(greedy.has_value());
  EXPECT_NE(greedy->exit_code, 0);
}

TEST_F(GitCallTest, a_file_that_is_too_large_is_not_written) {
  GitBounds bounds;
  bounds.repository_bytes_max = 1 << 20;
  std::string said;
  const auto outcome = run_git(
      path_, {{"sh", "-c", "head -c 10485760 /dev/zero > objects/large"}, {}}, bounds, {},
      [](std::string_view) {}, said);
  ASSERT_TRUE(outcome.has_value());
  EXPECT_NE(outcome->exit_code, 0);
  EXPECT_LE(std::filesystem::file_size(path_ / "objects/large"), 1U << 20);
}

TEST_F(GitCallTest, output_beyond_its_bound_is_an_error) {
  const auto output = git_output(path_, {{"sh", "-c", "head -c 1000 /dev/zero"}, {}}, {}, {}, 100);
  ASSERT_FALSE(output.has_value());
  EXPECT_EQ(output.error().code, ErrorCode::too_large);
}

}  // namespace
}  // namespace atlasflow::receive
