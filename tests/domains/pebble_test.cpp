// The client against a real ACME server: pebble, strict, and as unfriendly as it can be set.
#include "tests/domains/pebble.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <set>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509_vfy.h>
#include <unistd.h>

#include "base/process.hpp"
#include "domains/acme/issuer.hpp"
#include "domains/acme/jose.hpp"
#include "domains/certificates/chain.hpp"
#include "tests/base/http_peer.hpp"
#include "tests/domains/fake_ca.hpp"

namespace atlasflow::domains {
namespace {

using namespace std::chrono_literals;
using domains_test::http_answer;
using domains_test::Pebble;
using domains_test::PebbleWish;
using domains_test::TestBoard;
using testing::HasSubstr;

class PebbleTest : public testing::Test {
 protected:
  PebbleTest() {
    std::string pattern = testing::TempDir() + "pebble-test-XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
    store_ = CertificateStore::open(folder_ / "domains", folder_ / "secret.key").value();
  }
  ~PebbleTest() override { std::filesystem::remove_all(folder_); }

  void start(PebbleWish wish = {}) {
    ASSERT_TRUE(Pebble::installed()) << "script/bootstrap installs pebble";
    wish.http_port = static_cast<std::uint16_t>(edge_.port());
    pebble_ = std::make_unique<Pebble>(wish);
    config_.directory = pebble_->directory();
    config_.ca_bundle = pebble_->ca_bundle();
    config_.contact = "ops@web.example";
    config_.terms_agreed = true;
  }
  IssueResult order(const std::string& effect, std::vector<std::string> names) {
    return Issuer(config_, *store_, board_)
        .order({EffectId(effect), std::move(names), "", "", 60s}, {});
  }
  // By the root that pebble has now.
  [[nodiscard]] bool verifies(const std::string& fingerprint) const {
    const auto stored = store_->certificate(fingerprint).value();
    const auto chain = parse_certificates(stored.chain_pem).value();
    const auto roots = parse_certificates(pebble_->root()).value();
    X509_STORE* trusted = X509_STORE_new();
    X509_STORE_add_cert(trusted, roots.front().get());
    STACK_OF(X509)* between = sk_X509_new_null();
    for (std::size_t i = 1; i < chain.size(); ++i) sk_X509_push(between, chain[i].get());
    X509_STORE_CTX* context = X509_STORE_CTX_new();
    X509_STORE_CTX_init(context, trusted, chain.front().get(), between);
    const bool right = X509_verify_cert(context) == 1;
    X509_STORE_CTX_free(context);
    sk_X509_free(between);
    X509_STORE_free(trusted);
    return right;
  }

  std::filesystem::path folder_;
  TestBoard board_;
  // What the edge does for them.
  base_test::HttpPeer edge_{[this](const std::string& request) {
    const std::string place = "GET /.well-known/acme-challenge/";
    const auto host_at = request.find("Host: ");
    if (!request.starts_with(place) || host_at == request.npos) return http_answer(404, "");
    const auto token = request.substr(place.size(), request.find(' ', 4) - place.size());
    const auto host =
        request.substr(host_at + 6, request.find_first_of(":\r", host_at + 6) - host_at - 6);
    auto found = board_.answer(host, token);
    if (std::ifstream file(folder_ / "board" / (host + "," + token)); file) {
      found.emplace(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return http_answer(found ? 200 : 404, found.value_or(""), "Connection: close\r\n");
  }};
  std::unique_ptr<CertificateStore> store_;
  std::unique_ptr<Pebble> pebble_;
  AcmeConfig config_;
};

// Each order has names of its own: at 0 % pebble still takes one authorization in a hundred again.
TEST_F(PebbleTest, half_of_the_nonces_refused_and_no_authorization_reused) {
  start({.nonces_refused = 50, .authorizations_reused = 0});
  for (int i = 0; i < 3; ++i) {
    const auto name = "v" + std::to_string(i) + ".example";
    const auto issued = order("e-v" + std::to_string(i), {name, "www." + name});
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_TRUE(verifies(issued->fingerprint()));
    EXPECT_THAT(issued->names(), testing::UnorderedElementsAre(name, "www." + name));
  }
  EXPECT_EQ(board_.puts(), 6U);
  EXPECT_EQ(board_.size(), 0U);
}

TEST_F(PebbleTest, authorizations_that_are_valid_already_are_not_proved_again) {
  start({.authorizations_reused = 100});
  ASSERT_TRUE(order("e-v1", {"web.example"}).has_value());
  const auto puts = board_.puts();
  const auto renewed = order("e-v2", {"web.example"});
  ASSERT_TRUE(renewed.has_value()) << renewed.error().reason();
  EXPECT_EQ(board_.puts(), puts);
}

TEST_F(PebbleTest, a_token_that_is_not_found_is_told_with_pebbles_reason) {
  start();
  pebble_->tell_name_server("/add-a", R"({"host":"lost.example.","addresses":["127.0.0.77"]})");
  const auto failed = order("e-v1", {"lost.example"});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_VALIDATION)
      << failed.error().reason();
  EXPECT_THAT(failed.error().reason(), HasSubstr("lost.example"));
}

TEST_F(PebbleTest, a_name_that_its_policy_refuses_is_told) {
  start({.blocked = {"bank.example"}});
  const auto failed = order("e-v1", {"bank.example"});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_REFUSED) << failed.error().reason();
}

TEST_F(PebbleTest, an_account_gets_another_key_and_goes_on_with_that_one_alone) {
  start();
  ASSERT_TRUE(order("e-v1", {"web.example"}).has_value());
  Issuer issuer(config_, *store_, board_);
  const auto before = store_->account(config_.directory, "").value();
  const auto changed = issuer.change_account_key(config_.directory, {});
  ASSERT_TRUE(changed.has_value()) << changed.error().reason;
  const auto after = store_->account(config_.directory, "").value();
  EXPECT_EQ(thumbprint_of(after.key.get()), *changed);
  EXPECT_EQ(after.url, before.url);
  EXPECT_EQ(after.next_key, nullptr);
  const auto is_known = [&](EVP_PKEY* key) {
    AcmeClient client(config_, key, "", {});
    EXPECT_TRUE(client.open().has_value());
    const auto found = client.find_account();
    EXPECT_TRUE(found.has_value());
    return found.value_or(false) && client.account() == before.url;
  };
  EXPECT_TRUE(is_known(after.key.get()));
  EXPECT_FALSE(is_known(before.key.get()));
  const auto issued = order("e-v2", {"shop.example"});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  ASSERT_TRUE(issuer.change_account_key(config_.directory, {}).has_value()) << "and once more";
  EXPECT_TRUE(order("e-v3", {"blog.example"}).has_value());
}

TEST_F(PebbleTest, an_external_account_is_bound) {
  start({.external_key_id = "kid-1",
         .external_mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"});
  EXPECT_EQ(order("e-v1", {"web.example"}).error().problem(), pb::CERTIFICATE_PROBLEM_ACCOUNT);
  config_.external_key_id = "kid-1";
  config_.external_mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
  const auto issued = order("e-v2", {"web.example"});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
}

TEST_F(PebbleTest, a_ca_that_was_set_up_anew_gets_an_account_anew) {
  start();
  ASSERT_TRUE(order("e-v1", {"web.example"}).has_value());
  pebble_->restart();
  const auto issued = order("e-v2", {"web.example"});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_TRUE(verifies(issued->fingerprint()));
}

// The order that pebble has made and that nobody here knows the URL of.
TEST_F(PebbleTest, an_order_whose_answer_was_lost_is_found_again) {
  start({.nonces_refused = 20});
  ASSERT_TRUE(order("first-v1", {"first.example"}).has_value());
  ASSERT_TRUE(store_->order(EffectId("e-v1")).has_value());
  ASSERT_TRUE(store_->announce_order(EffectId("e-v1")).has_value());
  const auto account = store_->account(config_.directory, "").value();
  AcmeClient client(config_, account.key.get(), account.url, {});
  ASSERT_TRUE(client.open().has_value());
  const auto lost = client.new_order({"web.example"}, "");
  ASSERT_TRUE(lost.has_value());
  const auto found = client.unfinished_order({"web.example"});
  ASSERT_TRUE(found.has_value()) << found.error().reason;
  ASSERT_TRUE(found->has_value());
  EXPECT_EQ((*found)->url, lost->url);
  ASSERT_TRUE(order("e-v1", {"web.example"}).has_value());
  EXPECT_EQ(store_->order(EffectId("e-v1"))->url, lost->url);
}

TEST_F(PebbleTest, orders_at_once_share_one_account_and_lose_nothing) {
  start({.nonces_refused = 30});
  Issuer issuer(config_, *store_, board_);
  std::vector<std::thread> orders;
  std::vector<std::string> fingerprints(8);
  for (std::size_t i = 0; i < fingerprints.size(); ++i) {
    orders.emplace_back([&, i] {
      const auto name = "n" + std::to_string(i) + ".example";
      const auto issued = issuer.order({EffectId(name), {name}, "", "", 60s}, {});
      if (issued) {
        fingerprints[i] = issued->fingerprint();
      } else {
        ADD_FAILURE() << issued.error().reason();
      }
    });
  }
  for (auto& each : orders) each.join();
  EXPECT_EQ(std::set<std::string>(fingerprints.begin(), fingerprints.end()).size(),
            fingerprints.size());
  for (const auto& each : fingerprints) EXPECT_TRUE(verifies(each));
  EXPECT_EQ(board_.size(), 0U);
}

// Killed wherever it is, up to four times, and then let go on.
TEST_F(PebbleTest, an_order_that_is_killed_again_and_again_comes_to_its_end) {
  start({.nonces_refused = 30});
  std::filesystem::create_directory(folder_ / "board");
  std::mt19937 random(11);
  for (int i = 0; i < 5; ++i) {
    const auto name = "killed" + std::to_string(i) + ".example";
    std::optional<Exit> exit;
    for (int life = 0; life <= 4; ++life) {
      auto order = spawn_process({.argv = {ATLASFLOW_ORDER_PROCESS, folder_, config_.directory,
                                           name + "-v1", name, config_.ca_bundle},
                                  .environment = {},
                                  .error = STDERR_FILENO});
      ASSERT_TRUE(order.has_value());
      const std::chrono::milliseconds at_most(life == 4 ? 60'000 : random() % 600);
      exit = order->wait(at_most);
      if (exit) break;
      order->kill();
    }
    ASSERT_TRUE(exit.has_value());
    EXPECT_EQ(exit->code, 0);
    const auto stored = store_->order(EffectId(name + "-v1"));
    ASSERT_TRUE(stored.has_value());
    EXPECT_TRUE(verifies(stored->fingerprint));
  }
}

// A program as people write them: it tells the name server of pebble's tests. That adds a value
// again that it has, as no zone does, until its answers are longer than pebble reads; so the
// program knows what it has added.
std::string hook_at(const std::filesystem::path& path, const Pebble& pebble) {
  const auto url = "http://" + pebble.name_server_management();
  const auto list = path.string() + ".list";
  std::ofstream(path)
      << "#!/bin/sh\nset -eu\ncase $1 in\n"
      << "present) grep -qsxF \"$2 $3\" " << list
      << " && exit 0; curl -sf -d \"{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}\" " << url
      << "/set-txt; echo \"$2 $3\" >>" << list << ";;\n"
      << "cleanup) curl -sf -d \"{\\\"host\\\":\\\"$2.\\\"}\" " << url << "/clear-txt; rm -f "
      << list << ";;\nesac\n";
  std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  return path;
}

std::size_t texts_at(const Pebble& pebble, const std::string& name) {
  const auto answers = ask({{pebble.name_server(), name, DnsType::txt}}, {}, {});
  return answers[0] ? answers[0]->answers.size() : 99;
}

TEST_F(PebbleTest, a_wildcard_and_its_parent_are_proved_by_dns_with_a_program) {
  start({.nonces_refused = 20, .authorizations_reused = 0});
  DnsProof dns({.resolvers = {pebble_->name_server()}, .poll = 100ms},
               std::make_unique<HookProvider>(hook_at(folder_ / "hook", *pebble_)));
  const auto issued =
      Issuer(config_, *store_, board_, &dns)
          .order({EffectId("e-v1"), {"apps.example", "*.apps.example"}, "", "", 60s}, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_TRUE(verifies(issued->fingerprint()));
  EXPECT_THAT(issued->names(), testing::UnorderedElementsAre("apps.example", "*.apps.example"));
  EXPECT_EQ(board_.puts(), 0U);
  EXPECT_EQ(texts_at(*pebble_, "_acme-challenge.apps.example"), 0U) << "and nothing is left";
}

// The zone of "_acme-challenge" is another one, which is all that the program may change.
TEST_F(PebbleTest, a_challenge_that_is_delegated_by_a_cname_is_proved_where_that_leads) {
  start({.authorizations_reused = 0});
  pebble_->tell_name_server(
      "/set-cname", R"({"host":"_acme-challenge.apps.example.","target":"apps.proof.example."})");
  DnsProof dns({.resolvers = {pebble_->name_server()}, .poll = 100ms},
               std::make_unique<HookProvider>(hook_at(folder_ / "hook", *pebble_)));
  const auto issued =
      Issuer(config_, *store_, board_, &dns)
          .order({EffectId("e-v1"), {"apps.example", "*.apps.example"}, "", "", 60s}, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_TRUE(verifies(issued->fingerprint()));
}

TEST_F(PebbleTest, an_order_proved_by_dns_that_is_killed_again_and_again_comes_to_its_end) {
  start({.nonces_refused = 20, .authorizations_reused = 0});
  const auto hook = hook_at(folder_ / "hook", *pebble_);
  std::mt19937 random(7);
  for (int i = 0; i < 3; ++i) {
    const auto name = "killed" + std::to_string(i) + ".example";
    std::optional<Exit> exit;
    for (int life = 0; life <= 4; ++life) {
      auto order =
          spawn_process({.argv = {ATLASFLOW_ORDER_PROCESS, folder_, config_.directory, name + "-v1",
                                  name, config_.ca_bundle, hook, pebble_->name_server()},
                         .environment = {},
                         .error = STDERR_FILENO});
      ASSERT_TRUE(order.has_value());
      const std::chrono::milliseconds at_most(life == 4 ? 60'000 : random() % 900);
      exit = order->wait(at_most);
      if (exit) break;
      order->kill();
    }
    ASSERT_TRUE(exit.has_value());
    EXPECT_EQ(exit->code, 0);
    const auto stored = store_->order(EffectId(name + "-v1"));
    ASSERT_TRUE(stored.has_value());
    EXPECT_TRUE(verifies(stored->fingerprint));
    EXPECT_EQ(texts_at(*pebble_, "_acme-challenge." + name), 0U);
  }
}

TEST_F(PebbleTest, of_several_chains_the_one_that_is_preferred_is_stored) {
  start({.authorizations_reused = 100, .alternate_roots = 2});
  const auto end_of = [&](const std::string& fingerprint) {
    const auto stored = store_->certificate(fingerprint).value();
    return issuer_of(parse_certificates(stored.chain_pem).value().back().get());
  };
  std::set<std::string> ends;
  for (int i = 0; i < 3; ++i) {
    const auto root = parse_certificates(pebble_->root(i)).value();
    config_.preferred_chain = subject_of(root.front().get());
    const auto issued = order("e-v" + std::to_string(i), {"web.example"});
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_EQ(end_of(issued->fingerprint()), config_.preferred_chain);
    ends.insert(config_.preferred_chain);
  }
  EXPECT_EQ(ends.size(), 3U);
  config_.preferred_chain = "Nobody's Root";
  const auto issued = order("e-v9", {"web.example"});
  ASSERT_TRUE(issued.has_value()) << "the usual one is better than none";
}

TEST_F(PebbleTest, a_ca_that_this_machine_does_not_trust_is_not_believed) {
  start();
  config_.ca_bundle.clear();
  const auto failed = order("e-v1", {"web.example"});
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_THAT(failed.error().reason(), HasSubstr("no certificate that can be trusted"));
}

}  // namespace
}  // namespace atlasflow::domains
