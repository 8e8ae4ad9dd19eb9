#include "github/address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace atlasflow::github {
namespace {

using testing::HasSubstr;

TEST(Address, of_github_and_of_a_company_s_own) {
  const struct {
    const char* base_url;
    Address address;
  } k_cases[] = {
      {"https://github.com", {"https://github.com", "https://api.github.com"}},
      {"https://github.com/", {"https://github.com", "https://api.github.com"}},
      {"https://GitHub.com:443", {"https://github.com", "https://api.github.com"}},
      {"https://www.github.com", {"https://github.com", "https://api.github.com"}},
      {"https://git.example.com", {"https://git.example.com", "https://git.example.com/api/v3"}},
      {"https://git.example.com:8443//",
       {"https://git.example.com:8443", "https://git.example.com:8443/api/v3"}},
      {"https://octo.ghe.com", {"https://octo.ghe.com", "https://api.octo.ghe.com"}},
      {"http://127.0.0.1:8080", {"http://127.0.0.1:8080", "http://127.0.0.1:8080/api/v3"}},
      {"http://localhost:80", {"http://localhost", "http://localhost/api/v3"}},
  };
  for (const auto& each : k_cases) {
    const auto address = address_of(each.base_url);
    ASSERT_TRUE(address) << each.base_url << ": " << to_string(address.error());
    EXPECT_EQ(*address, each.address) << each.base_url;
  }
}

TEST(Address, a_base_url_that_is_none_is_refused_with_what_is_wrong) {
  const struct {
    const char* base_url;
    const char* reason;
  } k_cases[] = {
      {"", "must begin with https://"},
      {"github.com", "must begin with https://"},
      {"http://git.example.com", "must begin with https://"},
      {"http://127.0.0.1.example.com@evil.example", "no user name"},
      {"ssh://github.com", "must begin with https://"},
      {"https://", "must begin with https://"},
      {"https://user:secret@github.com", "no user name or password"},
      {"https://github.com/octo", "no path"},
      {"https://git.example.com/api/v3", "no path"},
      {"https://github.com?x=1", "no query"},
      {"https://git example.com", "no valid host"},
      {"https://git.example.com:https", "no valid host"},
      {"https://git.example.com:", "no valid host"},
      {"https://.example.com", "no valid host"},
      {"https://api.github.com", "is the API's"},
  };
  for (const auto& each : k_cases) {
    const auto address = address_of(each.base_url);
    ASSERT_FALSE(address) << each.base_url;
    EXPECT_EQ(address.error().code, ErrorCode::invalid_argument) << each.base_url;
    EXPECT_THAT(address.error().message, HasSubstr(each.reason)) << each.base_url;
    EXPECT_THAT(address.error().message, testing::Not(HasSubstr("secret"))) << each.base_url;
  }
}

TEST(Repository, is_found_in_every_way_that_github_writes_it) {
  const auto github = *address_of("https://github.com");
  for (const char* url : {"https://github.com/octo/web", "https://github.com/octo/web.git",
                          "https://github.com/octo/web/", "https://GITHUB.com:443/octo/web.git",
                          "git@github.com:octo/web.git", "ssh://git@github.com/octo/web.git",
                          "ssh://git@github.com:22/octo/web"}) {
    const auto found = repository_on(github, url);
    ASSERT_TRUE(found) << url;
    EXPECT_EQ(found->str(), "octo/web") << url;
  }
  const auto own = *address_of("http://127.0.0.1:8080");
  EXPECT_EQ(repository_on(own, "http://127.0.0.1:8080/o/a.b_c-1.git")->str(), "o/a.b_c-1");
}

// A token must never go to a host that it is not for.
TEST(Repository, elsewhere_is_none_of_ours) {
  const auto github = *address_of("https://github.com");
  for (const char* url : {"https://github.com.evil.example/octo/web",
                          "https://evil.example/github.com/octo/web",
                          "https://github.com@evil.example/octo/web",
                          "http://github.com/octo/web",
                          "https://github.com:8443/octo/web",
                          "https://api.github.com/octo/web",
                          "https://gist.github.com/octo/web",
                          "https://github.com",
                          "https://github.com/octo",
                          "https://github.com/octo/web/tree/main",
                          "https://github.com/octo/..",
                          "https://github.com//web",
                          "https://github.com/octo/we%62",
                          "https://github.com/octo/web?x",
                          "https://github.com/octo/web#x",
                          "git@gitlab.com:octo/web.git",
                          "/srv/git/octo/web",
                          "file:///github.com/octo/web",
                          "git@github.com:",
                          ":octo/web",
                          "",
                          "https://"}) {
    EXPECT_FALSE(repository_on(github, url)) << url;
  }
}

}  // namespace
}  // namespace atlasflow::github
