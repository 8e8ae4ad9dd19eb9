// What COPY --parents takes, and how it lies in the image: tables from BuildKit's own tests and
// rules. Real files; as root, for their owners.
#include <algorithm>
#include <array>
#include <fstream>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builder/copy_parents/copy.hpp"
#include "builder/copy_parents/pattern.hpp"
#include "builder/stack/ignore_file.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::copy_parents {
namespace {

namespace fs = std::filesystem;
using builder::Scratch;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// ---- patterns -----------------------------------------------------------------------------------

TEST(CopyPattern, is_what_it_is_to_docker) {
  struct Case {
    const char* pattern;
    const char* path;
    bool matches;
  };
  const Case cases[] = {
      {"a/*.txt", "a/b.txt", true},
      {"a/*.txt", "a/b/c.txt", false},
      {"**", "a/b", true},
      {"**/x", "x", true},
      {"**/x", "a/b/x", true},
      {"**/x", "a/bx", false},
      {"a/**", "a/b/c", true},
      {"a/**", "a", false},
      {"a/**/z", "a/z", true},
      {"a/**/z", "a/b/c/z", true},
      {"a/**/z", "az", false},
      {"a?c", "abc", true},
      {"a?c", "a/c", false},
      {"a?c",
       "a\xC3\xA9"
       "c",
       true},
      {"[a-c]x", "bx", true},
      {"[^a-c]x", "bx", false},
      {"[^a-c]x", "dx", true},
      {"[\\]]", "]", true},
      {"[a\\-]", "-", true},
      {"\\*", "*", true},
      {"\\*", "a", false},
      {"a.b", "aXb", false},
      {"a+(b)", "a+(b)", true},
      {"*", "", true},
      {"a**b", "ab", true},
      {"a**b", "ax/b", true},
      {"a**b", "axb", false},
      {"**/*.log", "deep/er/a.log", true},
  };
  for (const auto& each : cases) {
    const auto pattern = Pattern::read(each.pattern);
    ASSERT_TRUE(pattern) << each.pattern;
    EXPECT_EQ(pattern->matches(each.path), each.matches) << each.pattern << " " << each.path;
  }
  // Each is filepath.ErrBadPattern of Go's.
  for (const char* wrong : {"[", "[a", "a\\", "[^", "[]", "[]]", "[^]", "[-a]", "[a-]", "[a-]]",
                            "[a\\", "[\xFF]", "[a-b-c]", "*[a"}) {
    EXPECT_FALSE(Pattern::read(wrong)) << wrong;
    EXPECT_FALSE(builder::plain_ignore_file(wrong, "f")) << wrong;
  }
  EXPECT_FALSE(Pattern::read_glob("a/**/z")->matches("a/b/c/z"));
  EXPECT_TRUE(Pattern::read_glob("a/**/z")->matches("a/b/z"));
}

TEST(CopyPattern, that_would_take_for_ever_does_not) {
  std::string stars;
  for (int i = 0; i < 200; ++i) stars += "*a";
  EXPECT_FALSE(Pattern::read(stars + "b")->matches(std::string(4'000, 'a')));
  // A megabyte of a pattern is nothing to a path that it does not begin as.
  const auto longest = Pattern::read(std::string(1U << 20U, 'x'));
  const auto stars_between = Pattern::read("x" + std::string(1U << 20U, '*'));
  for (int i = 0; i < 50'000; ++i) {
    ASSERT_FALSE(longest->matches("a/path"));
    ASSERT_FALSE(stars_between->matches("a/path"));
  }
}

// ---- copies -------------------------------------------------------------------------------------

class CopyParentsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    fs::create_directories(from());
    fs::create_directories(before());
  }

  fs::path from() const { return scratch_.path() / "from"; }
  fs::path before() const { return scratch_.path() / "before"; }
  fs::path out() const { return scratch_.path() / "out"; }

  // A folder when the name ends with a slash.
  static void put(const fs::path& root, const std::string& name, const std::string& text = "x") {
    const auto path = root / name;
    if (name.ends_with('/')) {
      fs::create_directories(path);
      return;
    }
    fs::create_directories(path.parent_path());
    std::ofstream(path) << text;
  }

  // BuildKit's own tree of its tests.
  void put_tree() {
    for (const char* name :
         {"test/a/b/c/d/e/", "test/a/b2/c/d/e/", "test/a/b/c2/d/e/", "test/a/b/c2/d/e2/",
          "test/a/b/c/d/foo", "test/a/b/c/d/e/bay", "test/a/b2/c/d/e/bar", "test/a/b/c2/d/e/baz",
          "test/a/b/c2/d/e2/baz"}) {
      put(from(), name);
    }
  }

  Result<void> run(std::vector<std::string> sources, CopyRequest request = {}) {
    fs::remove_all(out());
    request.from = from();
    request.before = before();
    request.out = out();
    if (request.destination.empty()) request.destination = "/out";
    request.sources = std::move(sources);
    return copy_with_parents(request);
  }

  // All that was made below the destination, folders with a slash behind.
  std::vector<std::string> made(std::vector<std::string> sources, CopyRequest request = {}) {
    const auto done = run(std::move(sources), std::move(request));
    EXPECT_TRUE(done) << done.error().message << " " << done.error().cause;
    return all_in(out());
  }
  static std::vector<std::string> all_in(const fs::path& root) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(root)) {
      names.push_back(entry.path().lexically_relative(root).generic_string() +
                      (entry.is_directory() && !entry.is_symlink() ? "/" : ""));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  struct stat status(const std::string& name) const {
    struct stat found {};
    EXPECT_EQ(::lstat((out() / name).c_str(), &found), 0) << name;
    return found;
  }
  std::string owner(const std::string& name) const {
    const auto found = status(name);
    return std::to_string(found.st_uid) + ":" + std::to_string(found.st_gid);
  }
  unsigned mode(const std::string& name) const { return status(name).st_mode & 07777U; }

  Scratch scratch_;
};

TEST_F(CopyParentsTest, keeps_the_folders_of_what_it_takes_from_the_pivot_on) {
  put_tree();
  const std::vector<std::string> whole = {"out/",       "out/c/",        "out/c/d/",
                                          "out/c/d/e/", "out/c/d/e/bay", "out/c/d/foo"};
  EXPECT_EQ(made({"/test/a/b/./c/d"}), whole);
  EXPECT_EQ(made({"./test/a/b/./c/d/"}), whole);
  EXPECT_THAT(made({"/test/a/b/c/d/."}),
              ElementsAre("out/", "out/test/", "out/test/a/", "out/test/a/b/", "out/test/a/b/c/",
                          "out/test/a/b/c/d/", "out/test/a/b/c/d/e/", "out/test/a/b/c/d/e/bay",
                          "out/test/a/b/c/d/foo"));
  EXPECT_THAT(made({"/test/a/./b/./c"}),
              ElementsAre("out/", "out/b/", "out/b/c/", "out/b/c/d/", "out/b/c/d/e/",
                          "out/b/c/d/e/bay", "out/b/c/d/foo"));
  EXPECT_THAT(made({"/test/a/./*/c"}),
              ElementsAre("out/", "out/b/", "out/b/c/", "out/b/c/d/", "out/b/c/d/e/",
                          "out/b/c/d/e/bay", "out/b/c/d/foo", "out/b2/", "out/b2/c/", "out/b2/c/d/",
                          "out/b2/c/d/e/", "out/b2/c/d/e/bar"));
  EXPECT_THAT(made({"/test/a/b*/./c/**/e"}), ElementsAre("out/", "out/c/", "out/c/d/", "out/c/d/e/",
                                                         "out/c/d/e/bar", "out/c/d/e/bay"));
  EXPECT_THAT(made({"/test/a/b/c*/./d/**/baz", "/test/a/b*/./c/**/bar"}),
              ElementsAre("out/", "out/c/", "out/c/d/", "out/c/d/e/", "out/c/d/e/bar", "out/d/",
                          "out/d/e/", "out/d/e/baz", "out/d/e2/", "out/d/e2/baz"));
}

TEST_F(CopyParentsTest, nothing_is_there_for_a_wildcard_that_matches_nothing_and_a_name_must_be) {
  put_tree();
  EXPECT_THAT(made({"/test/a/b2*/x"}), ElementsAre("out/"));
  EXPECT_THAT(made({"/test/a/b/./x*"}), ElementsAre("out/"));
  EXPECT_THAT(run({"/test/none"}).error().message, HasSubstr("there is no 'test/none'"));
  EXPECT_THAT(run({"/test/a/none/./x*"}).error().message, HasSubstr("there is no 'test/a/none'"));
  EXPECT_THAT(run({"/test/a/b/c/d/foo/./x"}).error().message, HasSubstr("is no folder"));
  EXPECT_THAT(run({"/"}).error().message, HasSubstr("nothing that has parents"));
}

TEST_F(CopyParentsTest, what_is_excluded_makes_no_folder_either) {
  for (const char* name : {"p/one/package.json", "p/one/src/x.ts", "p/two/package.json", "p/two/y",
                           "p/empty/z", "q/package.json"}) {
    put(from(), name);
  }
  CopyRequest request;
  EXPECT_THAT(made({"p/*/package.json"}),
              ElementsAre("out/", "out/p/", "out/p/one/", "out/p/one/package.json", "out/p/two/",
                          "out/p/two/package.json"));
  request.excludes = {"p/two"};
  EXPECT_THAT(made({"**/package.json"}, request),
              ElementsAre("out/", "out/p/", "out/p/one/", "out/p/one/package.json", "out/q/",
                          "out/q/package.json"));
}

TEST_F(CopyParentsTest, owners_modes_and_links_are_kept_of_what_is_new) {
  put(from(), "d/sub/f");
  ASSERT_EQ(::link((from() / "d/sub/f").c_str(), (from() / "d/sub/g").c_str()), 0);
  fs::create_symlink("../nowhere", from() / "d/l");
  ASSERT_EQ(::chown((from() / "d/sub").c_str(), 12, 34), 0);
  ASSERT_EQ(::lchown((from() / "d/l").c_str(), 5, 6), 0);
  ASSERT_EQ(::chown((from() / "d/sub/f").c_str(), 7, 8), 0);
  ASSERT_EQ(::chmod((from() / "d/sub").c_str(), 02750), 0);
  ASSERT_EQ(::chmod((from() / "d/sub/f").c_str(), 04711), 0);
  const std::array<timespec, 2> times = {timespec{1'000, 0}, timespec{2'000, 0}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (from() / "d/sub").c_str(), times.data(), 0), 0);
  made({"d"});
  EXPECT_EQ(status("out/d/sub").st_mtim.tv_sec, 2'000);
  EXPECT_EQ(owner("out/d/sub") + " " + owner("out/d/l") + " " + owner("out/d/sub/f"),
            "12:34 5:6 7:8");
  EXPECT_EQ(mode("out/d/sub"), 02750U);
  EXPECT_EQ(mode("out/d/sub/f"), 04711U);
  EXPECT_EQ(status("out/d/sub/f").st_ino, status("out/d/sub/g").st_ino);
  EXPECT_EQ(fs::read_symlink(out() / "out/d/l"), "../nowhere");
  CopyRequest context;
  context.is_root_owned = true;
  made({"d"}, context);
  EXPECT_EQ(owner("out/d/sub/f"), "0:0");
}

TEST_F(CopyParentsTest, an_owner_is_one_of_the_image_and_a_mode_is_for_all) {
  put(from(), "d/f");
  put(before(), "etc/passwd", "root:x:0:0::/:/\njoe:x:1234:77::/:/\n");
  put(before(), "etc/group", "staff:x:50:\n");
  CopyRequest request;
  const std::pair<const char*, const char*> cases[] = {{"joe", "1234:77"},
                                                       {"joe:staff", "1234:50"},
                                                       {"55", "55:55"},
                                                       {"55:staff", "55:50"},
                                                       {"joe:9", "1234:9"}};
  for (const auto& [name, ids] : cases) {
    request.owner = name;
    request.mode = 0640;
    made({"d/f"}, request);
    for (const char* path : {"out", "out/d", "out/d/f"}) EXPECT_EQ(owner(path), ids) << path;
    EXPECT_EQ(mode("out/d"), 0640U);
    EXPECT_EQ(mode("out/d/f"), 0640U);
    EXPECT_EQ(mode("out"), 0755U);
  }
  request.owner = "ann";
  EXPECT_THAT(run({"d/f"}, request).error().message, HasSubstr("no user 'ann'"));
  request.owner = "joe:wheel";
  EXPECT_THAT(run({"d/f"}, request).error().message, HasSubstr("no group 'wheel'"));
}

// Docker keeps the owner of a folder that the image has, and gives it the source's mode.
TEST_F(CopyParentsTest, a_folder_that_the_image_has_keeps_its_owner) {
  put(from(), "home/joe/f");
  ASSERT_EQ(::chmod((from() / "home/joe").c_str(), 0711), 0);
  put(before(), "home/joe/.profile");
  put(before(), "home/other/");
  ASSERT_EQ(::chown((before() / "home/joe").c_str(), 1234, 77), 0);
  ASSERT_EQ(::chmod((before() / "home/joe").c_str(), 0700), 0);
  CopyRequest request;
  request.destination = "/";
  request.owner = "5";
  EXPECT_THAT(made({"home/joe/f"}, request), ElementsAre("home/", "home/joe/", "home/joe/f"));
  EXPECT_EQ(owner("home/joe") + " " + owner("home/joe/f"), "1234:77 5:5");
  EXPECT_EQ(mode("home/joe"), 0711U);
  request.destination = "/home/joe";
  made({"home/joe/f"}, request);
  EXPECT_EQ(owner("home/joe") + " " + owner("home/joe/home"), "1234:77 5:5");
  EXPECT_EQ(mode("home/joe"), 0700U) << "the destination itself";
}

TEST_F(CopyParentsTest, the_destination_is_reached_through_the_images_links_and_never_out_of_it) {
  put(from(), "f");
  put(before(), "run/");
  fs::create_directories(before() / "var");
  fs::create_symlink("/run", before() / "var/run");
  fs::create_symlink("../../../../../../etc", before() / "var/up");
  fs::create_symlink("loop", before() / "loop");
  CopyRequest request;
  request.destination = "/var/run/x";
  EXPECT_THAT(made({"f"}, request), ElementsAre("run/", "run/x/", "run/x/f"));
  request.destination = "/var/up";
  EXPECT_THAT(made({"f"}, request), ElementsAre("etc/", "etc/f"));
  request.destination = "/loop";
  EXPECT_THAT(run({"f"}, request).error().message, HasSubstr("255 links"));
}

TEST_F(CopyParentsTest, a_file_and_a_folder_do_not_take_each_others_place) {
  put(from(), "a/b");
  put(from(), "c");
  put(before(), "out/a");
  put(before(), "out/c/");
  EXPECT_THAT(run({"a/b"}).error().message, HasSubstr("/out/a is in the image already"));
  EXPECT_THAT(run({"c"}).error().message, HasSubstr("/out/c is a folder in the image already"));
  fs::remove_all(before() / "out");
  fs::create_directories(before() / "out");
  fs::create_symlink("/etc", before() / "out/a");
  EXPECT_THAT(run({"a/b"}).error().message, HasSubstr("/out/a is in the image already"));
}

TEST_F(CopyParentsTest, a_link_in_what_is_copied_leads_nowhere_but_before_the_pivot) {
  put(from(), "real/x/f");
  fs::create_symlink("real", from() / "alias");
  fs::create_symlink("/etc", from() / "out");
  EXPECT_THAT(made({"alias/./x/f"}), ElementsAre("out/", "out/x/", "out/x/f"));
  EXPECT_THAT(made({"alias/x/*"}), ElementsAre("out/"));
  EXPECT_THAT(made({"out"}), ElementsAre("out/", "out/out"));
  EXPECT_TRUE(fs::is_symlink(out() / "out/out"));
}

}  // namespace
}  // namespace atlasflow::copy_parents
