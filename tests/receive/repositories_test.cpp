#include "receive/repositories.hpp"

#include <algorithm>

#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.hpp"
#include "receive/refs.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::receive {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

namespace fs = std::filesystem;

class RepositoriesTest : public testing::Test {
 protected:
  fs::path open(const std::string& id) {
    auto opened = repositories_.open(id, "main");
    EXPECT_TRUE(opened.has_value()) << to_string(opened.error());
    return opened.value_or(fs::path());
  }
  static void write(const fs::path& path, const std::string& text) {
    ASSERT_TRUE(make_folder(path.parent_path()));
    ASSERT_TRUE(replace_file(path, text, 0644));
  }

  builder::Scratch scratch_;
  Repositories repositories_{scratch_.path(), 0};
};

TEST_F(RepositoriesTest, a_new_one_is_empty_and_git_can_read_it) {
  const auto path = open("web1");
  EXPECT_EQ(path, repository_path(scratch_.path(), "web1"));
  const auto refs = read_refs(path, "", repositories_.bounds(), {});
  ASSERT_TRUE(refs.has_value()) << to_string(refs.error());
  EXPECT_THAT(refs->refs, IsEmpty());
  EXPECT_THAT(repositories_.ids(), ElementsAre("web1"));
  if (::geteuid() == 0) {
    struct stat status {};
    ASSERT_EQ(::stat((path / "refs/heads").c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, k_git_uid);
    // What decides is no longer git's to write, nor anybody's to read.
    ASSERT_EQ(::stat(repositories_.pending_file("web1").parent_path().c_str(), &status), 0);
    EXPECT_EQ(status.st_uid, 0U);
  }
}

TEST_F(RepositoriesTest, what_an_ended_git_left_goes_and_branches_of_such_names_stay) {
  const auto path = open("web1");
  std::string sha(40, '1');
  sha += '\n';
  for (const char* name : {"refs/heads/main.lock", "packed-refs.lock", "gc.pid",
                           "objects/tmp_objdir-incoming-x/pack/tmp_pack_y", "objects/pack/a.keep",
                           "objects/pack/.tmp-12-pack-1f.pack"}) {
    write(path / name, "");
  }
  for (const char* name :
       {"refs/heads/tmp_x", "refs/heads/gc.pid", "refs/heads/a.keep", "refs/heads/incoming-y"}) {
    write(path / name, sha);
  }
  open("web1");
  for (const char* name :
       {"refs/heads/main.lock", "packed-refs.lock", "gc.pid", "objects/tmp_objdir-incoming-x",
        "objects/pack/a.keep", "objects/pack/.tmp-12-pack-1f.pack"}) {
    EXPECT_FALSE(fs::exists(path / name)) << name;
  }
  EXPECT_THAT(names_if_any(path / "refs/heads"),
              ElementsAre("a.keep", "gc.pid", "incoming-y", "tmp_x"));
}

TEST_F(RepositoriesTest, one_out_of_a_backup_has_its_folders_again_and_is_gits) {
  const auto path = open("web1");
  fs::remove_all(path / "refs");
  fs::remove_all(path / "objects");
  if (::geteuid() == 0) {
    ASSERT_EQ(::chown(path.c_str(), 0, 0), 0);
    ASSERT_EQ(::chown((path / "HEAD").c_str(), 0, 0), 0);
  }
  // Before anybody opens it: what is pending in it is settled first.
  const Repositories next(scratch_.path(), 0);
  const auto refs = read_refs(path, "", next.bounds(), {});
  EXPECT_TRUE(refs.has_value()) << to_string(refs.error());
  struct stat status {};
  ASSERT_EQ(::stat((path / "HEAD").c_str(), &status), 0);
  EXPECT_EQ(status.st_uid, ::geteuid() == 0 ? k_git_uid : ::geteuid());
}

TEST_F(RepositoriesTest, one_that_is_too_large_takes_no_more) {
  GitBounds bounds;
  bounds.repository_bytes_max = 100;
  Repositories small(scratch_.path(), 0, bounds);
  const auto path = small.open("web1", "main");
  ASSERT_TRUE(path.has_value());
  write(*path / "objects/pack/a.pack", std::string(200, 'x'));
  const auto again = small.open("web1", "main");
  ASSERT_FALSE(again.has_value());
  EXPECT_EQ(again.error().code, ErrorCode::too_large);
}

TEST_F(RepositoriesTest, one_that_is_too_large_by_what_nothing_reaches_is_made_smaller) {
  const auto path = open("web1");
  const auto run = [&](const std::string& script) {
    return git_output(path, {.argv = {"sh", "-c", script}, .environment = {"GIT_DIR=."}}, {}, {},
                      4096);
  };
  ASSERT_TRUE(run("head -c 600000 /dev/urandom | git hash-object -w --stdin"));
  GitBounds bounds;
  bounds.repository_bytes_max = 400'000;
  Repositories small(scratch_.path(), 0, bounds);
  const auto again = small.open("web1", "main");
  ASSERT_TRUE(again.has_value()) << to_string(again.error());
  // What a tag reaches stays, and is too much.
  ASSERT_TRUE(run("git tag big $(head -c 600000 /dev/urandom | git hash-object -w --stdin)"));
  for (int i = 0; i < 2; ++i) {
    const auto refused = small.open("web1", "main");
    ASSERT_FALSE(refused.has_value());
    EXPECT_EQ(refused.error().code, ErrorCode::too_large);
    EXPECT_THAT(refused.error().message, HasSubstr("make a new project"));
  }
}

TEST_F(RepositoriesTest, many_small_packs_become_one) {
  const auto path = open("web1");
  const std::string script =
      "for i in $(seq 30); do "
      "sha=$(echo $i | git hash-object -w --stdin); git tag v$i $sha; "
      "echo $sha | git pack-objects -q objects/pack/pack; git prune-packed; done";
  ASSERT_TRUE(git_output(path, {.argv = {"sh", "-c", script}, .environment = {"GIT_DIR=."}}, {}, {},
                         65536));
  const auto packs = [&] {
    const auto names = names_if_any(path / "objects/pack");
    return std::ranges::count_if(names, [](const auto& name) { return name.ends_with(".pack"); });
  };
  ASSERT_EQ(packs(), 30);
  repositories_.tidy("web1", {});
  EXPECT_EQ(packs(), 1);
}

TEST_F(RepositoriesTest, one_at_a_time_has_a_repository) {
  {
    const auto turn = repositories_.take("web1", 0ms);
    ASSERT_TRUE(turn.has_value());
    EXPECT_FALSE(repositories_.take("web1", 10ms).has_value());
    EXPECT_TRUE(repositories_.take("web2", 0ms).has_value());
  }
  EXPECT_TRUE(repositories_.take("web1", 0ms).has_value());
}

TEST_F(RepositoriesTest, one_that_is_removed_is_gone_with_all_that_is_pending) {
  open("web1");
  write(repositories_.pending_file("web1"), "{}");
  ASSERT_TRUE(repositories_.remove("web1"));
  EXPECT_THAT(repositories_.ids(), IsEmpty());
  EXPECT_TRUE(repositories_.remove("web1"));
}

}  // namespace
}  // namespace atlasflow::receive
