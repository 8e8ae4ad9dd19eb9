// What an authority advises of a renewal (RFC 9773), and what it answers when it has none.
#include <chrono>
#include <filesystem>
#include <memory>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/rfc3339.hpp"
#include "domains/acme/issuer.hpp"
#include "domains/certificates/chain.hpp"
#include "events/domain.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::FakeCa;
using domains_test::http_answer;
using domains_test::TestBoard;
using testing::HasSubstr;

class Renewals : public testing::Test {
 protected:
  Renewals() {
    std::string pattern = testing::TempDir() + "renewal-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    store_ = CertificateStore::open(folder_ / "domains", folder_ / "secret.key").value();
    config_.directory = ca_.directory();
    config_.terms_agreed = true;
    issuer_ = std::make_unique<Issuer>(config_, *store_, board_);
    fingerprint_ =
        issuer_->order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {}).value().fingerprint();
    asked_dir_ = ca_.asked("/dir");
  }
  ~Renewals() override { std::filesystem::remove_all(folder_); }

  void say(const std::string& body, const std::string& fields = {}, int status = 200) {
    ca_.renewal = [=, this](const std::string& id) {
      asked_for_ = id;
      return http_answer(status, body, fields);
    };
  }
  static std::string window(const std::string& start, const std::string& end) {
    return R"({"suggestedWindow":{"start":")" + start + R"(","end":")" + end + R"("})";
  }

  std::filesystem::path folder_;
  TestBoard board_;
  FakeCa ca_{board_};
  AcmeConfig config_;
  std::unique_ptr<CertificateStore> store_;
  std::unique_ptr<Issuer> issuer_;
  std::string fingerprint_;
  std::string asked_for_;
  int asked_dir_ = 0;
};

TEST_F(Renewals, are_asked_for_by_the_certificates_id_and_their_window_is_read) {
  say(window("2027-01-02T04:00:00Z", "2027-01-03T04:00:00Z") +
          R"(,"explanationURL":"https://ca.example/why"})",
      "Retry-After: 21600\r\n");
  const auto news = issuer_->renewal_news(fingerprint_, "", {});
  ASSERT_TRUE(news.advised.has_value()) << news.trouble;
  const auto chain = parse_certificates(store_->certificate(fingerprint_)->chain_pem).value();
  EXPECT_EQ(asked_for_, renewal_id_of(chain.front().get()));
  EXPECT_EQ(news.advised->fingerprint(), fingerprint_);
  EXPECT_EQ(news.advised->start_us(), parse_rfc3339_us("2027-01-02T04:00:00Z"));
  EXPECT_EQ(news.advised->end_us(), parse_rfc3339_us("2027-01-03T04:00:00Z"));
  EXPECT_EQ(news.advised->explanation_url(), "https://ca.example/why");
  EXPECT_GT(news.ask_again_in, 21'590s);
  EXPECT_LE(news.ask_again_in, 21'600s);
}

TEST_F(Renewals, a_window_that_is_none_is_no_advice) {
  for (const auto& body : {window("2027-01-03T04:00:00Z", "2027-01-03T04:00:00Z") + "}",
                           window("2027-01-03T04:00:00Z", "2027-01-02T04:00:00Z") + "}",
                           window("tomorrow", "2027-01-02T04:00:00Z") + "}", std::string("{}"),
                           std::string(R"({"suggestedWindow":7})"), std::string("no json")}) {
    say(body);
    const auto news = issuer_->renewal_news(fingerprint_, "", {});
    EXPECT_FALSE(news.advised.has_value()) << body;
    EXPECT_THAT(news.trouble, HasSubstr("makes no sense")) << body;
    EXPECT_EQ(news.ask_again_in, std::chrono::microseconds(k_advice_apart_us));
  }
}

TEST_F(Renewals, an_explanation_that_is_no_https_url_is_not_shown) {
  for (const auto* url : {"javascript:alert(1)", "http://ca.example/", "https://ca.example/\\n"}) {
    ASSERT_TRUE(store_->set_advice(fingerprint_, {{}, 1}).has_value());  // whose time is over
    say(window("2027-01-02T04:00:00Z", "2027-01-03T04:00:00Z") + R"(,"explanationURL":")" + url +
        "\"}");
    const auto news = issuer_->renewal_news(fingerprint_, "", {});
    ASSERT_TRUE(news.advised.has_value()) << news.trouble;
    EXPECT_EQ(news.advised->explanation_url(), "") << url;
  }
}

TEST_F(Renewals, a_refusal_is_told_and_its_retry_after_obeyed) {
  say(R"({"type":"urn:ietf:params:acme:error:rateLimited","detail":"too often"})",
      "Retry-After: 900\r\n", 429);
  const auto news = issuer_->renewal_news(fingerprint_, "", {});
  EXPECT_FALSE(news.advised.has_value());
  EXPECT_THAT(news.trouble, HasSubstr("too often"));
  EXPECT_GT(news.ask_again_in, 890s);
  EXPECT_LE(news.ask_again_in, 900s);
}

TEST_F(Renewals, are_not_asked_for_by_the_next_life_before_the_time_that_was_named) {
  say(window("2027-01-02T04:00:00Z", "2027-01-03T04:00:00Z") +
          R"(,"explanationURL":"https://ca.example/why"})",
      "Retry-After: 7200\r\n");
  ASSERT_TRUE(issuer_->renewal_news(fingerprint_, "", {}).advised.has_value());
  EXPECT_EQ(ca_.asked("/renewal"), 1);
  store_ = CertificateStore::open(folder_ / "domains", folder_ / "secret.key").value();
  Issuer next(config_, *store_, board_);
  const auto asked_dir = ca_.asked("/dir");
  const auto news = next.renewal_news(fingerprint_, "", {});
  EXPECT_EQ(ca_.asked("/renewal"), 1);
  EXPECT_EQ(ca_.asked("/dir"), asked_dir);
  ASSERT_TRUE(news.advised.has_value()) << "who asked may have died before it was recorded";
  EXPECT_EQ(news.advised->fingerprint(), fingerprint_);
  EXPECT_EQ(news.advised->end_us(), parse_rfc3339_us("2027-01-03T04:00:00Z"));
  EXPECT_EQ(news.advised->explanation_url(), "https://ca.example/why");
  EXPECT_GT(news.ask_again_in, 7'100s);
  EXPECT_LE(news.ask_again_in, 7'200s);
  EXPECT_TRUE(store_->certificate(fingerprint_).has_value());
}

TEST_F(Renewals, a_refusals_time_is_kept_to_by_the_next_life_and_the_advice_before_it_stands) {
  say(window("2027-01-02T04:00:00Z", "2027-01-03T04:00:00Z") + "}");
  ASSERT_TRUE(issuer_->renewal_news(fingerprint_, "", {}).advised.has_value());
  ASSERT_TRUE(store_->set_advice(fingerprint_, {{}, 1}).has_value());
  say(R"({"type":"urn:ietf:params:acme:error:rateLimited","detail":"too often"})",
      "Retry-After: 900\r\n", 429);
  EXPECT_THAT(issuer_->renewal_news(fingerprint_, "", {}).trouble, HasSubstr("too often"));
  const auto asked = ca_.asked("/renewal");
  const auto news = Issuer(config_, *store_, board_).renewal_news(fingerprint_, "", {});
  EXPECT_EQ(ca_.asked("/renewal"), asked);
  EXPECT_TRUE(news.advised.has_value());
  EXPECT_LE(news.ask_again_in, 900s);
}

TEST_F(Renewals, a_time_that_a_wrong_clock_kept_is_not_believed) {
  say(window("2027-01-02T04:00:00Z", "2027-01-03T04:00:00Z") + "}");
  ASSERT_TRUE(store_->set_advice(fingerprint_, {{}, now_us() + 400 * k_day_us}).has_value());
  EXPECT_TRUE(issuer_->renewal_news(fingerprint_, "", {}).advised.has_value());
  EXPECT_EQ(ca_.asked("/renewal"), 1);
}

TEST_F(Renewals, a_failure_without_a_time_is_asked_about_by_the_next_life) {
  say("no json");
  EXPECT_NE(issuer_->renewal_news(fingerprint_, "", {}).trouble, "");
  EXPECT_NE(Issuer(config_, *store_, board_).renewal_news(fingerprint_, "", {}).trouble, "");
  EXPECT_EQ(ca_.asked("/renewal"), 2);
}

TEST_F(Renewals, are_advised_until_a_directory_says_that_they_are_not) {
  Issuer fresh(config_, *store_, board_);
  EXPECT_TRUE(fresh.gives_renewal_advice()) << "nobody knows yet";
  ca_.instead = [this](const std::string& part, int) {
    if (part != "/dir") return std::string();
    const auto base = ca_.directory().substr(0, ca_.directory().rfind('/'));
    return http_answer(200, R"({"newNonce":")" + base + R"(/nonce","newAccount":")" + base +
                                R"(/account","newOrder":")" + base + R"(/new-order"})");
  };
  const auto news = fresh.renewal_news(fingerprint_, "", {});
  EXPECT_FALSE(news.advised.has_value());
  EXPECT_EQ(news.trouble, "");
  EXPECT_FALSE(fresh.gives_renewal_advice());
  EXPECT_EQ(ca_.asked("/renewal"), 0);
}

TEST_F(Renewals, of_a_certificate_that_is_gone_are_not_asked_for) {
  EXPECT_THAT(issuer_->renewal_news(std::string(64, 'a'), "", {}).trouble,
              HasSubstr("not in the store"));
  EXPECT_EQ(ca_.asked("/dir"), asked_dir_);
}

// RFC 9773 section 5: the old one may have been renewed, be another account's, or another CA's.
TEST_F(Renewals, an_order_that_may_not_replace_is_made_without_that) {
  for (const auto& [status, type] : std::vector<std::pair<int, std::string>>{
           {409, "alreadyReplaced"}, {404, "malformed"}, {400, "malformed"}}) {
    int refused = 0;
    ca_.instead = [&, status = status, type = type](const std::string& part, int) {
      if (part != "/new-order" || refused++ != 0) return std::string();
      return http_answer(status, R"({"type":"urn:ietf:params:acme:error:)" + type + "\"}",
                         "Replay-Nonce: n\r\n");
    };
    const auto issued = issuer_->order(
        {EffectId("e-" + std::to_string(status)), {"web.example"}, "", fingerprint_, 20s}, {});
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_GE(refused, 2);
  }
  EXPECT_THAT(ca_.replaces(), testing::IsEmpty());
}

TEST_F(Renewals, an_order_that_a_limit_refuses_is_not_tried_without_what_it_replaces) {
  ca_.instead = [](const std::string& part, int) {
    if (part != "/new-order") return std::string();
    return http_answer(429, R"({"type":"urn:ietf:params:acme:error:rateLimited"})",
                       "Replay-Nonce: n\r\nRetry-After: 60\r\n");
  };
  const auto before = ca_.asked("/new-order");
  const auto issued =
      issuer_->order({EffectId("e-v2"), {"web.example"}, "", fingerprint_, 20s}, {});
  ASSERT_FALSE(issued.has_value());
  EXPECT_EQ(issued.error().problem(), pb::CERTIFICATE_PROBLEM_RATE_LIMITED);
  EXPECT_EQ(ca_.asked("/new-order"), before + 1);
}

}  // namespace
}  // namespace atlasflow::domains
