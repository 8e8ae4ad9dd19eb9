// Notifications to real receivers on loopback.
#include "server/engines_notify.hpp"

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "api/signature.hpp"
#include "tests/builder/scratch.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;
using edge::RecordingUpstream;
using edge::UpstreamSession;
using nlohmann::json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* k_secret = "hush hush";

Notification notification() {
  Notification made;
  made.project_id = ProjectId{"pabc2345"};
  made.project = "web";
  made.deployment = DeploymentId{"dabc2345"};
  made.result = DeploymentResult::failed;
  made.environment = "production";
  made.commit = std::string(40, 'a');
  made.subject = "Fix the \"door\"";
  made.hostname = "web.example.test";
  made.reason = "the build failed";
  made.step = "build";
  made.at = 1'700'000'000'000'000;
  return made;
}

class Notifying : public testing::Test {
 protected:
  // Answers each request with the next of the texts, the last one again and again; nothing for "".
  RecordingUpstream::Handler answers(std::vector<std::string> texts) {
    return [this, texts = std::move(texts)](UpstreamSession& session) {
      UpstreamSession::Request request;
      while (session.read_request(request)) {
        std::unique_lock lock(mutex_);
        const auto& text = texts[std::min(requests_.size(), texts.size() - 1)];
        requests_.push_back(request);
        lock.unlock();
        if (!text.empty() && !session.write(text)) return;
      }
    };
  }
  Result<std::int32_t> post(const RecordingUpstream& receiver, Notification made,
                            std::chrono::milliseconds timeout = 10s, std::stop_token stop = {}) {
    made.url = "http://127.0.0.1:" + std::to_string(receiver.port()) + "/hook?token=private";
    return HttpNotifyEngine({"example.test", 8443}, *secrets_, timeout).post(made, std::move(stop));
  }
  [[nodiscard]] std::vector<UpstreamSession::Request> requests() {
    const std::lock_guard lock(mutex_);
    return requests_;
  }
  static std::string status(const std::string& line) {
    return "HTTP/1.1 " + line + "\r\nContent-Length: 0\r\n\r\n";
  }

  builder::Scratch scratch_;
  std::unique_ptr<storage::SecretStore> secrets_ =
      std::move(*storage::open_secret_store(scratch_.path() / "secrets", scratch_.path() / "key"));
  std::mutex mutex_;
  std::vector<UpstreamSession::Request> requests_;
};

TEST_F(Notifying, the_body_says_what_became_of_which_deployment) {
  RecordingUpstream receiver(answers({status("204 No Content")}));
  EXPECT_EQ(post(receiver, notification()), 204);
  const auto got = requests();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].method, "POST");
  EXPECT_EQ(got[0].path, "/hook?token=private");
  EXPECT_EQ(got[0].fields.at("content-type"), "application/json");
  EXPECT_EQ(got[0].fields.at("x-atlasflow-event"), "deployment");
  EXPECT_EQ(got[0].fields.at("x-atlasflow-delivery"), "dabc2345-failed");
  EXPECT_THAT(got[0].fields.at("user-agent"), HasSubstr("atlasflow/"));
  EXPECT_FALSE(got[0].fields.contains("x-atlasflow-signature-256")) << "there is no secret";
  EXPECT_FALSE(got[0].fields.contains("expect"));
  const json want = {{"event", "deployment"},
                     {"result", "failed"},
                     {"project", "web"},
                     {"deployment", "dabc2345"},
                     {"environment", "production"},
                     {"commit", std::string(40, 'a')},
                     {"subject", "Fix the \"door\""},
                     {"url", "https://web.example.test:8443"},
                     {"reason", "the build failed"},
                     {"step", "build"},
                     {"at_us", 1'700'000'000'000'000},
                     {"delivery", "dabc2345-failed"}};
  EXPECT_EQ(json::parse(got[0].body), want);
}

TEST_F(Notifying, a_certificate_that_ends_is_an_event_of_its_own) {
  RecordingUpstream receiver(answers({status("204 No Content")}));
  auto made = notification();
  made.deployment = DeploymentId{};
  made.hostname = "www.shop.test";
  made.reason = "nobody renews it";
  made.expiry =
      ExpiryNews{"www.shop.test", pb::EXPIRY_STAGE_WARNING, std::string(64, 'a'), 1'700'000'100};
  EXPECT_EQ(post(receiver, made), 204);
  const auto got = requests();
  ASSERT_EQ(got.size(), 1U);
  EXPECT_EQ(got[0].fields.at("x-atlasflow-event"), "certificate");
  EXPECT_EQ(got[0].fields.at("x-atlasflow-delivery"),
            "www.shop.test-warning-aaaaaaaaaaaaaaaa-1700000000000000");
  const json want = {{"event", "certificate"},
                     {"result", "expiring"},
                     {"stage", "warning"},
                     {"project", "web"},
                     {"domain", "www.shop.test"},
                     {"url", "https://www.shop.test:8443"},
                     {"fingerprint", std::string(64, 'a')},
                     {"not_after_us", 1'700'000'100},
                     {"reason", "nobody renews it"},
                     {"at_us", 1'700'000'000'000'000},
                     {"delivery", "www.shop.test-warning-aaaaaaaaaaaaaaaa-1700000000000000"}};
  EXPECT_EQ(json::parse(got[0].body), want);
}

TEST_F(Notifying, the_signature_verifies_over_the_raw_body_with_the_projects_secret) {
  RecordingUpstream receiver(answers({status("200 OK")}));
  auto made = notification();
  made.secret_ref = secrets_->seal("notify/pabc2345", k_secret)->ref;
  EXPECT_EQ(post(receiver, made), 200);
  const auto got = requests();
  ASSERT_EQ(got.size(), 1U);
  const auto signature = api::parsed_signature(got[0].fields.at("x-atlasflow-signature-256"));
  ASSERT_TRUE(signature);
  EXPECT_TRUE(api::equal_in_constant_time(*signature, api::hmac_sha256(k_secret, got[0].body)));
  EXPECT_THAT(got[0].raw_head + got[0].body, Not(HasSubstr(k_secret)));
}

// The value is of GitHub's page "Validating webhook deliveries".
TEST(NotificationSignature, is_githubs) {
  EXPECT_EQ(notification_signature("It's a Secret to Everybody", "Hello, World!"),
            "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17");
}

TEST(NotificationBody, leaves_out_what_does_not_apply_and_names_who_requested_it) {
  auto made = notification();
  made.result = DeploymentResult::live;
  made.reason.clear();
  made.step.clear();
  made.requested_by = "automatic rollback";
  const auto body = json::parse(notification_body(made, {"example.test", 443}));
  EXPECT_FALSE(body.contains("reason"));
  EXPECT_FALSE(body.contains("step"));
  EXPECT_EQ(body["requested_by"], "automatic rollback");
  EXPECT_EQ(body["url"], "https://web.example.test");
}

TEST(NotificationBody, a_subject_that_is_no_utf_8_does_not_keep_it_from_being_told) {
  auto made = notification();
  made.subject = "caf\xe9";
  EXPECT_EQ(json::parse(notification_body(made, {"example.test", 443}))["subject"],
            "caf\xef\xbf\xbd");
}

TEST_F(Notifying, a_secret_that_cant_be_opened_sends_nothing) {
  RecordingUpstream receiver(answers({status("200 OK")}));
  auto made = notification();
  made.secret_ref = secrets_->seal("notify/another2", k_secret)->ref;
  const auto posted = post(receiver, made);
  ASSERT_FALSE(posted);
  EXPECT_THAT(posted.error().message, HasSubstr("atlasflow project notify-secret web"));
  EXPECT_EQ(receiver.connections(), 0);
}

TEST_F(Notifying, an_error_of_the_receiver_is_its_status_and_the_next_attempt_is_the_same) {
  RecordingUpstream receiver(answers({status("500 Internal Server Error"), status("200 OK")}));
  EXPECT_EQ(post(receiver, notification()), 500);
  EXPECT_EQ(post(receiver, notification()), 200);
  const auto got = requests();
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].body, got[1].body);
  EXPECT_EQ(got[0].fields.at("x-atlasflow-delivery"), got[1].fields.at("x-atlasflow-delivery"));
}

TEST_F(Notifying, a_redirect_is_not_followed) {
  RecordingUpstream elsewhere(answers({status("200 OK")}));
  RecordingUpstream receiver(answers(
      {"HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: http://127.0.0.1:" +
       std::to_string(elsewhere.port()) + "/\r\n\r\n"}));
  EXPECT_EQ(post(receiver, notification()), 307);
  EXPECT_EQ(elsewhere.connections(), 0);
}

TEST_F(Notifying, a_receiver_that_never_answers_costs_the_timeout_and_no_more) {
  RecordingUpstream receiver(answers({""}));
  const auto begin = std::chrono::steady_clock::now();
  const auto posted = post(receiver, notification(), 300ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
  ASSERT_FALSE(posted);
  EXPECT_EQ(posted.error().code, ErrorCode::timed_out);
  EXPECT_THAT(to_string(posted.error()), Not(HasSubstr("private")));
}

TEST_F(Notifying, a_receiver_that_answers_for_ever_is_cut_and_its_status_counts) {
  RecordingUpstream receiver([](UpstreamSession& session) {
    UpstreamSession::Request request;
    if (!session.read_request(request)) return;
    session.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    const std::string chunk = "4000\r\n" + std::string(0x4000, 'x') + "\r\n";
    while (session.write(chunk)) {
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(post(receiver, notification()), 200);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 5s);
}

TEST_F(Notifying, what_is_stopped_ends_before_its_timeout) {
  RecordingUpstream receiver(answers({""}));
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(100ms);
    stop.request_stop();
  });
  const auto begin = std::chrono::steady_clock::now();
  const auto posted = post(receiver, notification(), 30s, stop.get_token());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  ASSERT_FALSE(posted);
  EXPECT_EQ(posted.error().code, ErrorCode::cancelled);
}

TEST_F(Notifying, a_receiver_that_is_not_there_is_an_error_without_the_urls_query) {
  std::uint16_t port = 0;
  {
    const RecordingUpstream gone(answers({""}));
    port = gone.port();
  }
  auto made = notification();
  made.url = "http://127.0.0.1:" + std::to_string(port) + "/hook?token=private";
  const auto posted = HttpNotifyEngine({"example.test", 443}, *secrets_).post(made, {});
  ASSERT_FALSE(posted);
  EXPECT_EQ(posted.error().code, ErrorCode::unavailable);
  EXPECT_THAT(to_string(posted.error()), Not(HasSubstr("private")));
}

TEST_F(Notifying, only_http_is_spoken) {
  auto made = notification();
  made.url = "file:///etc/hostname";
  const auto posted = HttpNotifyEngine({"example.test", 443}, *secrets_).post(made, {});
  ASSERT_FALSE(posted);
  EXPECT_EQ(posted.error().code, ErrorCode::unavailable);
}

}  // namespace
}  // namespace atlasflow::server
