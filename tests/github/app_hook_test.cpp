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
  EXPECT_THAT(failed_deliveries({}, 9'000), IsEmpty());
  // Newest first: c failed, b was taken at its second attempt, a failed twice, d was taken.
  EXPECT_THAT(failed_deliveries({attempt(9, "c", 0), attempt(8, "b", 202), attempt(7, "a", 503),
                                 attempt(6, "b", 500), attempt(5, "a", 401), attempt(4, "d", 200)},
                                9'000),
              ElementsAre(7, 9));
}

TEST(FailedDeliveries, are_due_ever_later_and_at_last_given_up) {
  std::vector<HookDelivery> attempts;
  for (std::size_t count = 1; count <= k_hook_attempts_max; ++count) {
    attempts.insert(attempts.begin(), attempt(static_cast<std::int64_t>(count), "a", 503));
    const auto due_s = 1'000 + (k_hook_pause_s << (count - 1));
    EXPECT_THAT(failed_deliveries(attempts, due_s - 1), IsEmpty()) << count;
    EXPECT_EQ(failed_deliveries(attempts, due_s).empty(), count == k_hook_attempts_max) << count;
  }
}

class Hook : public testing::Test {
 protected:
  ~Hook() override { EXPECT_THAT(github_.violations(), IsEmpty()); }

  static Json delivery(std::int64_t id, const std::string& at, int status) {
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

  static std::int64_t now_s() {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }

  LocalGitHub github_;
  AppClient app_{LocalGitHub::k_app_id,
                 *AppKey::parse(Secret(github_.private_key())),
                 {github_.address(), now_s, std::chrono::milliseconds(10'000)}};
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
  const auto failed = failed_deliveries(*found, 1'795'790'000);
  ASSERT_THAT(failed, ElementsAre(3, 4));
  EXPECT_TRUE(ask_again(app_, failed[0], {}));
  EXPECT_EQ(github_.count_of("POST", "/app/hook/deliveries/3/attempts"), 1U);
  EXPECT_FALSE(ask_again(app_, 99, {}));
}

TEST_F(Hook, missed_pushes_are_asked_for_and_nothing_else) {
  const auto at = [](std::int64_t ago_s) { return LocalGitHub::time_before_now(ago_s); };
  auto ping = delivery(5, at(300), 0);
  ping["event"] = "ping";
  github_.control({{"deliveries",
                    {delivery(6, at(5), 0), ping, delivery(3, at(600), 503),
                     delivery(2, at(700), 202), delivery(1, at(400'000), 500)}}});
  const auto asked = ask_for_missed_pushes(app_, {});
  ASSERT_TRUE(asked) << to_string(asked.error());
  EXPECT_EQ(*asked, 1U);
  EXPECT_EQ(github_.count_of("POST", "/app/hook/deliveries/3/attempts"), 1U);
  EXPECT_EQ(github_.count_of("POST", "/attempts"), 1U);
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
