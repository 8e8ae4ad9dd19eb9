#include "receive/refs.hpp"

#include <gmock/gmock.h>

#include "receive/repositories.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::receive {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::Key;

TEST(Refs, what_was_made_moved_and_deleted_is_told_by_name) {
  const std::string one(40, '1');
  const std::string two(40, '2');
  const Refs before = {{"refs/heads/gone", one}, {"refs/heads/main", one}, {"refs/tags/v1", one}};
  const Refs after = {{"refs/heads/main", two}, {"refs/heads/new", two}, {"refs/tags/v1", one}};
  const auto changes = changes_between(before, after);
  ASSERT_EQ(changes.size(), 3U);
  EXPECT_EQ(changes[0].ref, "refs/heads/gone");
  EXPECT_EQ(changes[0].before, one);
  EXPECT_EQ(changes[0].after, k_no_commit);
  EXPECT_EQ(changes[1].ref, "refs/heads/main");
  EXPECT_EQ(changes[1].before, one);
  EXPECT_EQ(changes[1].after, two);
  EXPECT_EQ(changes[2].ref, "refs/heads/new");
  EXPECT_EQ(changes[2].before, k_no_commit);
  EXPECT_THAT(changes_between(after, after), IsEmpty());
}

class ReadingRefs : public testing::Test {
 protected:
  // By a shell in the place of git, with `commit` to make one of that message.
  std::string in_repository(const std::string& script) {
    const std::string commit =
        "commit() { GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a GIT_COMMITTER_NAME=a "
        "GIT_COMMITTER_EMAIL=a "
        "git commit-tree $(git hash-object -w -t tree /dev/null) -m \"$@\"; }\n";
    auto output = git_output(
        path_, {.argv = {"sh", "-c", commit + script}, .environment = {"GIT_DIR=."}}, {}, {}, 4096);
    EXPECT_TRUE(output.has_value()) << to_string(output.error());
    while (output && output->ends_with('\n')) output->pop_back();
    return output.value_or("");
  }
  [[nodiscard]] Result<bool> forced(const std::string& before, const std::string& after) const {
    return was_forced(path_, {"refs/heads/main", before, after}, {}, {});
  }
  [[nodiscard]] Result<RefsSeen> seen(const std::string& only = "") const {
    return read_refs(path_, only, {}, {});
  }

  builder::Scratch scratch_;
  Repositories repositories_{scratch_.path(), 0};
  std::filesystem::path path_ = repositories_.open("web1", "main").value();
};

TEST_F(ReadingRefs, a_branch_was_rewound_also_where_its_old_commit_is_gone) {
  const auto one = in_repository("commit one");
  const auto two = in_repository("commit two -p " + one);
  EXPECT_FALSE(forced(one, two).value());
  EXPECT_TRUE(forced(two, one).value());
  const auto gone = forced(std::string(40, '1'), two);
  ASSERT_TRUE(gone.has_value()) << to_string(gone.error());
  EXPECT_TRUE(*gone);
}

TEST_F(ReadingRefs, names_that_are_no_text_are_left_out_and_told_of) {
  in_repository(
      "commit one > sha; for ref in heads/main tags/v1; do git update-ref refs/$ref "
      "$(cat sha); done");
  EXPECT_FALSE(seen().value().has_nameless);
  in_repository("git update-ref \"$(printf 'refs/heads/caf\\351')\" $(cat sha)");
  const auto all = seen();
  ASSERT_TRUE(all.has_value()) << to_string(all.error());
  EXPECT_TRUE(all->has_nameless);
  EXPECT_THAT(all->refs, ElementsAre(Key("refs/heads/main"), Key("refs/tags/v1")));
}

TEST_F(ReadingRefs, one_can_be_looked_at_where_there_are_too_many) {
  // In the form in which git packs them; 60,000 of these are more than is read at once.
  in_repository(
      "sha=$(commit one); git update-ref refs/heads/main $sha; "
      "git update-ref refs/heads/side/x $sha; git pack-refs --all; "
      "long=$(printf %040d 0); i=0; while [ $i -lt 60000 ]; do "
      "echo \"$sha refs/tags/$long$((100000 + i))\"; i=$((i + 1)); done >> packed-refs");
  const auto all = seen();
  ASSERT_FALSE(all.has_value());
  EXPECT_EQ(all.error().code, ErrorCode::too_large);
  EXPECT_THAT(seen("refs/heads/main").value().refs, ElementsAre(Key("refs/heads/main")));
  EXPECT_THAT(seen("refs/heads/side").value().refs, IsEmpty());
  EXPECT_THAT(seen("refs/heads/none").value().refs, IsEmpty());
}

}  // namespace
}  // namespace atlasflow::receive
