// Orders at a CA that limits, fails, hesitates and talks nonsense; and orders that are gone on with
// by another life.
#include "domains/acme/issuer.hpp"

#include <atomic>
#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/base64.hpp"
#include "domains/acme/jose.hpp"
#include "domains/certificates/chain.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::FakeCa;
using domains_test::http_answer;
using domains_test::TestBoard;
using testing::HasSubstr;

class Orders : public testing::Test {
 protected:
  Orders() {
    std::string pattern = testing::TempDir() + "issuer-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    open_store();
  }
  ~Orders() override { std::filesystem::remove_all(folder_); }

  void open_store() {
    store_.reset();
    auto opened = CertificateStore::open(folder_ / "domains", folder_ / "secret.key");
    ASSERT_TRUE(opened.has_value()) << to_string(opened.error());
    store_ = std::move(*opened);
  }
  [[nodiscard]] AcmeConfig config() const {
    AcmeConfig config;
    config.directory = ca_.directory();
    config.contact = "ops@web.example";
    config.terms_agreed = true;
    config.request_timeout = 5s;
    return config;
  }
  IssueResult order(const std::string& effect = "e-v1",
                    std::vector<std::string> names = {"web.example"},
                    std::chrono::microseconds remaining = 20s, const std::stop_token& stop = {}) {
    Issuer issuer(config(), *store_, board_);
    OrderRequest request;
    request.effect = EffectId(effect);
    request.names = std::move(names);
    request.remaining = remaining;
    request.renews = renews_;
    return issuer.order(request, stop);
  }
  [[nodiscard]] bool nothing_stored() const {
    return std::filesystem::is_empty(folder_ / "domains" / "certificates");
  }
  std::filesystem::path folder_;
  std::string renews_;
  TestBoard board_;
  FakeCa ca_{board_};
  std::unique_ptr<CertificateStore> store_;
};

TEST_F(Orders, a_certificate_is_issued_stored_and_given_again_without_the_ca) {
  const auto issued = order("e-v1", {"web.example", "www.web.example"});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(issued->names_size(), 2);
  EXPECT_EQ(issued->issuer(), "Test Intermediate");
  EXPECT_EQ(board_.size(), 0U) << "tokens are taken back";
  EXPECT_EQ(ca_.account_request()["contact"][0], "mailto:ops@web.example");
  open_store();
  const int asked = ca_.asked("/dir");
  const auto again = order("e-v1", {"web.example", "www.web.example"});
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ(again->fingerprint(), issued->fingerprint());
  EXPECT_EQ(ca_.asked("/dir"), asked);
  EXPECT_TRUE(store_->certificate(issued->fingerprint()).has_value());
  ASSERT_TRUE(order("e-v2").has_value());
  EXPECT_EQ(ca_.accounts(), 1);
}

TEST_F(Orders, a_limit_is_told_with_the_time_that_the_ca_names) {
  ca_.instead = [](const std::string& part, int) {
    return part != "/new-order"
               ? std::string()
               : http_answer(
                     429,
                     R"({"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many)"
                     R"( certificates (5) already issued"})",
                     "Retry-After: 3600\r\nReplay-Nonce: n\r\n");
  };
  const auto before = now_us();
  const auto limited = order();
  ASSERT_FALSE(limited.has_value());
  EXPECT_EQ(limited.error().problem(), pb::CERTIFICATE_PROBLEM_RATE_LIMITED);
  EXPECT_GE(limited.error().retry_at_us(), before + 3'600'000'000);
  EXPECT_LE(limited.error().retry_at_us(), now_us() + 3'600'000'000);
  EXPECT_THAT(limited.error().reason(), HasSubstr("too many certificates (5) already issued"));
}

TEST_F(Orders, errors_that_pass_are_waited_for_where_asking_again_does_no_harm) {
  ca_.instead = [](const std::string& part, int number) {
    const bool fails = (part == "/authz" && number == 2) || (part == "/order" && number == 1) ||
                       (part == "/certificate" && number <= 2);
    return fails ? http_answer(503, "") : std::string();
  };
  const auto issued = order();
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.orders(), 1);
}

// Once there is an order the deadline is the only end: it counts against the authority's limits.
TEST_F(Orders, an_order_that_is_made_waits_for_an_authority_that_is_away) {
  const struct {
    const char* part;
    int times;
  } absences[] = {{"/challenge", 2}, {"/order", 5}, {"/finalize", 2}, {"/certificate", 5}};
  for (const auto& absence : absences) {
    SCOPED_TRACE(absence.part);
    int left = absence.times;
    ca_.instead = [&](const std::string& part, int) {
      return part == absence.part && left-- > 0 ? http_answer(503, "", "Retry-After: 0\r\n")
                                                : std::string();
    };
    const int orders = ca_.orders();
    const auto issued = order(std::string("e") + absence.part, {"web.example"}, 60s);
    ca_.instead = nullptr;
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_EQ(ca_.orders(), orders + 1);
  }
}

TEST_F(Orders, an_authority_that_stays_away_is_what_an_order_fails_with) {
  ca_.instead = [](const std::string& part, int) {
    return part == "/certificate" ? http_answer(503, "", "Retry-After: 0\r\n") : std::string();
  };
  const auto since = std::chrono::steady_clock::now();
  const auto failed = order("e-v1", {"web.example"}, 3s);
  ASSERT_FALSE(failed.has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - since, 6s);
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_THAT(failed.error().reason(), HasSubstr("HTTP 503"));
  EXPECT_EQ(board_.size(), 0U);
}

TEST_F(Orders, an_order_that_the_ca_refuses_with_an_error_of_its_own_is_for_another_effect) {
  ca_.instead = [](const std::string& part, int) {
    return part == "/new-order" ? http_answer(500, "oops") : std::string();
  };
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_THAT(failed.error().reason(), HasSubstr("HTTP 500"));
}

TEST_F(Orders, a_slow_end_is_waited_for_as_the_ca_says) {
  ca_.processing_polls = 2;
  ca_.retry_after = "1";
  const auto since = std::chrono::steady_clock::now();
  const auto issued = order();
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_GE(std::chrono::steady_clock::now() - since, 1900ms);
}

TEST_F(Orders, a_ca_that_comes_to_no_end_is_left_at_the_deadline) {
  ca_.processing_polls = 1'000;
  const auto since = std::chrono::steady_clock::now();
  const auto failed = order("e-v1", {"web.example"}, 3s);
  ASSERT_FALSE(failed.has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - since, 6s);
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  ca_.processing_polls = 0;
  EXPECT_EQ(board_.size(), 0U);
}

TEST_F(Orders, what_makes_no_sense_is_told_and_never_stored) {
  const auto base = ca_.directory().substr(0, ca_.directory().size() - 4);
  const auto order_with = [&](const std::string& members) {
    return R"({"status":"ready","authorizations":[")" + base + R"(/authz/0/0"],"finalize":")" +
           base + R"(/finalize/0")" + members + "}";
  };
  const std::string named = R"(,"identifiers":[{"type":"dns","value":"web.example"}])";
  // What walks it by recursion runs out of stack.
  const std::string deep = std::string(100'000, '[') + std::string(100'000, ']');
  const auto at = [&](const std::string& path) { return "Location: " + base + path + "\r\n"; };
  const struct {
    const char* part;
    std::string answer;
  } cases[] = {
      {"/dir", http_answer(200, "<html>")},
      {"/dir", http_answer(200, R"({"newNonce":"file:///etc/passwd"})")},
      {"/account", http_answer(201, "{}", "Replay-Nonce: x\r\n")},
      {"/account", http_answer(201, "{}", at("/account/\xFF"))},
      {"/new-order", http_answer(201, R"({"status":"happy"})", "Replay-Nonce: x\r\n")},
      {"/new-order", http_answer(201, "[]", "Replay-Nonce: x\r\n")},
      {"/new-order", http_answer(201, order_with(""), at("/order/0"))},
      {"/new-order", http_answer(201, order_with(R"(,"identifiers":[])"), at("/order/0"))},
      {"/order", http_answer(200, order_with(""))},
      {"/finalize", http_answer(200, order_with(""))},
      {"/new-order",
       http_answer(201, order_with(named + R"(,"error":{"a":)" + deep + "}"), at("/order/0"))},
      {"/new-order", http_answer(400, R"({"type":"dns","subproblems":)" + deep + "}")},
      // Bytes that are no UTF-8, in what is signed or stored as JSON.
      {"/nonce", http_answer(200, "", "Replay-Nonce: \xFF\xFE\r\n")},
      {"/nonce", http_answer(200, "", "Replay-Nonce: not base64url!\r\n")},
      {"/new-order", http_answer(201, order_with(named), at("/order/\xFF"))},
      {"/new-order", http_answer(201, order_with(named), at("/order/" + std::string(3'000, 'x')))},
      {"/authz", http_answer(200, R"({"status":"pending","identifier":7,"challenges":{}})")},
      {"/certificate", http_answer(200, "no chain")},
      {"/certificate", http_answer(200, std::string(300'000, 'x'))},
  };
  int number = 0;
  for (const auto& each : cases) {
    ca_.instead = [&](const std::string& part, int) {
      return part == each.part ? each.answer : std::string();
    };
    const auto failed = order("bad-v" + std::to_string(++number));
    ASSERT_FALSE(failed.has_value()) << each.part;
    EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE)
        << failed.error().reason();
    EXPECT_FALSE(failed.error().reason().empty());
  }
  EXPECT_TRUE(nothing_stored());
}

TEST_F(Orders, a_certificate_for_another_key_is_not_taken) {
  ca_.wrong_key = true;
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().reason(), HasSubstr("belongs to another private key"));
  EXPECT_TRUE(nothing_stored());
}

// At every request between the order and the chain.
TEST_F(Orders, an_order_that_died_anywhere_is_gone_on_with) {
  const struct {
    const char* part;
    int number;
  } deaths[] = {{"/dir", 1},   {"/account", 1},  {"/authz", 1}, {"/challenge", 1},  {"/authz", 2},
                {"/order", 1}, {"/finalize", 1}, {"/order", 2}, {"/certificate", 1}};
  for (const auto& death : deaths) {
    SCOPED_TRACE(std::string(death.part) + " " + std::to_string(death.number));
    TestBoard board;
    FakeCa ca(board);
    ca.processing_polls = 1;
    auto own = config();
    own.directory = ca.directory();
    std::string effect = std::string("die") + death.part + std::to_string(death.number);
    std::stop_source source;
    ca.instead = [&](const std::string& part, int times) {
      if (part != death.part || times != death.number) return std::string();
      source.request_stop();
      return http_answer(500, "");
    };
    const OrderRequest request{EffectId(effect), {"web.example"}, "", "", 20s};
    const auto died = Issuer(own, *store_, board).order(request, source.get_token());
    ASSERT_FALSE(died.has_value());
    ca.instead = nullptr;
    open_store();
    const auto issued = Issuer(own, *store_, board).order(request, {});
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_EQ(ca.orders(), 1);
    EXPECT_EQ(ca.certificates(), 1);
    EXPECT_EQ(ca.accounts(), 1);
    EXPECT_EQ(board.size(), 0U);
  }
}

// The CA has made the order, and its answer was never read.
TEST_F(Orders, an_order_whose_answer_was_lost_is_found_in_the_accounts_list) {
  ASSERT_TRUE(order("first-v1", {"first.example"}).has_value());
  ASSERT_TRUE(store_->order(EffectId("e-v1")).has_value());
  ASSERT_TRUE(store_->announce_order(EffectId("e-v1")).has_value());
  {
    const auto account = store_->account(ca_.directory(), "").value();
    AcmeClient client(config(), account.key.get(), account.url, {});
    ASSERT_TRUE(client.open().has_value());
    ASSERT_TRUE(client.new_order({"web.example"}, "").has_value());
  }
  EXPECT_EQ(ca_.orders(), 2);
  ASSERT_TRUE(order("e-v1").has_value());
  EXPECT_EQ(ca_.orders(), 2);
}

TEST_F(Orders, a_ca_without_such_a_list_is_asked_for_another_order) {
  ca_.lists_orders = false;
  ASSERT_TRUE(store_->order(EffectId("e-v1")).has_value());
  ASSERT_TRUE(store_->announce_order(EffectId("e-v1")).has_value());
  ASSERT_TRUE(order("e-v1").has_value());
  EXPECT_EQ(ca_.orders(), 1);
}

TEST_F(Orders, an_account_that_the_ca_has_forgotten_is_made_anew) {
  ASSERT_TRUE(order("e-v1").has_value());
  ca_.forget_accounts();
  const auto issued = order("e-v2");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.accounts(), 1);
}

TEST_F(Orders, an_order_that_the_ca_does_not_know_is_a_failure) {
  ASSERT_TRUE(order("first-v1").has_value());
  ASSERT_TRUE(store_->order(EffectId("e-v1")).has_value());
  const auto gone = ca_.directory().substr(0, ca_.directory().size() - 4) + "/order/99";
  ASSERT_TRUE(store_->set_order_url(EffectId("e-v1"), gone).has_value());
  const auto failed = order("e-v1");
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().reason(), HasSubstr("no such order"));
}

TEST_F(Orders, a_nonce_that_is_refused_for_ever_ends) {
  ca_.instead = [](const std::string& part, int) {
    return part == "/account"
               ? http_answer(400, R"({"type":"urn:ietf:params:acme:error:badNonce"})",
                             "Replay-Nonce: n\r\n")
               : std::string();
  };
  const auto failed = order();
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().reason(), HasSubstr("badNonce"));
  EXPECT_LT(ca_.asked("/account"), 30);
}

TEST_F(Orders, an_external_account_is_bound_and_its_absence_told) {
  ca_.external_account_required = true;
  const auto missing = order("e-v1");
  ASSERT_FALSE(missing.has_value());
  EXPECT_EQ(missing.error().problem(), pb::CERTIFICATE_PROBLEM_ACCOUNT);
  auto bound = config();
  bound.external_key_id = "kid-1";
  bound.external_mac_key = "not base64url!";
  const OrderRequest request{EffectId("e-v2"), {"web.example"}, "", "", 20s};
  const auto wrong = Issuer(bound, *store_, board_).order(request, {});
  EXPECT_EQ(wrong.error().problem(), pb::CERTIFICATE_PROBLEM_ACCOUNT);
  EXPECT_EQ(wrong.error().reason().find("not base64url!"), std::string::npos);
  bound.external_mac_key = "c2VjcmV0";
  const auto issued = Issuer(bound, *store_, board_).order(request, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  const auto binding = ca_.account_request()["externalAccountBinding"];
  const auto expected =
      sign_hs256("secret",
                 nlohmann::ordered_json::parse(
                     from_base64url(binding["protected"].get<std::string>()).value()),
                 from_base64url(binding["payload"].get<std::string>()).value());
  EXPECT_EQ(binding["signature"], expected["signature"]);
}

TEST_F(Orders, terms_that_nobody_agreed_to_are_told_before_the_ca_is_asked) {
  ca_.has_terms = true;
  auto silent = config();
  silent.terms_agreed = false;
  const auto failed =
      Issuer(silent, *store_, board_).order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_ACCOUNT);
  EXPECT_THAT(failed.error().reason(), HasSubstr("acme_terms_agreed"));
  EXPECT_EQ(ca_.asked("/account"), 0);
  ASSERT_TRUE(order("e-v2").has_value());
}

TEST_F(Orders, a_clock_that_is_a_little_behind_throws_no_certificate_away) {
  ca_.leaf.begins_in_s = 600;
  EXPECT_TRUE(order("e-v1").has_value());
  ca_.leaf.begins_in_s = 86'400;
  ca_.leaf.ends_in_s = 90L * 86'400;
  const auto failed = order("e-v2");
  ASSERT_FALSE(failed.has_value());
  EXPECT_THAT(failed.error().reason(), HasSubstr("is this machine's clock right?"));
}

// A CA that takes the connection and then says nothing.
TEST_F(Orders, a_ca_that_hangs_is_left_in_time) {
  ca_.instead = [](const std::string& part, int) {
    if (part == "/new-order") std::this_thread::sleep_for(4s);
    return std::string();
  };
  const auto since = std::chrono::steady_clock::now();
  const auto failed = order("e-v1", {"web.example"}, 2s);
  ASSERT_FALSE(failed.has_value());
  EXPECT_LT(std::chrono::steady_clock::now() - since, 3900ms);
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
}

// RFC 9773 section 5.
TEST_F(Orders, a_renewal_names_what_it_replaces_unless_that_is_done_already) {
  const auto first = order("e-v1");
  ASSERT_TRUE(first.has_value());
  renews_ = first->fingerprint();
  const auto chain = parse_certificates(store_->certificate(renews_)->chain_pem).value();
  const auto id = renewal_id_of(chain.front().get());
  ASSERT_TRUE(order("e-v2").has_value());
  EXPECT_THAT(ca_.replaces(), testing::ElementsAre(id));
  ca_.replaced = {id};
  const auto issued = order("e-v3");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(ca_.replaces().size(), 2U);
}

TEST_F(Orders, a_ca_that_is_not_there_is_told_by_its_place) {
  auto nowhere = config();
  nowhere.directory = "http://127.0.0.1:1/secret-path";
  const auto failed =
      Issuer(nowhere, *store_, board_).order({EffectId("e"), {"web.example"}, "", "", 20s}, {});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_THAT(failed.error().reason(), HasSubstr("http://127.0.0.1:1"));
}

TEST_F(Orders, a_wildcard_is_refused_with_the_reason) {
  const auto failed = order("e-v1", {"*.web.example"});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_REFUSED);
  EXPECT_EQ(ca_.orders(), 0);
}

TEST_F(Orders, caa_identities_are_the_directorys) {
  Issuer issuer(config(), *store_, board_);
  EXPECT_TRUE(issuer.caa_identities().empty());
  EXPECT_EQ(ca_.asked("/dir"), 0) << "the authority is asked by who may wait for it";
  issuer.ask_caa_identities({});
  issuer.ask_caa_identities({});
  EXPECT_THAT(issuer.caa_identities(), testing::ElementsAre("ca.example"));
  EXPECT_EQ(ca_.asked("/dir"), 1);
  Issuer orders(config(), *store_, board_);
  ASSERT_TRUE(orders.order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {}).has_value());
  EXPECT_THAT(orders.caa_identities(), testing::ElementsAre("ca.example"));
}

TEST_F(Orders, an_authority_that_is_away_is_asked_for_its_identities_once) {
  ca_.instead = [](const std::string&, int) { return http_answer(503, ""); };
  Issuer issuer(config(), *store_, board_);
  for (int look = 0; look < 20; ++look) issuer.ask_caa_identities({});
  EXPECT_EQ(ca_.asked("/dir"), 1);
  ca_.instead = nullptr;
  ASSERT_TRUE(issuer.order({EffectId("e-v1"), {"web.example"}, "", "", 20s}, {}).has_value());
  EXPECT_THAT(issuer.caa_identities(), testing::ElementsAre("ca.example"))
      << "an order brings them anyway";
}

// Look-ups read what is known; who asks holds none of them up, and ends soon or when it is stopped.
TEST_F(Orders, an_authority_that_hangs_holds_no_look_up_up) {
  struct Hold {
    std::atomic<bool> hangs{true};
    std::atomic<bool> is_asked{false};
  };
  const auto hold = std::make_shared<Hold>();  // the authority outlives this test
  ca_.instead = [hold](const std::string&, int) {
    hold->is_asked = true;
    while (hold->hangs) std::this_thread::sleep_for(10ms);
    return std::string();
  };
  using Clock = std::chrono::steady_clock;
  Issuer issuer(config(), *store_, board_);
  const auto since = Clock::now();
  std::jthread asks([&](const std::stop_token& stop) { issuer.ask_caa_identities(stop); });
  while (!hold->is_asked) std::this_thread::sleep_for(1ms);
  EXPECT_TRUE(issuer.caa_identities().empty());
  issuer.ask_caa_identities({});
  EXPECT_LT(Clock::now() - since, k_identities_timeout);
  asks.request_stop();
  asks.join();
  EXPECT_LT(Clock::now() - since, k_identities_timeout) << "it was stopped";
  auto patient = config();
  patient.request_timeout = 30s;
  const auto again = Clock::now();
  Issuer(patient, *store_, board_).ask_caa_identities({});
  EXPECT_LT(Clock::now() - again, 2 * k_identities_timeout);
  hold->hangs = false;
}

}  // namespace
}  // namespace atlasflow::domains
