// Orders over the real store and a real edge, at Debian's pebble: proved over port 443, and at a
// second authority with an account of its own.
#include <filesystem>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "domains/certificates/chain.hpp"
#include "server/engines_domains.hpp"
#include "tests/domains/fake_ca.hpp"
#include "tests/domains/pebble.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;
using domains_test::Pebble;
using domains_test::PebbleWish;
using testing::HasSubstr;

const std::string k_mac_key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

class Authorities : public edge::EdgeTest {
 protected:
  Authorities() {
    start([](edge::EdgeConfig& config) { config.workers = 2; });
  }
  ~Authorities() override { engine_.reset(); }

  [[nodiscard]] std::unique_ptr<Pebble> pebble(PebbleWish wish = {}) const {
    if (wish.http_port == 0) wish.http_port = edge_->http_port();
    wish.tls_port = edge_->https_port();
    return std::make_unique<Pebble>(wish);
  }
  static domains::AcmeConfig at(const Pebble& authority) {
    domains::AcmeConfig config;
    config.directory = authority.directory();
    config.ca_bundle = authority.ca_bundle();
    config.terms_agreed = true;
    config.poll_first = 50ms;
    return config;
  }
  void make_engine(domains::AcmeConfig first, std::optional<domains::AcmeConfig> second = {}) {
    engine_.reset();
    auto store =
        domains::CertificateStore::open(directory_ + "/domains", directory_ + "/secret.key");
    ASSERT_TRUE(store.has_value()) << to_string(store.error());
    store_ = store->get();
    LocalDomainEngine::Config config;
    config.acme = std::move(first);
    config.fallback = std::move(second);
    config.resolvers = {"127.0.0.1:1"};  // nobody is there
    config.https_address = "127.0.0.1";
    engine_ = std::make_unique<LocalDomainEngine>(std::move(config), std::move(*store), *edge_);
  }
  actors::IssueResult order(const std::string& name, const std::string& directory,
                            const std::string& unreached_by = {}) {
    return engine_->order({.effect = EffectId("domain/" + name),
                           .names = {name},
                           .directory = directory,
                           .renews = "",
                           .remaining = 60s,
                           .unreached_by = unreached_by},
                          {});
  }
  [[nodiscard]] std::string issuer_of(const std::string& fingerprint) const {
    return store_->certificate(fingerprint)->facts.issuer();
  }

  domains::CertificateStore* store_ = nullptr;
  std::unique_ptr<LocalDomainEngine> engine_;
};

TEST_F(Authorities, prove_a_name_over_port_443) {
  ASSERT_TRUE(Pebble::installed()) << "script/bootstrap installs pebble";
  const auto authority = pebble({.nonces_refused = 20, .authorizations_reused = 0});
  auto config = at(*authority);
  config.challenge = domains::ChallengeChoice::tls_alpn;
  make_engine(config);
  for (const auto* name : {"web.example", "www.web.example", "other.example"}) {
    const auto issued = order(name, authority->directory());
    ASSERT_TRUE(issued.has_value()) << issued.error().reason();
    EXPECT_THAT(issued->names(), testing::ElementsAre(name));
  }
  edge::Client late;
  late.offer_protocol("acme-tls/1");
  ASSERT_TRUE(late.connect(edge_->https_port()));
  EXPECT_FALSE(late.start_tls("web.example", "")) << "the proof is taken back";
}

TEST_F(Authorities, that_can_not_connect_by_port_80_prove_it_over_port_443) {
  const auto authority = pebble({.http_port = 1});
  make_engine(at(*authority));
  const auto failed = order("web.example", authority->directory());
  ASSERT_FALSE(failed.has_value());
  EXPECT_EQ(failed.error().unreached_by(), "http-01") << failed.error().reason();
  EXPECT_THAT(failed.error().reason(), HasSubstr("The next order is proved over port 443"));
  // As the keeper asks for it then; another name, as the effect is the order's for ever.
  const auto issued = order("second.example", authority->directory(), "http-01");
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
}

TEST_F(Authorities, beside_the_first_have_accounts_of_their_own) {
  const auto first = pebble();
  const auto second = pebble({.external_key_id = "kid-2", .external_mac_key = k_mac_key});
  auto fallback = at(*second);
  fallback.external_key_id = "kid-2";
  fallback.external_mac_key = k_mac_key;
  make_engine(at(*first), fallback);
  const auto from_first = order("web.example", first->directory());
  ASSERT_TRUE(from_first.has_value()) << from_first.error().reason();
  first->stop();
  const auto away = order("shop.example", first->directory());
  ASSERT_FALSE(away.has_value());
  EXPECT_EQ(away.error().problem(), pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
  EXPECT_FALSE(away.error().by_own_dns());
  const auto from_second = order("other.example", second->directory());
  ASSERT_TRUE(from_second.has_value()) << from_second.error().reason();
  EXPECT_NE(issuer_of(from_first->fingerprint()), issuer_of(from_second->fingerprint()));
  const auto one = store_->account(first->directory(), "");
  const auto two = store_->account(second->directory(), "kid-2");
  EXPECT_NE(one->url, two->url);
  EXPECT_THAT(two->url, HasSubstr(second->directory().substr(0, second->directory().rfind('/'))));
  EXPECT_NE(EVP_PKEY_eq(one->key.get(), two->key.get()), 1) << "nor do they share a key";
}

// Killed between the order at the second authority and its end: it is gone on with there.
TEST_F(Authorities, that_an_order_was_begun_at_are_where_it_is_gone_on_with) {
  domains_test::TestBoard board;
  domains_test::FakeCa first(board);
  const auto second = pebble({.authorizations_reused = 0});
  auto config = at(*second);
  config.directory = first.directory();
  make_engine(config, at(*second));
  std::stop_source stop;
  const auto begun = [&] {
    const auto stored = store_->order(EffectId("domain/web.example-v9"));
    return stored && stored->url.starts_with("https://") ? stored->url : std::string();
  };
  std::string url;
  std::thread stopping([&] {
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (begun().empty() && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(1ms);
    }
    url = begun();
    stop.request_stop();
  });
  actors::CertificateJob job{.effect = EffectId("domain/web.example-v9"),
                             .names = {"web.example"},
                             .directory = second->directory(),
                             .renews = "",
                             .remaining = 60s};
  const auto stopped = engine_->order(job, stop.get_token());
  stopping.join();
  ASSERT_NE(url, "") << "no order was begun";
  make_engine(config, at(*second));
  const auto issued = engine_->order(job, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_TRUE(!stopped || stopped->fingerprint() == issued->fingerprint());
  EXPECT_EQ(begun(), url) << "it is the same one";
  EXPECT_EQ(first.orders(), 0) << "and nobody else has heard of it";
  EXPECT_EQ(first.asked("/dir"), 0);
}

}  // namespace
}  // namespace atlasflow::server
