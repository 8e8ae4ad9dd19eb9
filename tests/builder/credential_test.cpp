// Logins of private repositories that git itself serves, and those that end in the middle.
#include "builder/source/credential.hpp"

#include <gmock/gmock.h>

#include "builder/source/checkout.hpp"
#include "builder/source/remote_head.hpp"
#include "tests/builder/git_server.hpp"
#include "tests/builder/origin.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

class CredentialTest : public ::testing::Test {
 protected:
  // A repository with a commit on main; its SHA.
  std::string serve(const std::string& authorization) {
    Origin origin(scratch_.path() / "www" / "repo.git");
    const std::string sha = origin.commit("refs/heads/main", {{"file", "by http"}});
    write(fs::path(origin.path()) / "config",
          read(fs::path(origin.path()) / "config") + "[safe]\n\tdirectory = *\n");
    server_ = std::make_unique<GitServer>(scratch_.path() / "www", authorization);
    return sha;
  }
  std::string url() const {
    return "http://127.0.0.1:" + std::to_string(server_->port()) + "/repo.git";
  }
  CheckoutRequest request(const std::string& url, const std::string& sha) const {
    CheckoutRequest out;
    out.url = url;
    out.sha = sha;
    out.ref = "refs/heads/main";
    out.folder = folder();
    return out;
  }
  fs::path folder() const { return scratch_.path() / "work" / "checkout"; }

  Scratch scratch_;
  std::unique_ptr<GitServer> server_;
};

// A token lives for an hour, and a clone takes what it takes: whichever request it is that comes
// too late, the fetch goes on with another.
TEST_F(CredentialTest, a_token_that_ends_in_the_middle_is_asked_for_again) {
  for (const int requests : {0, 1, 2}) {
    const std::string sha = serve("Basic bWU6czNjcmV0");    // me:s3cret
    server_->change_after(requests, "Basic bWU6bmV3ZXI=");  // me:newer
    auto asking = request(url(), sha);
    std::vector<std::string> refused_ones;
    asking.credential = [&](const Credential* refused) {
      if (refused == nullptr) return Credential{"me", Secret("s3cret")};
      refused_ones.push_back(refused->password.reveal());
      return Credential{"me", Secret("newer")};
    };
    const auto checkout = check_out(asking, {});
    ASSERT_TRUE(checkout) << requests << ": " << to_string(checkout.error());
    EXPECT_EQ(read(folder() / "file"), "by http");
    const bool ended_before_the_end = requests < 2;
    EXPECT_EQ(refused_ones.size(), ended_before_the_end ? 1U : 0U) << requests;
    fs::remove_all(folder());
  }
}

TEST_F(CredentialTest, why_there_is_no_credential_is_what_the_user_reads) {
  const std::string sha = serve("Basic bWU6czNjcmV0");
  auto asking = request(url(), sha);
  asking.credential = [](const Credential*) -> Result<std::optional<Credential>> {
    return fail(ErrorCode::not_found, "the App is not installed there");
  };
  const auto checkout = check_out(asking, {});
  ASSERT_FALSE(checkout);
  EXPECT_EQ(checkout.error().code, ErrorCode::not_found);
  EXPECT_EQ(checkout.error().message, "the App is not installed there");
  const auto head = remote_head(url(), "main", asking.credential);
  ASSERT_FALSE(head);
  EXPECT_EQ(head.error().message, "the App is not installed there");
}

TEST_F(CredentialTest, the_head_of_a_private_repository_is_read_with_the_credential) {
  const std::string sha = serve("Basic bWU6bmV3ZXI=");
  const auto head = remote_head(url(), "main", [](const Credential* refused) {
    return Credential{"me", Secret(refused == nullptr ? "s3cret" : "newer")};
  });
  ASSERT_TRUE(head) << to_string(head.error());
  EXPECT_EQ(head->sha, sha);
  const auto denied = remote_head(url(), "main");
  ASSERT_FALSE(denied);
  EXPECT_EQ(denied.error().code, ErrorCode::user_error);
  EXPECT_THAT(denied.error().message, HasSubstr("atlasflow github connect"));
}

}  // namespace
}  // namespace atlasflow::builder
