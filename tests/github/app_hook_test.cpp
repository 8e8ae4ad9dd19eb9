// What became of the App's deliveries, read from the GitHub on loopback.
#include "github/app_hook.hpp"

#include <chrono>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/github/local_github.hpp"

namespace atlasflow::github {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Json = nlohmann::json;

HookDelivery attempt(std::int64_t id, const char* guid, int status) {
  return {id, guid, 1'000, status, "push"};
}

TEST(FailedDeliveries, are_those_of_which_no_attempt_was_taken) {
  EXPECT_THAT(failed_deliveries({}), IsEmpty());
  // Newest first: c failed, b was taken at its second attempt, a failed twice, d was taken.
  EXPECT_THAT(failed_deliveries({attempt(9, "c", 0), attempt(8, "b", 202), attempt(7, "a", 503),
                                 attempt(6, "b", 500), attempt(5, "a", 401), attempt(4, "d", 200)}),
              ElementsAre(7, 9));
}

TEST(FailedDeliveries, one_that_was_tried_often_enough_is_given_up) {
  EXPECT_THAT(
      failed_deliveries({attempt(3, "a", 401), attempt(2, "a", 401), attempt(1, "a", 401)}, 3),
      IsEmpty());
}

class Hook : public testing::Test {
 protected:
  ~Hook() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  static Json delivery(std::int64_t id, const char* at, int status) {
    return {{"id", id},
            {"guid", "g" + std::to_string(id)},
            {"delivered_at", at},
            {"redelivery", false},
            {"duration", 0.1},
            {"status", "x"},
            {"status_code", status},
            {"event", "push"},
            {"action", nullptr},
            {"installation_id", 42},
            {"repository_id", 7}};
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

TEST_F(Hook, its_deliveries_are_read_page_by_page_as_far_back_as_is_wanted) {
  github_.control(
      {{"page_max", 2},
       {"deliveries",
        {delivery(5, "2026-11-27T12:00:05Z", 202), delivery(4, "2026-11-27T12:00:04.250Z", 503),
         delivery(3, "2026-11-27T12:00:03Z", 0), Json{{"id", "another form"}},
         delivery(2, "2026-11-27T12:00:02Z", 202), delivery(1, "2026-11-26T12:00:00Z", 500)}}});
  // 2026-11-27T12:00:00Z
  const auto found = hook_deliveries(app_, 1'795'780'800, k_hook_deliveries_max, {});
  ASSERT_TRUE(found) << to_string(found.error());
  std::vector<std::int64_t> ids;
  for (const auto& each : *found) ids.push_back(each.id);
  EXPECT_THAT(ids, ElementsAre(5, 4, 3, 2));
  EXPECT_EQ((*found)[1].status, 503);
  EXPECT_EQ((*found)[1].guid, "g4");
  EXPECT_EQ(github_.count_of("GET", "cursor=4"), 1U);
  EXPECT_EQ(hook_deliveries(app_, 0, 1, {})->size(), 1U);
  const auto failed = failed_deliveries(*found);
  ASSERT_THAT(failed, ElementsAre(3, 4));
  EXPECT_TRUE(ask_again(app_, failed[0], {}));
  EXPECT_EQ(github_.count_of("POST", "/app/hook/deliveries/3/attempts"), 1U);
  EXPECT_FALSE(ask_again(app_, 99, {}));
}

TEST_F(Hook, where_it_leads_is_read) {
  EXPECT_EQ(*hook_url(app_, {}), "https://example.com:8443/webhooks/github");
  for (const Json& body : {Json(), Json::array(), Json{{"url", 1}}}) {
    github_.fail_next("/app/hook/config", 200, Json::object(), body);
    EXPECT_FALSE(hook_url(app_, {}));
  }
}

TEST_F(Hook, an_answer_that_is_no_list_is_an_error) {
  for (const Json& body : {Json(), Json::object(), Json("x")}) {
    github_.fail_next("/app/hook/deliveries", 200, Json::object(), body);
    EXPECT_FALSE(hook_deliveries(app_, 0, 10, {}));
  }
}

}  // namespace
}  // namespace atlasflow::github
