// The manifest flow, with the test in the browser's place.
#include "github/manifest.hpp"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/http_client.hpp"
#include "github/app_key.hpp"
#include "tests/github/local_github.hpp"

namespace atlasflow::github {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const ManifestOrder k_order{"Atlasflow on example.com", "https://example.com:8443",
                            "/github/created", "/webhooks/github"};

std::string form_encoded(std::string_view text) {
  static constexpr std::string_view k_digits = "0123456789ABCDEF";
  std::string out;
  for (const unsigned char c : text) {
    if (std::isalnum(c) != 0) {
      out += static_cast<char>(c);
    } else {
      out += {'%', k_digits[c >> 4U], k_digits[c & 15U]};
    }
  }
  return out;
}

class ManifestFlow : public testing::Test {
 protected:
  ~ManifestFlow() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  // What a browser does with the page: sends the form, and is sent on.
  std::string location_after_the_form(const std::string& state) {
    HttpRequest request;
    request.method = "POST";
    request.url = github_.base_url() + "/settings/apps/new?state=" + state;
    request.fields = {{"Content-Type", "application/x-www-form-urlencoded"}};
    request.body = "manifest=" + form_encoded(manifest_json(k_order));
    const auto response = send_http(request);
    return response ? std::string(response->field("Location")) : "";
  }

  LocalGitHub github_;
  ApiClient api_{{github_.address(), [] { return std::int64_t{1'700'000'000}; },
                  std::chrono::milliseconds(10'000)}};
};

TEST_F(ManifestFlow, makes_an_app_whose_key_and_secret_come_back_once) {
  const auto location = location_after_the_form("abc");
  ASSERT_THAT(location, testing::StartsWith("https://example.com:8443/github/created?code="));
  ASSERT_THAT(location, testing::EndsWith("&state=abc"));
  auto code = location.substr(location.find("code=") + 5);
  code.resize(code.find('&'));
  const auto app = exchange_manifest_code(api_, code, {});
  ASSERT_TRUE(app) << to_string(app.error());
  EXPECT_EQ(app->identity.id, LocalGitHub::k_app_id);
  EXPECT_EQ(app->identity.slug, "atlasflow-test");
  EXPECT_TRUE(app->webhook_secret.is(LocalGitHub::k_webhook_secret));
  EXPECT_TRUE(AppKey::parse(app->private_key));

  const auto again = exchange_manifest_code(api_, code, {});
  ASSERT_FALSE(again);
  EXPECT_EQ(again.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(again.error().message, HasSubstr("was used before, or is older than an hour"));
}

TEST_F(ManifestFlow, a_code_that_is_none_is_never_part_of_a_path) {
  for (const char* code : {"", "../app", "a/b", "a?b", "a b", "%2e%2e"}) {
    const auto app = exchange_manifest_code(api_, code, {});
    ASSERT_FALSE(app) << code;
    EXPECT_EQ(app.error().code, ErrorCode::invalid_argument) << code;
  }
  EXPECT_FALSE(exchange_manifest_code(api_, std::string(1000, 'a'), {}));
  EXPECT_THAT(github_.asked(), IsEmpty());
}

TEST_F(ManifestFlow, an_answer_without_a_key_says_so) {
  github_.fail_next("/app-manifests/.*", 201, nlohmann::json::object(), {{"id", 1}});
  const auto app = exchange_manifest_code(api_, "abc", {});
  ASSERT_FALSE(app);
  EXPECT_THAT(app.error().message, HasSubstr("without the App's key"));
}

TEST(Manifest, asks_for_no_more_than_is_used) {
  const auto json = nlohmann::json::parse(manifest_json(k_order));
  EXPECT_EQ(json["default_permissions"], (nlohmann::json{{"contents", "read"},
                                                         {"deployments", "write"},
                                                         {"metadata", "read"},
                                                         {"pull_requests", "write"},
                                                         {"statuses", "write"}}));
  EXPECT_EQ(json["default_events"], (nlohmann::json{"pull_request", "push", "repository"}));
  EXPECT_EQ(json["public"], false);
  EXPECT_EQ(json["hook_attributes"]["url"], "https://example.com:8443/webhooks/github");
  EXPECT_EQ(json["redirect_url"], "https://example.com:8443/github/created");
  auto long_name = k_order;
  long_name.name = std::string(100, 'x');
  EXPECT_EQ(nlohmann::json::parse(manifest_json(long_name))["name"], std::string(34, 'x'));
}

TEST(ManifestPage, nothing_in_it_can_break_out_of_its_place) {
  const auto address = *address_of("https://github.com");
  const auto page = manifest_page(address, "octo", "abc", R"({"name":"a\"><script>'&"})");
  EXPECT_THAT(page, HasSubstr("action=\"https://github.com/organizations/octo/settings/apps/new?"
                              "state=abc\""));
  EXPECT_THAT(page, HasSubstr("&quot;&gt;&lt;script&gt;&#39;&amp;"));
  EXPECT_THAT(page, Not(HasSubstr("<script")));
  EXPECT_THAT(manifest_page(address, "", "abc", "{}"),
              HasSubstr("action=\"https://github.com/settings/apps/new?state=abc\""));
}

TEST(Organization, is_a_login_of_github) {
  EXPECT_TRUE(is_organization("octo"));
  EXPECT_TRUE(is_organization("a-1"));
  for (const char* name :
       {"", "-a", "a/b", "a?b", "a.b", "a b", "\"", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_FALSE(is_organization(name)) << name;
  }
}

}  // namespace
}  // namespace atlasflow::github
