// What a private clone logs in with, tried by git itself against the GitHub on loopback.
#include "github/clone_login.hpp"

#include <chrono>
#include <cstdlib>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "base/http_client.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class CloneLogin : public testing::Test {
 protected:
  ~CloneLogin() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  // The first request of a clone, by the login that it is given.
  int status_of_clone(const std::string& full_name, const Login& login) {
    HttpRequest request;
    request.url = github_.base_url() + "/" + full_name + ".git/info/refs?service=git-upload-pack";
    request.fields = {
        {"Authorization", "Basic " + base64(login.user + ":" + login.password.reveal())}};
    const auto response = send_http(request);
    return response ? response->status : 0;
  }

  LocalGitHub github_;
  AppClient app_{LocalGitHub::k_app_id,
                 *AppKey::parse(Secret(github_.private_key())),
                 {github_.address(),
                  [] {
                    return std::chrono::duration_cast<std::chrono::seconds>(
                               std::chrono::system_clock::now().time_since_epoch())
                        .count();
                  },
                  std::chrono::milliseconds(10'000)}};
};

TEST_F(CloneLogin, opens_that_repository_and_no_other) {
  github_.make_repository("octo/web");
  github_.make_repository("octo/api");
  const auto login = clone_login(app_, github_.base_url() + "/octo/web.git", nullptr, {});
  ASSERT_TRUE(login) << to_string(login.error());
  ASSERT_TRUE(*login);
  EXPECT_EQ(status_of_clone("octo/web", **login), 200);
  EXPECT_EQ(status_of_clone("octo/api", **login), 404);
}

TEST_F(CloneLogin, one_that_was_refused_is_minted_anew) {
  github_.make_repository("octo/web");
  const auto url = github_.base_url() + "/octo/web.git";
  const auto first = clone_login(app_, url, nullptr, {});
  ASSERT_TRUE(first && *first);
  github_.control({{"revoke_tokens", true}});
  EXPECT_EQ(status_of_clone("octo/web", **first), 401);
  const auto second = clone_login(app_, url, &(*first)->password, {});
  ASSERT_TRUE(second && *second);
  EXPECT_EQ(status_of_clone("octo/web", **second), 200);
}

TEST_F(CloneLogin, there_is_none_for_another_host) {
  for (const char* url : {"https://github.com/octo/web.git", "https://evil.example/octo/web.git",
                          "file:///srv/octo/web.git"}) {
    const auto login = clone_login(app_, url, nullptr, {});
    ASSERT_TRUE(login);
    EXPECT_FALSE(*login) << url;
  }
  EXPECT_THAT(github_.asked(), IsEmpty());
}

TEST_F(CloneLogin, where_the_app_is_not_installed_it_says_so) {
  const auto login = clone_login(app_, github_.base_url() + "/octo/site.git", nullptr, {});
  ASSERT_FALSE(login);
  EXPECT_THAT(login.error().message, HasSubstr("not installed on octo/site"));
}

}  // namespace
}  // namespace atlasflow::github
