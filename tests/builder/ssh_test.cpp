// Private repositories by SSH, from a real OpenSSH server.
#include <chrono>
#include <optional>

#include <gmock/gmock.h>

#include "base/ssh_key.hpp"
#include "builder/source/checkout.hpp"
#include "builder/source/credential.hpp"
#include "builder/source/remote_head.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/builder/ssh_server.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class Ssh : public testing::Test {
 protected:
  Ssh() { server_.let_in(key_.public_key); }

  CredentialSource with(const SshKey& key) {
    return [this, &key](const Credential*) {
      ++asked_;
      return Credential{"", {}, key.private_key};
    };
  }
  HostKeyCheck trust() {
    return [this](const std::string& host, const std::string& fingerprint) -> Result<void> {
      seen_.push_back(host + " " + fingerprint);
      if (trusted_.empty() || trusted_ == fingerprint) return {};
      return fail(ErrorCode::user_error, "another host key");
    };
  }
  CheckoutRequest request(const std::string& path, const std::string& sha) {
    CheckoutRequest out;
    out.url = server_.url(path);
    out.sha = sha;
    out.ref = "refs/heads/main";
    out.folder = folder();
    out.credential = with(key_);
    out.host_key = trust();
    return out;
  }
  fs::path folder() const { return scratch_.path() / "work" / "checkout"; }
  fs::path root() const { return scratch_.path() / "repositories"; }

  Scratch scratch_;
  SshKey key_ = *make_ssh_key("atlasflow-test");
  SshServer server_{root(), scratch_.path() / "sshd"};
  std::string trusted_;  // empty: any
  std::vector<std::string> seen_;
  int asked_ = 0;
};

TEST_F(Ssh, a_commit_is_cloned_with_the_key_of_the_project) {
  Origin origin(root() / "repo.git");
  const auto first = origin.commit("refs/heads/main", {{"file", "first"}});
  const auto second = origin.commit("refs/heads/main", {{"file", "second"}}, "Second", {first});
  const auto old = check_out(request("/repo.git", first), {});
  ASSERT_TRUE(old) << to_string(old.error());
  EXPECT_EQ(read(folder() / "file"), "first");
  EXPECT_THAT(seen_, Not(IsEmpty()));
  for (const auto& each : seen_) {
    EXPECT_EQ(each, "[127.0.0.1]:" + std::to_string(server_.port()) + " " + server_.fingerprint());
  }
  const auto newest = check_out(request("/repo.git", second), {});
  ASSERT_TRUE(newest) << to_string(newest.error());
  EXPECT_EQ(newest->sha, second);
  write(root() / "repo.git" / "HEAD", "ref: refs/heads/main\n");
  const auto head = remote_head(server_.url("/repo.git"), "", with(key_), trust());
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, second);
}

// Without a user in the URL the host asks for one first.
TEST_F(Ssh, a_url_without_a_user_asks_as_git) {
  Origin origin(root() / "repo.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  const auto head = remote_head("ssh://127.0.0.1:" + std::to_string(server_.port()) + "/repo.git",
                                "main", with(key_), trust());
  // There is no such user on this machine, or it has no shell: that is all it fails of.
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::user_error) << to_string(head.error());
  EXPECT_THAT(head.error().message, HasSubstr("atlasflow project deploy-key"));
  EXPECT_EQ(asked_, 1);
}

TEST_F(Ssh, a_key_that_the_host_does_not_know_is_refused_with_what_to_do) {
  Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}});
  const auto stranger = *make_ssh_key("stranger");
  auto asking = request("/repo.git", sha);
  asking.credential = with(stranger);
  const auto refused = check_out(asking, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error) << to_string(refused.error());
  EXPECT_THAT(refused.error().message, HasSubstr("access to " + asking.url + " was denied"));
  EXPECT_THAT(refused.error().message, HasSubstr("atlasflow project deploy-key"));
  EXPECT_FALSE(fs::exists(folder()));
}

TEST_F(Ssh, why_there_is_no_key_is_what_the_user_reads) {
  Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}});
  auto asking = request("/repo.git", sha);
  asking.credential = [](const Credential*) -> Result<std::optional<Credential>> {
    return fail(ErrorCode::user_error, "project 'web' has no deploy key");
  };
  const auto refused = check_out(asking, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "project 'web' has no deploy key");
}

// The key is not even shown to it.
TEST_F(Ssh, a_host_with_another_key_gets_no_login) {
  Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "x"}});
  trusted_ = server_.fingerprint();
  ASSERT_TRUE(check_out(request("/repo.git", sha), {}));
  fs::remove_all(folder());
  fs::remove(folder().string() + ".done");
  server_.change_host_key();
  ASSERT_NE(server_.fingerprint(), trusted_);
  asked_ = 0;
  const auto refused = check_out(request("/repo.git", sha), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().message, "another host key");
  EXPECT_EQ(asked_, 0);
  const auto head = remote_head(server_.url("/repo.git"), "main", with(key_), trust());
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().message, "another host key");
  // Nobody who does not compare is let through either.
  auto careless = request("/repo.git", sha);
  careless.host_key = {};
  EXPECT_FALSE(check_out(careless, {}));
  EXPECT_EQ(asked_, 0);
}

TEST_F(Ssh, a_host_that_is_away_is_tried_again) {
  server_.stop();
  const auto head = remote_head(server_.url("/repo.git"), "main", with(key_), trust());
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::unavailable) << to_string(head.error());
  const auto checkout = check_out(request("/repo.git", std::string(40, 'a')), {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::unavailable) << to_string(checkout.error());
  server_.start();
  Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main", {{"file", "back"}});
  const auto again = check_out(request("/repo.git", sha), {});
  ASSERT_TRUE(again) << to_string(again.error());
}

TEST_F(Ssh, what_is_not_there_is_told_apart) {
  Origin origin(root() / "repo.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  const auto no_commit = check_out(request("/repo.git", std::string(40, 'a')), {});
  ASSERT_FALSE(no_commit);
  EXPECT_EQ(no_commit.error().code, ErrorCode::not_found) << to_string(no_commit.error());
  EXPECT_THAT(no_commit.error().message, HasSubstr("was it force-pushed away?"));
  const auto no_branch = remote_head(server_.url("/repo.git"), "nope", with(key_), trust());
  ASSERT_FALSE(no_branch);
  EXPECT_EQ(no_branch.error().code, ErrorCode::not_found);
  const auto no_repository = remote_head(server_.url("/none.git"), "main", with(key_), trust());
  ASSERT_FALSE(no_repository);
  EXPECT_EQ(no_repository.error().code, ErrorCode::not_found) << to_string(no_repository.error());
  EXPECT_THAT(no_repository.error().message, HasSubstr("for the project's deploy key"));
}

TEST_F(Ssh, a_submodule_on_the_same_host_is_fetched_with_the_same_key) {
  Origin theme(root() / "theme.git");
  const auto theme_sha = theme.commit("refs/heads/main", {{"style", "blue"}});
  Origin origin(root() / "repo.git");
  const auto sha = origin.commit("refs/heads/main",
                                 {{".gitmodules",
                                   "[submodule \"theme\"]\n\tpath = theme\n\turl = ../theme.git\n"
                                   "[submodule \"same\"]\n\tpath = same\n\turl = " +
                                       server_.url("/theme.git") +
                                       "\n[submodule \"other\"]\n\tpath = other\n"
                                       "\turl = ssh://git@localhost/theme.git\n"},
                                  {"theme", theme_sha, GIT_FILEMODE_COMMIT},
                                  {"same", theme_sha, GIT_FILEMODE_COMMIT},
                                  {"other", theme_sha, GIT_FILEMODE_COMMIT}});
  const auto checkout = check_out(request("/repo.git", sha), {});
  ASSERT_TRUE(checkout) << to_string(checkout.error());
  EXPECT_EQ(read(folder() / "theme" / "style"), "blue");
  EXPECT_EQ(read(folder() / "same" / "style"), "blue");
  EXPECT_THAT(checkout->notices, ElementsAre(HasSubstr("not on the same host")));
}

// A stop ends a connection that is under way at any moment of it.
TEST_F(Ssh, a_stop_ends_it) {
  Origin origin(root() / "repo.git");
  origin.commit("refs/heads/main", {{"file", "x"}});
  std::stop_source stop;
  const auto stopping = [&](const std::string&, const std::string&) -> Result<void> {
    stop.request_stop();
    return {};
  };
  const auto head =
      remote_head(server_.url("/repo.git"), "main", with(key_), stopping, stop.get_token());
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().code, ErrorCode::cancelled) << to_string(head.error());
}

}  // namespace
}  // namespace atlasflow::builder
