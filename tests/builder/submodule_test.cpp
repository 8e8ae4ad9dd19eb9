// Submodules: what a commit says of other repositories, and which of them it gets.
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include "builder/source/checkout.hpp"
#include "builder/source/repository_url.hpp"
#include "builder/source/submodules.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

namespace fs = std::filesystem;

class SubmoduleTest : public ::testing::Test {
 protected:
  Result<Checkout> check_out_of(const std::string& url, const std::string& sha) {
    CheckoutRequest request;
    request.url = url;
    request.sha = sha;
    request.ref = "refs/heads/main";
    request.folder = folder();
    return check_out(request, {});
  }
  fs::path folder() const { return scratch_.path() / "work" / "checkout"; }
  fs::path path(const std::string& name) const { return scratch_.path() / "git" / name; }

  static std::vector<Entry> with_submodule(const std::string& at, const std::string& url,
                                           const std::string& sha) {
    return {
        {"file", "x"},
        {".gitmodules", "[submodule \"" + at + "\"]\n\tpath = " + at + "\n\turl = " + url + "\n"},
        {at, sha, GIT_FILEMODE_COMMIT}};
  }

  Scratch scratch_;
};

TEST_F(SubmoduleTest, what_gitmodules_says_is_read_as_git_reads_it) {
  EXPECT_THAT(
      read_gitmodules("# x\n[submodule \"a\"]\n\tpath = vendor/a ; why\n\tURL=\"../a b.git\"\n"
                      "[submodule \"b\"]\r\n  url = https://x/b\r\n  path=b\r\n  branch = main\n"
                      "[submodule \"no url\"]\n path = c\nnonsense\n[other]\n"),
      UnorderedElementsAre(Pair("vendor/a", "../a b.git"), Pair("b", "https://x/b")));
  EXPECT_THAT(read_gitmodules(""), IsEmpty());
  EXPECT_THAT(read_gitmodules("path = a\nurl = b"), ElementsAre(Pair("a", "b")));
}

TEST_F(SubmoduleTest, a_submodule_is_fetched_only_from_where_the_repository_is) {
  struct Case {
    std::string parent;
    std::string written;
    std::string url;  // empty: it is left out
  };
  const Case cases[] = {
      {"https://h/me/web.git", "../theme.git", "https://h/me/theme.git"},
      {"https://h/me/web.git", "../../you/theme", "https://h/you/theme"},
      {"https://h/me/web.git/", "./inner", "https://h/me/web.git/inner"},
      {"https://h/me/web.git", "https://h/me/theme", "https://h/me/theme"},
      {"https://h/me/web.git", "git@h:me/theme.git", "https://h/me/theme.git"},
      {"https://h/me/web.git", "ssh://git@h/me/theme.git", "https://h/me/theme.git"},
      {"https://h:8443/web", "https://h:8443/x", "https://h:8443/x"},
      {"https://h/me/web.git", "https://other/me/theme", ""},
      {"https://h/me/web.git", "http://h/me/theme", ""},
      {"https://h/me/web.git", "https://h:444/me/theme", ""},
      {"https://h/me/web.git", "https://h@other/theme", ""},
      {"https://h/me/web.git", "https://me:secret@h/theme", ""},
      {"https://h/me/web.git", "file:///srv/git/theme", ""},
      {"https://h/me/web.git", "/srv/git/theme", ""},
      {"https://h/me/web.git", "../../../../theme", ""},
      {"https://h/me/web.git", "-u./x", ""},
      {"https://h/me/web.git", "ext::sh -c x", ""},
      {"https://h/me/web.git", "https://h/a\nb", ""},
      {"git@h:me/web.git", "../theme.git", "git@h:me/theme.git"},
      {"git@h:me/web.git/", "../../you/theme", "git@h:you/theme"},
      {"git@h:web.git", "../theme.git", "git@h:theme.git"},
      {"git@h:web.git", "../../theme.git", ""},
      {"git@h:/srv/web.git", "../theme.git", "git@h:/srv/theme.git"},
      {"ssh://me@h:2222/me/web.git", "../theme.git", "ssh://me@h:2222/me/theme.git"},
      {"ssh://me@h:2222/web.git", "../../theme.git", ""},
      {"git@h:me/web.git", "git@H:me/theme.git", "git@H:me/theme.git"},
      {"git@h:me/web.git", "ssh://git@h/me/theme.git", "ssh://git@h/me/theme.git"},
      {"git@h:me/web.git", "https://h/me/theme.git", "https://h/me/theme.git"},
      {"git@h:me/web.git", "https://me:secret@h/me/theme.git", ""},
      {"git@h:me/web.git", "https://h:8443/me/theme.git", ""},
      {"git@h:me/web.git", "http://h/me/theme.git", ""},
      {"git@h:me/web.git", "root@h:me/theme.git", ""},
      {"git@h:me/web.git", "ssh://git@h:2222/me/theme.git", ""},
      {"git@h:me/web.git", "git@other:me/theme.git", ""},
      {"git@h:me/web.git", "git@h:-oProxyCommand=x", ""},
      {"git@h:me/web.git", "/srv/git/theme", ""},
      {"git@h:me/web.git", "ext::sh -c x", ""},
      {"file:///srv/git/web", "file:///srv/git/theme", "file:///srv/git/theme"},
      {"/srv/git/web/", "../theme/", "file:///srv/git/theme"},
      {"file:///srv/git/web", "/srv/git/theme", "file:///srv/git/theme"},
      {"file:///srv/git/web", "/srv/git/../git/theme", "file:///srv/git/theme"},
      {"file:///srv/git/web", "/srv/git/../../etc", ""},
      {"file:///srv/git/web", "../../other/theme", ""},
      {"file:///srv/git/web", "/root/secret", ""},
      {"file:///srv/git/web", "/srv/git/web", ""},
      {"file:///srv/git/web", "./inner", ""},
      {"file:///srv/git/web", "https://h/theme", ""},
      {"file:///srv/git/web", "git@h:theme", ""},
  };
  for (const auto& each : cases) {
    EXPECT_EQ(submodule_url(each.parent, each.written).value_or(""), each.url)
        << each.parent << " " << each.written;
  }
}

TEST_F(SubmoduleTest, one_that_lies_beside_the_repository_is_in_the_checkout) {
  Origin leaf(path("leaf"));
  const auto leaf_sha = leaf.commit("refs/heads/main", {{"leaf.txt", "leaf"}});
  Origin theme(path("theme"));
  const auto theme_sha =
      theme.commit("refs/heads/main", with_submodule("deep/leaf", "../leaf", leaf_sha));
  theme.commit("refs/heads/main", {{"newer", "x"}});  // The commit that is named counts.
  theme.commit("refs/heads/kept", {{"x", "x"}}, "kept", {theme_sha});
  Origin origin(path("web"));
  const auto sha =
      origin.commit("refs/heads/main", with_submodule("vendor/theme", "../theme", theme_sha));
  const auto checkout = check_out_of(origin.url(), sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices, IsEmpty());
  EXPECT_EQ(read(folder() / "vendor/theme/file"), "x");
  EXPECT_EQ(read(folder() / "vendor/theme/deep/leaf/leaf.txt"), "leaf");
  EXPECT_FALSE(fs::exists(folder() / "vendor/theme/newer"));
  EXPECT_FALSE(fs::exists(folder().string() + ".submodule"));
}

TEST_F(SubmoduleTest, one_that_cannot_be_had_is_a_notice_and_an_empty_folder) {
  Origin theme(path("theme"));
  theme.commit("refs/heads/main", {{"file", "x"}});
  Origin elsewhere(scratch_.path() / "elsewhere/theme");
  const auto other_sha = elsewhere.commit("refs/heads/main", {{"secret", "x"}});
  Origin origin(path("web"));
  const std::pair<std::string, std::string> cases[] = {
      {"../theme", "is not in "},  // Not with that commit.
      {"../absent", "not beside the repository, with the same owner"},
      {"https://example.invalid/x", "not beside the repository, with the same owner"},
      {elsewhere.path(), "not beside the repository, with the same owner"}};
  for (const auto& [url, said] : cases) {
    const auto sha = origin.commit("refs/heads/main", with_submodule("theme", url, other_sha));
    const auto checkout = check_out_of(origin.url(), sha);
    ASSERT_TRUE(checkout) << url << to_string(checkout.error());
    EXPECT_THAT(checkout->notices, ElementsAre(HasSubstr("submodule 'theme' ("))) << url;
    EXPECT_THAT(checkout->notices.front(), HasSubstr(said)) << url;
    EXPECT_TRUE(fs::is_empty(folder() / "theme")) << url;
  }
  const auto sha = origin.commit("refs/heads/main", {{"theme", other_sha, GIT_FILEMODE_COMMIT},
                                                     {".gitmodules", "theme", GIT_FILEMODE_LINK}});
  const auto checkout = check_out_of(origin.url(), sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices, ElementsAre(HasSubstr(".gitmodules does not say where it is")));
}

TEST_F(SubmoduleTest, another_owners_repository_on_this_machine_is_not_read) {
  if (::geteuid() != 0) GTEST_SKIP() << "only root can give files away";
  Origin theme(path("theme"));
  const auto theme_sha = theme.commit("refs/heads/main", {{"secret", "x"}});
  Origin origin(path("web"));
  const auto sha = origin.commit("refs/heads/main", with_submodule("t", "../theme", theme_sha));
  ASSERT_EQ(::chown(origin.path().c_str(), 12345, 12345), 0);
  const auto checkout = check_out_of(origin.url(), sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices, ElementsAre(HasSubstr("with the same owner")));
  EXPECT_TRUE(fs::is_empty(folder() / "t"));
}

TEST_F(SubmoduleTest, one_that_names_itself_ends) {
  Origin origin(path("a"));
  Origin other(path("b"));
  // Each names a commit of the other that names one of it: as deep as the two were made.
  std::string sha = origin.commit("refs/heads/main", {{"file", "x"}});
  for (int i = 0; i < 10; ++i) {
    Origin& next = i % 2 == 0 ? other : origin;
    sha = next.commit("refs/heads/c" + std::to_string(i),
                      with_submodule("in", i % 2 == 0 ? "../a" : "../b", sha));
  }
  const auto checkout = check_out_of(origin.url(), sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices, ElementsAre(HasSubstr("nested more than three deep")));
  EXPECT_TRUE(fs::exists(folder() / "in/in/in/file"));
  EXPECT_TRUE(fs::is_empty(folder() / "in/in/in/in"));
}

TEST_F(SubmoduleTest, the_notices_of_many_are_bounded) {
  Origin origin(path("web"));
  std::vector<Entry> entries;
  for (int i = 0; i < 50; ++i) {
    entries.push_back({"m" + std::to_string(i), std::string(40, 'b'), GIT_FILEMODE_COMMIT});
  }
  const auto checkout = check_out_of(origin.url(), origin.commit("refs/heads/main", entries));
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(checkout->notices.size(), 11U);
  EXPECT_EQ(checkout->notices.back(), "40 more submodules were left out");
}

TEST_F(SubmoduleTest, over_http_it_comes_from_the_same_host_without_the_credential) {
  Origin theme(path("theme.git"));
  const auto theme_sha = theme.commit("refs/heads/main", {{"style.css", "p {}"}});
  Origin origin(path("web.git"));
  const auto sha =
      origin.commit("refs/heads/main", with_submodule("theme", "../theme.git", theme_sha));
  for (const auto* each : {&theme, &origin}) {
    const auto config = fs::path(each->path()) / "config";
    write(config, read(config) + "[safe]\n\tdirectory = *\n");
  }
  const GitServer server(scratch_.path() / "git", std::nullopt);
  const auto checkout =
      check_out_of("http://127.0.0.1:" + std::to_string(server.port()) + "/web.git", sha);
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_THAT(checkout->notices, IsEmpty());
  EXPECT_EQ(read(folder() / "theme/style.css"), "p {}");
}

}  // namespace
}  // namespace atlasflow::builder
