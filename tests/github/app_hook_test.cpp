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

HookDelivery attempt(std::int64_t id, const char* guid, int status, bool repeated = false) {
  return {id, guid, 1'000, status, "push", repeated};
}

std::vector<std::int64_t> ids_of(const std::vector<HookDelivery>& deliveries) {
  std::vector<std::int64_t> ids;
  ids.reserve(deliveries.size());
  for (const auto& each : deliveries) ids.push_back(each.id);
  return ids;
}

TEST(FailedDeliveries, are_those_of_which_no_attempt_was_taken) {
  EXPECT_THAT(failed_deliveries({}, {}, 9'000), IsEmpty());
  // Newest first: c failed, b was taken at its second attempt, a failed twice, d was taken.
  EXPECT_THAT(ids_of(failed_deliveries(
                  {attempt(9, "c", 0), attempt(8, "b", 202, true), attempt(7, "a", 503, true),
                   attempt(6, "b", 500), attempt(5, "a", 401), attempt(4, "d", 200)},
                  {}, 9'000)),
              ElementsAre(7, 9));
}

TEST(FailedDeliveries, are_due_ever_later_and_at_last_given_up) {
  std::vector<HookDelivery> attempts;
  for (std::size_t count = 1; count <= k_hook_attempts_max; ++count) {
    attempts.insert(attempts.begin(),
                    attempt(static_cast<std::int64_t>(count), "a", 503, count > 1));
    const auto due_s = 1'000 + (k_hook_pause_s << (count - 1));
    EXPECT_THAT(failed_deliveries(attempts, {}, due_s - 1), IsEmpty()) << count;
    EXPECT_EQ(failed_deliveries(attempts, {}, due_s).empty(), count == k_hook_attempts_max)
        << count;
  }
}

// GitHub forgets the first attempts while the later ones are still listed.
TEST(FailedDeliveries, stay_given_up_when_their_first_attempts_are_listed_no_more) {
  std::vector<HookDelivery> attempts;
  for (std::size_t count = 2; count <= k_hook_attempts_max; ++count) {
    attempts.insert(attempts.begin(), attempt(static_cast<std::int64_t>(count), "a", 503, true));
    EXPECT_THAT(failed_deliveries(attempts, {}, 1'000'000), IsEmpty()) << count;
  }
}

TEST(FailedDeliveries, count_what_was_asked_for_and_is_not_listed) {
  const std::vector<HookDelivery> first = {attempt(1, "a", 503)};
  for (std::size_t taken = 0; taken < k_hook_attempts_max; ++taken) {
    const AskedDeliveries asked = {{"a", {taken, 0, 5'000}}};
    const auto due_s = 5'000 + (k_hook_pause_s << taken);
    EXPECT_THAT(failed_deliveries(first, asked, due_s - 1), IsEmpty()) << taken;
    EXPECT_EQ(failed_deliveries(first, asked, due_s).empty(), taken + 1 == k_hook_attempts_max)
        << taken;
  }
  // One that GitHub refused is no attempt, but comes later each time, too.
  EXPECT_THAT(failed_deliveries(first, {{"a", {0, 3, 5'000}}}, 5'000 + (k_hook_pause_s << 3) - 1),
              IsEmpty());
  EXPECT_THAT(
      ids_of(failed_deliveries(first, {{"a", {0, 99, 5'000}}}, 5'000 + (k_hook_pause_s << 10))),
      ElementsAre(1));
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
  EXPECT_THAT(ids_of(*found), ElementsAre(5, 4, 3, 2));
  EXPECT_EQ((*found)[1].status, 503);
  EXPECT_EQ((*found)[1].guid, "g4");
  EXPECT_EQ(github_.count_of("GET", "cursor=4"), 1U);
  EXPECT_EQ(hook_deliveries(app_, 0, 1, {})->size(), 1U);
  const auto failed = failed_deliveries(*found, {}, 1'795'790'000);
  ASSERT_THAT(ids_of(failed), ElementsAre(3, 4));
  EXPECT_TRUE(ask_again(app_, failed[0].id, {}));
  EXPECT_EQ(github_.count_of("POST", "/app/hook/deliveries/3/attempts"), 1U);
  EXPECT_EQ(ask_again(app_, 99, {}).error().code, ErrorCode::not_found);
}

// GitHub says with the body alone where the next page is.
TEST_F(Hook, a_list_that_has_not_changed_is_read_to_its_end_again) {
  github_.control(
      {{"page_max", 2},
       {"deliveries",
        {delivery(5, "2026-11-27T12:00:05Z", 202), delivery(4, "2026-11-27T12:00:04Z", 503),
         delivery(3, "2026-11-27T12:00:03Z", 0)}}});
  for (const bool is_known : {false, true}) {
    const auto found = hook_deliveries(app_, 0, k_hook_deliveries_max, {});
    ASSERT_TRUE(found) << to_string(found.error());
    EXPECT_THAT(ids_of(*found), ElementsAre(5, 4, 3)) << is_known;
    const auto asked = github_.asked();
    EXPECT_EQ(asked[asked.size() - 2].conditional, is_known);
    // Each later page has another address tomorrow, and is not kept.
    EXPECT_FALSE(asked.back().conditional);
  }
}

TEST_F(Hook, a_list_of_what_can_not_be_read_that_leads_to_itself_is_left) {
  const auto next = github_.address().api + "/app/hook/deliveries?cursor=x";
  github_.fail_next("/app/hook/deliveries", 200, {{"Link", "<" + next + ">; rel=\"next\""}},
                    Json::array({{{"id", "another form"}}}), 50);
  const auto found = hook_deliveries(app_, 0, k_hook_deliveries_max, {});
  ASSERT_TRUE(found) << to_string(found.error());
  EXPECT_THAT(*found, IsEmpty());
  EXPECT_EQ(github_.asked().size(), 20U);
}

// Else what was closed while the server was away would be served on.
TEST_F(Hook, a_missed_pull_request_is_asked_for_as_well) {
  auto closing = delivery(4, LocalGitHub::time_before_now(600), 0);
  closing["event"] = "pull_request";
  github_.control({{"deliveries", {closing}}});
  MissedPushes pushes;
  EXPECT_EQ(pushes.ask(app_, {})->taken, 1U);
}

TEST_F(Hook, missed_pushes_are_asked_for_and_nothing_else) {
  const auto at = [](std::int64_t ago_s) { return LocalGitHub::time_before_now(ago_s); };
  auto ping = delivery(5, at(300), 0);
  ping["event"] = "ping";
  github_.control({{"deliveries",
                    {delivery(6, at(5), 0), ping, delivery(3, at(600), 503),
                     delivery(2, at(700), 202), delivery(1, at(400'000), 500)}}});
  MissedPushes pushes;
  const auto asked = pushes.ask(app_, {});
  ASSERT_TRUE(asked) << to_string(asked.error());
  EXPECT_EQ(asked->taken, 1U);
  EXPECT_EQ(github_.count_of("POST", "/app/hook/deliveries/3/attempts"), 1U);
  EXPECT_EQ(github_.count_of("POST", "/attempts"), 1U);
  // It is not listed yet that it comes again, and not asked for a second time at once.
  EXPECT_EQ(pushes.ask(app_, {})->taken, 0U);
  EXPECT_EQ(github_.count_of("POST", "/attempts"), 1U);
}

TEST_F(Hook, a_push_that_github_refuses_to_deliver_holds_up_no_other) {
  const auto at = [](std::int64_t ago_s) { return LocalGitHub::time_before_now(ago_s); };
  auto deliveries = Json::array();
  for (std::int64_t id = 9; id >= 1; --id) deliveries.push_back(delivery(id, at(2'000 - id), 503));
  github_.control({{"deliveries", deliveries}});
  // The five oldest are too old for GitHub.
  github_.fail_next("/app/hook/deliveries/[1-5]/attempts", 422, Json::object(), Json::object(), 99);
  MissedPushes pushes;
  const auto asked = pushes.ask(app_, {});
  ASSERT_TRUE(asked) << to_string(asked.error());
  EXPECT_EQ(asked->taken, 4U);
  EXPECT_EQ(asked->refused, 5U);
  EXPECT_THAT(asked->problem, testing::HasSubstr("does not deliver 5 again"));
}

// Three failures in a row are GitHub's own trouble, and the next look begins with the others.
TEST_F(Hook, pushes_that_github_fails_at_make_room_for_the_next_ones) {
  const auto at = [](std::int64_t ago_s) { return LocalGitHub::time_before_now(ago_s); };
  auto deliveries = Json::array();
  for (std::int64_t id = 6; id >= 1; --id) deliveries.push_back(delivery(id, at(2'000 - id), 0));
  github_.control({{"deliveries", deliveries}});
  github_.fail_next("/app/hook/deliveries/[123]/attempts", 500, Json::object(), Json::object(), 99);
  MissedPushes pushes;
  auto asked = pushes.ask(app_, {});
  ASSERT_TRUE(asked) << to_string(asked.error());
  EXPECT_EQ(asked->taken, 0U);
  EXPECT_EQ(asked->refused, 3U);
  EXPECT_EQ(github_.count_of("POST", "/attempts"), 3U);
  asked = pushes.ask(app_, {});
  EXPECT_EQ(asked->taken, 3U);
  EXPECT_EQ(asked->refused, 0U);
}

TEST_F(Hook, where_it_leads_is_read) {
  EXPECT_EQ(*hook_url(app_, {}), "https://example.com:8443/webhooks/github");
  for (const Json& body : {Json(), Json::array(), Json{{"url", 1}}}) {
    github_.fail_next("/app/hook/config", 200, Json::object(), body);
    const auto url = hook_url(app_, {});
    ASSERT_FALSE(url);
    EXPECT_THAT(url.error().message, testing::HasSubstr("where the App's webhook leads"));
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
