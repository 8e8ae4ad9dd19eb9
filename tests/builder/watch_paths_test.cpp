#include "builder/source/watch_paths.hpp"

#include <chrono>

#include <gmock/gmock.h>

#include "builder/source/checkout.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Optional;
using ::testing::UnorderedElementsAre;

TEST(WatchPaths, a_pattern_is_a_path_from_the_root_with_stars_in_it) {
  struct Case {
    std::string glob;
    std::string path;
    bool matches;
  };
  const Case cases[] = {
      {"package.json", "package.json", true},
      {"package.json", "web/package.json", false},
      {"src/main.c", "src/main.c", true},
      {"src/main.c", "src/main.cpp", false},
      {"src", "src/main.c", false},
      {"*", "a", true},
      {"*", "a/b", false},
      {"*.c", "main.c", true},
      {"*.c", "src/main.c", false},
      {"*.c", ".c", true},
      {"src/*.c", "src/main.c", true},
      {"src/*.c", "src/deep/main.c", false},
      {"s*c/m*n.*", "src/main.c", true},
      {"a*b*c", "aXbYbZc", true},
      {"a*b*c", "aXbYbZ", false},
      {"?.c", "a.c", true},
      {"?.c", ".c", false},
      {"a?b", "a/b", false},
      {"src/**", "src/main.c", true},
      {"src/**", "src/a/b/c", true},
      {"src/**", "srcs/a", false},
      {"src/**", "web/src/a", false},
      {"src/**", "src", true},  // A submodule there.
      {"**", "a/b/c", true},
      {"**/main.c", "main.c", true},
      {"**/main.c", "a/b/main.c", true},
      {"**/main.c", "a/xmain.c", false},
      {"a/**/b", "a/b", true},
      {"a/**/b", "a/x/y/b", true},
      {"a/**/b", "a/x/y/bb", false},
      {"**/test/**/*.js", "web/test/unit/a/b.js", true},
      {"**/test/**/*.js", "test/b.js", true},
      {"**/test/**/*.js", "testing/b.js", false},
      {"pages/[id].js", "pages/[id].js", true},
      {"pages/[id].js", "pages/i.js", false},
      {"", "a", false},
  };
  for (const auto& [glob, path, expected] : cases) {
    EXPECT_EQ(matches(glob, path), expected) << glob << " and " << path;
  }
}

TEST(WatchPaths, a_pattern_that_is_all_stars_does_not_take_for_ever) {
  std::string glob;
  for (int i = 0; i < 60; ++i) glob += "**/*a";
  const std::string path = std::string(2000, 'a') + "/" + std::string(2000, 'a') + "/b";
  const auto started = std::chrono::steady_clock::now();
  EXPECT_FALSE(matches(std::string(127, '*') + "a" + std::string(127, '*') + "b", path));
  EXPECT_FALSE(matches(glob + "/c", path));
  EXPECT_LT(std::chrono::steady_clock::now() - started, std::chrono::seconds(1));
}

TEST(WatchPaths, skip_only_when_it_is_known_that_none_changed) {
  const std::string base(40, 'b');
  const std::vector<std::string> globs = {"src/**", "package.json"};
  using Paths = std::optional<std::vector<std::string>>;
  EXPECT_EQ(judge_changes(Paths({"docs/a.md"}), base, globs).skip_reason,
            "none of the watched paths changed since bbbbbbb: src/**, package.json");
  EXPECT_EQ(judge_changes(Paths({"docs/a.md", "src/b"}), base, globs).skip_reason, "");
  EXPECT_EQ(judge_changes(Paths({"docs/a.md", "src/b"}), base, globs).notice, "");
  EXPECT_EQ(judge_changes(Paths({"docs/a.md"}), base, {}).skip_reason, "");
  EXPECT_EQ(judge_changes(Paths(), "", globs).skip_reason, "");
  EXPECT_EQ(judge_changes(Paths(), "", globs).notice, "");
  const auto unknown = judge_changes(Paths(), base, globs);
  EXPECT_EQ(unknown.skip_reason, "");
  EXPECT_THAT(unknown.notice, HasSubstr("what changed since bbbbbbb, which is live, is not known"));
}

TEST(WatchPaths, the_repositorys_settings_are_always_watched) {
  using Paths = std::optional<std::vector<std::string>>;
  EXPECT_EQ(judge_changes(Paths({"atlasflow.toml"}), "b", {"src/**"}).skip_reason, "");
  EXPECT_NE(judge_changes(Paths({"web/atlasflow.toml"}), "b", {"src/**"}).skip_reason, "");
}

TEST(WatchPaths, a_reason_does_not_list_all_of_64_patterns) {
  const std::vector<std::string> globs(64, "src/**");
  EXPECT_THAT(judge_changes(std::vector<std::string>{}, "b", globs).skip_reason,
              HasSubstr("src/** and 59 more"));
}

// ---- on repositories
// -----------------------------------------------------------------------------

class ChangedPaths : public ::testing::Test {
 protected:
  // What a push of `sha` comes to while `base` is live.
  Result<Checkout> pushed(const std::string& base, const std::string& sha) {
    CheckoutRequest request;
    request.url = origin_.url();
    request.sha = sha;
    request.base_sha = base;
    request.ref = "refs/heads/main";
    request.folder = scratch_.path() / "work" / sha;
    return check_out(request, {});
  }
  std::vector<std::string> changed(const std::string& base, const std::string& sha) {
    const auto checkout = pushed(base, sha);
    EXPECT_TRUE(checkout) << to_string(checkout.error());
    EXPECT_TRUE(checkout && checkout->changed_paths);
    return checkout && checkout->changed_paths ? *checkout->changed_paths
                                               : std::vector<std::string>{"?"};
  }
  std::string skip_reason(const std::string& base, const std::string& sha,
                          const std::vector<std::string>& globs) {
    const auto checkout = pushed(base, sha);
    EXPECT_TRUE(checkout) << to_string(checkout.error());
    return checkout ? judge_changes(checkout->changed_paths, base, globs).skip_reason : "?";
  }

  Scratch scratch_;
  Origin origin_{scratch_.path() / "origin.git"};
  const std::string main_ = "refs/heads/main";
};

TEST_F(ChangedPaths, are_what_was_added_removed_moved_or_made_something_else) {
  const auto base = origin_.commit(main_, {{"same", "1"},
                                           {"deep/er/changed", "1"},
                                           {"gone", "1"},
                                           {"src/moved", "moved"},
                                           {"mode", "1"},
                                           {"kind", "1"},
                                           {"lib", std::string(40, 'a'), GIT_FILEMODE_COMMIT}});
  const auto sha = origin_.commit(main_,
                                  {{"same", "1"},
                                   {"deep/er/changed", "2"},
                                   {"added", "1"},
                                   {"docs/moved", "moved"},
                                   {"mode", "1", GIT_FILEMODE_BLOB_EXECUTABLE},
                                   {"kind", "same", GIT_FILEMODE_LINK},
                                   {"lib", std::string(40, 'b'), GIT_FILEMODE_COMMIT}},
                                  "Change", {base});
  EXPECT_THAT(changed(base, sha),
              UnorderedElementsAre("deep/er/changed", "gone", "added", "src/moved", "docs/moved",
                                   "mode", "kind", "lib"));
}

// github-and-peers.md, section 3, number 22.
TEST_F(ChangedPaths, pain_22_are_compared_by_tree_and_not_read_from_the_commits_of_a_push) {
  const auto live = origin_.commit(main_, {{"src/app", "1"}, {"docs/a", "1"}});
  const std::vector<std::string> watched = {"src/**"};

  // Net zero: a commit changes the app, the next one takes it back. The webhook lists src/app.
  const auto tried = origin_.commit(main_, {{"src/app", "2"}, {"docs/a", "1"}}, "Try", {live});
  const auto reverted =
      origin_.commit(main_, {{"src/app", "1"}, {"docs/a", "2"}}, "Revert", {tried});
  EXPECT_EQ(skip_reason(live, reverted, watched),
            "none of the watched paths changed since " + live.substr(0, 7) + ": src/**");

  // A merge whose own commit changes nothing, of a branch that does: the webhook of a merge may
  // list nothing.
  const auto branch =
      origin_.commit("refs/heads/topic", {{"src/app", "3"}, {"docs/a", "1"}}, "Topic", {live});
  const auto merge =
      origin_.commit(main_, {{"src/app", "3"}, {"docs/a", "2"}}, "Merge topic", {reverted, branch});
  EXPECT_EQ(skip_reason(live, merge, watched), "");
  EXPECT_THAT(changed(reverted, merge), ElementsAre("src/app"));

  // A merge that brings in only what was live before: the webhook lists the branch's commits.
  const auto again =
      origin_.commit(main_, {{"src/app", "3"}, {"docs/a", "4"}}, "Merge again", {merge, branch});
  EXPECT_NE(skip_reason(merge, again, watched), "");
}

TEST_F(ChangedPaths, of_a_push_are_seen_however_many_commits_it_has) {
  const auto live = origin_.commit(main_, {{"src/app", "1"}, {"docs/a", "0"}});
  auto head = origin_.commit(main_, {{"src/app", "2"}, {"docs/a", "0"}}, "First", {live});
  for (int i = 1; i < 60; ++i) {
    head = origin_.commit(main_, {{"src/app", "2"}, {"docs/a", std::to_string(i)}}, "More", {head});
  }
  EXPECT_EQ(skip_reason(live, head, {"src/**"}), "");
}

TEST_F(ChangedPaths, from_a_base_on_top_of_the_commit_are_found_as_well) {
  const auto older = origin_.commit(main_, {{"src/app", "1"}});
  const auto live = origin_.commit(main_, {{"src/app", "2"}}, "Newer", {older});
  EXPECT_THAT(changed(live, older), ElementsAre("src/app"));
}

TEST_F(ChangedPaths, of_a_force_push_whose_base_is_gone_are_not_known_and_it_is_deployed) {
  const auto live = origin_.commit(main_, {{"src/app", "1"}});
  const auto forced = origin_.commit(main_, {{"docs/a", "1"}}, "A new start");
  const auto checkout = pushed(live, forced);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(checkout->changed_paths, std::nullopt);
  const auto verdict = judge_changes(checkout->changed_paths, live, {"src/**"});
  EXPECT_EQ(verdict.skip_reason, "");
  EXPECT_THAT(verdict.notice, HasSubstr("force-pushed"));
}

TEST_F(ChangedPaths, are_told_again_by_a_checkout_that_was_finished_before) {
  const auto base = origin_.commit(main_, {{"a", "1"}});
  const auto sha = origin_.commit(main_, {{"a", "2"}}, "Change", {base});
  EXPECT_THAT(changed(base, sha), ElementsAre("a"));
  std::filesystem::remove_all(origin_.path());  // So that a second fetch would fail.
  EXPECT_THAT(changed(base, sha), ElementsAre("a"));
  // Another base is another question, for which the objects are needed.
  EXPECT_FALSE(pushed("", sha));
}

TEST_F(ChangedPaths, are_not_asked_for_without_a_base) {
  const auto sha = origin_.commit(main_, {{"a", "1"}});
  const auto checkout = pushed("", sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(checkout->changed_paths, std::nullopt);
  EXPECT_EQ(pushed("main", sha).error().code, ErrorCode::invalid_argument);
}

TEST_F(ChangedPaths, are_found_over_http_too) {
  const auto base = origin_.commit(main_, {{"a", "1"}, {"b", "1"}});
  const auto sha = origin_.commit(main_, {{"a", "2"}, {"b", "1"}}, "Change", {base});
  write(std::filesystem::path(origin_.path()) / "config",
        read(std::filesystem::path(origin_.path()) / "config") + "[safe]\n\tdirectory = *\n");
  const GitServer server(scratch_.path(), std::nullopt);
  CheckoutRequest request;
  request.url = "http://127.0.0.1:" + std::to_string(server.port()) + "/origin.git";
  request.sha = sha;
  request.base_sha = base;
  request.ref = main_;
  request.folder = scratch_.path() / "work" / "http";
  const auto checkout = check_out(request, {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->changed_paths, Optional(ElementsAre("a")));
}

}  // namespace
}  // namespace atlasflow::builder
