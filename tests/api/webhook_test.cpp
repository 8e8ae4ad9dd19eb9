#include "api/webhook.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/webhook_fixture.hpp"

namespace atlasflow::api {
namespace {

using actors::PushReceipt;
using nlohmann::json;
using testing::Answer;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::hex;
using ::testing::IsEmpty;
using testing::k_after;
using testing::k_before;
using testing::k_secret;
using testing::push_payload;
using testing::request_text;
using ::testing::UnorderedElementsAre;
using testing::Webhook;

// ---- what a push becomes ----

TEST_F(Webhook, a_signed_push_is_received_with_all_it_says) {
  control_.receipts = std::vector<PushReceipt>{deployed()};
  const auto answer = deliver(push_payload().dump());
  EXPECT_EQ(answer.status, 202) << answer.body;
  EXPECT_EQ(json::parse(answer.body)["receipts"],
            json::parse(R"([{"project":"shop","deployment":"abcdefg2","verdict":"deployed",
                             "reason":""}])"));
  const auto pushes = control_.asked<commands::TakePush>();
  ASSERT_EQ(pushes.size(), 1U);
  const auto& push = pushes[0].push;
  EXPECT_THAT(
      push.repository_urls,
      UnorderedElementsAre("https://github.com/acme/shop.git", "git@github.com:acme/shop.git",
                           "https://github.com/acme/shop", "git://github.com/acme/shop.git"));
  EXPECT_EQ(push.default_branch, "main");
  EXPECT_EQ(push.ref, "refs/heads/feature/x");
  EXPECT_EQ(push.before, k_before);
  EXPECT_EQ(push.after, k_after);
  EXPECT_FALSE(push.deleted);
  EXPECT_EQ(push.delivery_id, "72d3162e-cc78-11e3-81ab-4c9367dc0958");
  EXPECT_EQ(push.pusher, "ada");
  EXPECT_THAT(push.signed_for, IsEmpty());
  EXPECT_EQ(control_.calls()[0].by, Principal::webhook("github"));
}

TEST_F(Webhook, a_pushs_time_and_force_are_passed_on_whichever_way_they_are_written) {
  struct Case {
    json pushed_at;
    std::int64_t seconds;
  };
  for (const auto& [pushed_at, seconds] : std::vector<Case>{
           {1'557'933'657, 1'557'933'657},
           {"2019-05-15T15:20:57Z", 1'557'933'657},
           {"2019-05-15T17:20:57+02:00", 1'557'933'657},
           {"2019-05-15T10:50:57-0430", 1'557'933'657},
           {"2019-05-15T15:20:57.123Z", 1'557'933'657},
           {"2024-02-29T00:00:00Z", 1'709'164'800},
           {nullptr, 0},
       }) {
    auto payload = push_payload();
    payload["repository"]["pushed_at"] = pushed_at;
    payload["forced"] = true;
    EXPECT_EQ(deliver(payload.dump()).status, 202) << pushed_at;
    const auto push = control_.asked<commands::TakePush>().back().push;
    EXPECT_EQ(push.pushed_at_s, seconds) << pushed_at;
    EXPECT_TRUE(push.forced);
  }
  deliver(push_payload().dump());
  EXPECT_EQ(control_.asked<commands::TakePush>().back().push.pushed_at_s, 0);
  EXPECT_FALSE(control_.asked<commands::TakePush>().back().push.forced);
}

TEST_F(Webhook, a_time_that_is_none_is_refused) {
  for (const auto& pushed_at : std::vector<json>{
           -1, 1.5, true, "", "yesterday", "2019-02-29T00:00:00Z", "2019-05-15T15:20:57",
           "2019-05-15T25:20:57Z", "2019-05-15T15:20:57+2", "2019-05-15T15:20:57.Z",
           "2019-05-15T15:20:57+99:00", "+019-05-15T15:20:57Z", "1969-05-15T15:20:57Z"}) {
    auto payload = push_payload();
    payload["repository"]["pushed_at"] = pushed_at;
    const auto answer = deliver(payload.dump());
    EXPECT_EQ(answer.status, 400) << pushed_at;
    EXPECT_THAT(answer.body, HasSubstr("repository.pushed_at"));
  }
  auto payload = push_payload();
  payload["forced"] = "yes";
  EXPECT_EQ(deliver(payload.dump()).status, 400);
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, a_form_encoded_push_says_the_same) {
  std::string body = "other=1&payload=";
  for (const char c : push_payload().dump()) {
    const std::string one(1, c);
    body += c == ' ' ? "+"
            : std::isalnum(static_cast<unsigned char>(c)) != 0
                ? one
                : "%" + hex(Sha256{static_cast<std::uint8_t>(c)}).substr(0, 2);
  }
  const auto answer =
      deliver(body, k_secret, "push", "application/x-www-form-urlencoded; charset=utf-8");
  EXPECT_EQ(answer.status, 202) << answer.body;
  ASSERT_EQ(control_.asked<commands::TakePush>().size(), 1U);
  EXPECT_EQ(control_.asked<commands::TakePush>()[0].push.after, k_after);
}

TEST_F(Webhook, deleted_refs_and_tags_are_passed_on_for_the_record) {
  auto payload = push_payload();  // GitHub's own sample is the deletion of a tag
  payload["ref"] = "refs/tags/simple-tag";
  payload["before"] = k_after;
  payload["after"] = k_before;
  payload.erase("deleted");
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::ignored, "shop", DeploymentId(), "tags are not deployed"}};
  const auto answer = deliver(payload.dump());
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(json::parse(answer.body)["receipts"][0]["reason"], "tags are not deployed");
  EXPECT_EQ(json::parse(answer.body)["receipts"][0]["deployment"], nullptr);
  ASSERT_EQ(control_.asked<commands::TakePush>().size(), 1U);
  EXPECT_TRUE(control_.asked<commands::TakePush>()[0].push.deleted);
  EXPECT_EQ(control_.asked<commands::TakePush>()[0].push.ref, "refs/tags/simple-tag");
}

TEST_F(Webhook, a_repeated_delivery_is_answered_with_the_deployment_that_is_there) {
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::duplicate, "shop", DeploymentId("abcdefg2"), ""}};
  const auto answer = deliver(push_payload().dump());
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["receipts"][0]["deployment"], "abcdefg2");
}

TEST_F(Webhook, a_delivery_that_is_new_to_one_of_two_projects_is_202) {
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::duplicate, "shop", DeploymentId("abcdefg2"), ""},
      {PushReceipt::Verdict::deployed, "shop2", DeploymentId("abcdefg3"), ""}};
  EXPECT_EQ(deliver(push_payload().dump()).status, 202);
}

TEST_F(Webhook, a_push_to_a_repository_that_nobody_connected_is_no_error_for_github) {
  const auto answer = deliver(push_payload().dump());
  EXPECT_EQ(answer.status, 202);
  EXPECT_THAT(json::parse(answer.body)["note"].get<std::string>(), HasSubstr("project create"));
}

TEST_F(Webhook, a_push_that_could_not_be_made_durable_is_an_error_for_github) {
  control_.receipts = fail(ErrorCode::unavailable, "The log is stopping; try again.");
  const auto answer = deliver(push_payload().dump());
  EXPECT_EQ(answer.status, 503);
  EXPECT_EQ(json::parse(answer.body)["error"]["code"], "unavailable");
}

TEST_F(Webhook, a_ping_is_answered_and_changes_nothing) {
  const auto answer =
      deliver(R"({"zen":"Keep it logically awesome.","hook_id":1})", k_secret, "ping");
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(json::parse(answer.body)["pong"], "Keep it logically awesome.");
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, other_events_are_taken_and_left) {
  const auto answer = deliver("{}", k_secret, "issues");
  EXPECT_EQ(answer.status, 202);
  EXPECT_EQ(json::parse(answer.body)["ignored"], "event 'issues' is not handled");
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, is_served_on_the_unix_socket_too) {
  const auto body = push_payload().dump();
  const auto answer = connect().ask(request_text(
      "POST", "/webhooks/github", fields_for(body, k_secret, "push", "application/json"), body));
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 202);
}

// ---- who may ----

TEST_F(Webhook, a_delivery_without_a_signature_that_fits_is_refused_and_not_stored) {
  const auto body = push_payload().dump();
  const auto good = hex(hmac_sha256(k_secret, body));
  auto flipped = good;
  flipped.back() = flipped.back() == '0' ? '1' : '0';
  const std::vector<std::vector<std::string>> cases = {
      {},
      {"X-Hub-Signature-256: "},
      {"X-Hub-Signature-256: " + good},
      {"X-Hub-Signature-256: sha1=" + good},
      {"X-Hub-Signature-256: sha256=" + flipped},
      {"X-Hub-Signature-256: sha256=" + good.substr(0, 62)},
      {"X-Hub-Signature-256: sha256=" + hex(hmac_sha256("other", body))},
      {"X-Hub-Signature-256: sha256=" + hex(hmac_sha256("", body))},
      {"X-Hub-Signature-256: sha256=" + hex(hmac_sha256(k_secret, body + " "))},
      {"X-Hub-Signature: sha1=" + good.substr(0, 40)},
      {"X-Hub-Signature-256: sha256=" + flipped, "X-Hub-Signature-256: sha256=" + good},
  };
  for (auto fields : cases) {
    const auto shown = fields.empty() ? "none" : fields[0];
    fields.emplace_back("X-GitHub-Event: push");
    fields.emplace_back("X-GitHub-Delivery: 1");
    const auto answer = deliver_with(fields, body);
    EXPECT_EQ(answer.status, 401) << shown;
    EXPECT_EQ(json::parse(answer.body)["error"]["code"], "unauthorized") << shown;
    EXPECT_EQ(answer.body.find(good), std::string::npos) << "the right signature must stay unknown";
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, the_signature_is_looked_at_before_anything_else) {
  EXPECT_EQ(deliver_with({}, "no json").status, 401);
  EXPECT_EQ(deliver_with({"X-GitHub-Event: ping"}, "{}").status, 401);
  EXPECT_EQ(deliver("no json", "wrong").status, 401);
}

TEST_F(Webhook, without_any_secret_nothing_is_taken_and_the_answer_says_what_to_do) {
  config_.webhook_secret.clear();
  control_.add_project("shop");
  for (const char* secret : {"", "guess"}) {
    const auto answer = deliver(push_payload().dump(), secret);
    EXPECT_EQ(answer.status, 401);
    EXPECT_THAT(answer.body, HasSubstr("webhook_secret_file"));
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, a_projects_own_secret_speaks_for_that_project_only) {
  control_.add_project("shop", "shop-secret");
  control_.add_project("bank", "bank-secret");
  control_.add_project("open");
  EXPECT_EQ(deliver(push_payload().dump(), "shop-secret").status, 202);
  ASSERT_EQ(control_.asked<commands::TakePush>().size(), 1U);
  EXPECT_THAT(control_.asked<commands::TakePush>()[0].push.signed_for, ElementsAre("shop"));
}

TEST_F(Webhook, the_servers_secret_speaks_for_projects_without_one) {
  control_.add_project("shop", "shop-secret");
  control_.add_project("open");
  EXPECT_EQ(deliver(push_payload().dump(), k_secret).status, 202);
  ASSERT_EQ(control_.asked<commands::TakePush>().size(), 1U);
  EXPECT_THAT(control_.asked<commands::TakePush>()[0].push.signed_for, IsEmpty());
}

TEST_F(Webhook, a_secret_that_several_share_speaks_for_all_of_them) {
  control_.add_project("shop", k_secret);
  control_.add_project("bank", "bank-secret");
  control_.add_project("shop2", k_secret);
  control_.add_project("open");
  EXPECT_EQ(deliver(push_payload().dump(), k_secret).status, 202);
  ASSERT_EQ(control_.asked<commands::TakePush>().size(), 1U);
  EXPECT_THAT(control_.asked<commands::TakePush>()[0].push.signed_for,
              UnorderedElementsAre("shop", "shop2", "open"));
}

TEST_F(Webhook, a_projects_secret_is_enough_when_the_server_has_none) {
  config_.webhook_secret.clear();
  control_.add_project("shop", "shop-secret");
  EXPECT_EQ(deliver(push_payload().dump(), "shop-secret").status, 202);
  EXPECT_EQ(deliver(push_payload().dump(), "").status, 401);
  EXPECT_EQ(control_.asked<commands::TakePush>().size(), 1U);
}

// ---- what is wrong in a delivery that is signed ----

TEST_F(Webhook, the_headers_that_github_always_sends_are_required) {
  const auto body = push_payload().dump();
  const auto all = fields_for(body, k_secret, "push", "application/json");
  for (const std::size_t missing : {0U, 1U}) {
    auto fields = all;
    fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(missing));
    const auto answer = deliver_with(fields, body);
    EXPECT_EQ(answer.status, 400);
    EXPECT_THAT(answer.body, HasSubstr("is missing"));
  }
  for (const std::string& bad :
       {std::string("a b"), std::string("quote\""), std::string(129, 'x'), std::string("\xff")}) {
    auto fields = all;
    fields[1] = "X-GitHub-Delivery: " + bad;
    EXPECT_EQ(deliver_with(fields, body).status, 400) << bad;
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, what_is_no_json_object_is_a_400) {
  const std::string deep(100'000, '[');
  for (const std::string& body :
       {std::string(), std::string("{"), std::string("[]"), std::string("null"),
        std::string("\"text\""), std::string("{\"ref\":}"), std::string("{} {}"), deep,
        deep + std::string(100'000, ']'), std::string("{\"a\":\"\xff\"}"),
        std::string("{\"a\":\"\0\"}", 9), std::string("{\"a\":1e999999}")}) {
    const auto answer = deliver(body);
    EXPECT_EQ(answer.status, 400) << body.substr(0, 40);
    EXPECT_EQ(json::parse(answer.body)["error"]["code"], "invalid_argument");
  }
  for (const std::string& body : {std::string("payload"), std::string("payload=%zz"),
                                  std::string("other={}"), std::string("payload=[]")}) {
    EXPECT_EQ(deliver(body, k_secret, "push", "application/x-www-form-urlencoded").status, 400)
        << body;
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

// Puts every wrong type in every place; the answer is a 400 that names the place.
TEST_F(Webhook, a_member_of_any_wrong_type_is_a_400_that_names_it) {
  const std::vector<json> others = {
      json(nullptr),   json(true),    json(7),          json(-1.5),     json(""),
      json("text"),    json::array(), json::array({1}), json::object(), json::object({{"ref", 1}}),
      json(UINT64_MAX)};
  struct Place {
    const char* pointer;
    const char* name;
    bool may_be_null;
    bool may_be_text;
    bool may_be_empty;
    bool is_object;
  };
  for (const auto& place : std::vector<Place>{
           {"/ref", "ref", false, true, false, false},
           {"/before", "before", false, false, false, false},
           {"/after", "after", false, false, false, false},
           {"/deleted", "deleted", true, false, false, false},
           {"/repository", "repository", false, false, false, false},
           {"/repository/clone_url", "repository.clone_url", true, true, true, false},
           {"/repository/ssh_url", "repository.ssh_url", true, true, true, false},
           {"/repository/html_url", "repository.html_url", true, true, true, false},
           {"/repository/git_url", "repository.git_url", true, true, true, false},
           {"/repository/url", "repository.url", true, true, true, false},
           {"/repository/default_branch", "repository.default_branch", true, true, true, false},
           {"/pusher", "pusher", true, false, false, true},
           {"/pusher/name", "pusher.name", true, true, true, false},
           {"/sender", "sender", true, false, false, true},
           {"/sender/login", "sender.login", true, true, true, false}}) {
    for (const auto& other : others) {
      auto payload = push_payload();
      payload[json::json_pointer(place.pointer)] = other;
      const bool fine = (other.is_null() && place.may_be_null) ||
                        (other == "text" && place.may_be_text) ||
                        (other == "" && place.may_be_empty) ||
                        (other.is_boolean() && std::string("deleted") == place.name) ||
                        (other.is_object() && place.is_object);
      const auto answer = deliver(payload.dump());
      EXPECT_EQ(answer.status, fine ? 202 : 400) << place.pointer << " = " << other << answer.body;
      if (!fine) {
        EXPECT_THAT(answer.body, HasSubstr(place.name)) << other;
      }
    }
  }
}

TEST_F(Webhook, text_that_would_break_out_of_lines_or_is_endless_is_a_400) {
  for (const char* pointer :
       {"/ref", "/repository/clone_url", "/repository/default_branch", "/pusher/name"}) {
    for (const std::string& text : {std::string("a\nb"), std::string("a\0b", 3),
                                    std::string("a\x1b[2J"), std::string(5000, 'x')}) {
      auto payload = push_payload();
      payload[json::json_pointer(pointer)] = text;
      EXPECT_EQ(deliver(payload.dump()).status, 400) << pointer;
    }
  }
  for (const char* sha :
       {"2222", "22222222222222222222222222222222222222222",
        "G222222222222222222222222222222222222222", "ABCDEF2222222222222222222222222222222222"}) {
    auto payload = push_payload();
    payload["after"] = sha;
    EXPECT_EQ(deliver(payload.dump()).status, 400) << sha;
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, a_payload_that_is_cut_anywhere_is_a_400) {
  const auto body = push_payload().dump();
  for (std::size_t size = 0; size < body.size(); size += 5) {
    EXPECT_EQ(deliver(body.substr(0, size)).status, 400) << size;
  }
  EXPECT_THAT(control_.asked<commands::TakePush>(), IsEmpty());
}

TEST_F(Webhook, a_delivery_of_25_mib_is_taken_and_a_larger_one_refused_unread) {
  auto payload = push_payload();
  payload["filler"] = "";
  payload["filler"] = std::string(k_webhook_bytes_max - payload.dump().size(), 'x');
  const auto body = payload.dump();
  ASSERT_EQ(body.size(), k_webhook_bytes_max);
  EXPECT_EQ(deliver(body).status, 202);

  auto client = connect_webhook();
  const auto answer = client.ask("POST /webhooks/github HTTP/1.1\r\nHost: x\r\nContent-Length: " +
                                 std::to_string(k_webhook_bytes_max + 1) + "\r\n\r\n");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 413);
  EXPECT_EQ(control_.asked<commands::TakePush>().size(), 1U);
}

TEST_F(Webhook, the_tcp_listener_serves_nothing_else) {
  control_.add_project("shop");
  for (const char* path : {"/v1/status", "/v1/projects", "/v1/events", "/v1/projects/shop/env"}) {
    EXPECT_EQ(connect_webhook().ask(request_text("GET", path))->status, 404) << path;
  }
  EXPECT_EQ(connect_webhook().ask(request_text("GET", "/healthz"))->status, 200);
  EXPECT_EQ(connect_webhook().ask(request_text("GET", "/webhooks/github"))->status, 405);
}

}  // namespace
}  // namespace atlasflow::api
