// Users' own domains over the real store and a real edge, behind a relay that a test has in its
// hand, and over an authority that does what no real one does.
#include "server/engines_domains.hpp"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/file.hpp"
#include "domains/certificates/chain.hpp"
#include "edge/tls/shown_certificate.hpp"
#include "tests/domains/fake_ca.hpp"
#include "tests/domains/test_authority.hpp"
#include "tests/edge/edge_fixture.hpp"

namespace atlasflow::server {
namespace {

using namespace std::chrono_literals;
using actors::CertificateChoice;
using actors::PublishedCertificates;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// The edge, and what a test does on the way to it.
class RelayedEdge final : public edge::Edge {
 public:
  explicit RelayedEdge(edge::Edge& to) : to_(to) {}

  std::function<void()> before_change;  // before the next one of certificates
  std::function<void(const std::vector<edge::Challenge>&)> on_challenges;
  edge::Edge* answers_for = nullptr;       // whom visitors meet in its place
  mutable std::atomic<int> handshakes{0};  // each begins with the question for the port

  Result<void> publish(const edge::RouteTable& table) override { return to_.publish(table); }
  std::uint64_t generation() const override { return to_.generation(); }
  Result<void> set_own_route(const edge::Route& route) override { return to_.set_own_route(route); }
  Result<void> change_certificates(const std::vector<edge::HostCertificate>& shown,
                                   const std::vector<std::string>& removed) override {
    if (const auto first = std::exchange(before_change, nullptr)) first();
    return to_.change_certificates(shown, removed);
  }
  std::map<std::string, std::string> certificates() const override { return to_.certificates(); }
  Result<void> set_challenges(const std::vector<edge::Challenge>& challenges) override {
    if (on_challenges) on_challenges(challenges);
    return to_.set_challenges(challenges);
  }
  edge::RouteTable table() const override { return to_.table(); }
  std::optional<edge::Route> own_route() const override { return to_.own_route(); }
  std::uint64_t drain(const std::string& vm_id, std::chrono::milliseconds deadline) override {
    return to_.drain(vm_id, deadline);
  }
  std::uint16_t http_port() const override { return to_.http_port(); }
  std::uint16_t https_port() const override {
    ++handshakes;
    return (answers_for == nullptr ? to_ : *answers_for).https_port();
  }
  std::filesystem::path ca_certificate() const override { return to_.ca_certificate(); }
  std::string describe() const override { return to_.describe(); }
  std::string metrics() const override { return to_.metrics(); }

 private:
  edge::Edge& to_;
};

class DomainEngine : public edge::EdgeTest {
 protected:
  DomainEngine() {
    start();
    relay_ = std::make_unique<RelayedEdge>(*edge_);
    make_engine();
  }
  ~DomainEngine() override { engine_.reset(); }

  void make_engine() {
    engine_.reset();
    auto store = domains::CertificateStore::open(folder(), directory_ + "/secret.key");
    ASSERT_TRUE(store.has_value()) << to_string(store.error());
    store_ = store->get();
    LocalDomainEngine::Config config;
    config.acme.directory = directory_of_ca_;
    config.acme.terms_agreed = true;
    config.acme.request_timeout = 5s;
    config.resolvers = {"127.0.0.1:1"};  // nobody is there
    config.https_address = "127.0.0.1";
    engine_ = std::make_unique<LocalDomainEngine>(std::move(config), std::move(*store), *relay_);
  }
  [[nodiscard]] std::filesystem::path folder() const { return directory_ + "/domains"; }

  // A certificate for `name` in the store, to be shown for `host`.
  CertificateChoice stored(const std::string& name, const std::string& host = {}) {
    const auto issued = domains_test::issue(authority_, {.names = {name}});
    const auto chain = parse_certificates(issued.chain_pem).value();
    const auto facts = domains::facts_of(chain.front().get());
    const EffectId effect("domain/" + facts.fingerprint());
    EXPECT_TRUE(store_->order(effect).has_value());
    EXPECT_TRUE(store_->put(effect, {issued.chain_pem, issued.key_pem, facts}).has_value());
    return {host.empty() ? name : host, facts.fingerprint()};
  }
  [[nodiscard]] std::filesystem::path record_of(const CertificateChoice& choice) const {
    return folder() / "certificates" / (choice.fingerprint + ".json");
  }
  PublishedCertificates publish(const std::vector<CertificateChoice>& table) {
    auto published = engine_->publish(table);
    EXPECT_TRUE(published.has_value()) << to_string(published.error());
    return published.value_or(PublishedCertificates{});
  }
  [[nodiscard]] std::vector<CertificateChoice> in_force() const {
    std::vector<CertificateChoice> all;
    for (const auto& [host, fingerprint] : edge_->certificates())
      all.push_back({host, fingerprint});
    return all;
  }
  [[nodiscard]] static std::vector<std::string> domains_of(
      const std::vector<std::pair<CertificateChoice, std::string>>& lost) {
    std::vector<std::string> all;
    for (const auto& [choice, reason] : lost) all.push_back(choice.domain);
    return all;
  }

  domains_test::TestAuthority authority_;
  std::string directory_of_ca_;
  std::unique_ptr<RelayedEdge> relay_;
  std::unique_ptr<LocalDomainEngine> engine_;
  domains::CertificateStore* store_ = nullptr;  // the engine's
};

TEST_F(DomainEngine, the_table_is_what_the_edge_shows_and_no_host_is_asked_twice) {
  const auto one = stored("one.example");
  const auto two = stored("two.example");
  EXPECT_THAT(publish({one, two}).shown, UnorderedElementsAre(one, two));
  EXPECT_THAT(in_force(), ElementsAre(one, two));
  EXPECT_EQ(edge::shown_fingerprint("127.0.0.1", edge_->https_port(), "one.example", 5s).value(),
            one.fingerprint);
  const auto renewed = stored("two.example");
  const int handshakes = relay_->handshakes;
  EXPECT_THAT(publish({one, renewed}).shown, UnorderedElementsAre(one, renewed));
  EXPECT_EQ(relay_->handshakes, handshakes + 1) << "the renewed one";
  EXPECT_THAT(publish({renewed}).shown, ElementsAre(renewed));
  EXPECT_THAT(in_force(), ElementsAre(renewed));
  EXPECT_THAT(publish({}).shown, IsEmpty());
  EXPECT_THAT(in_force(), IsEmpty());
}

// For the server's own domain its local authority has certificates as well.
TEST_F(DomainEngine, a_wildcard_for_the_servers_own_domain_takes_the_place_of_the_local_ones) {
  const std::string own = "apps.test";
  const auto local =
      edge::shown_fingerprint("127.0.0.1", edge_->https_port(), "web." + own, 5s).value();
  const auto put = [&] {
    const auto issued = domains_test::issue(authority_, {.names = {own, "*." + own}});
    const auto facts =
        domains::facts_of(parse_certificates(issued.chain_pem).value().front().get());
    const EffectId effect("domain/" + facts.fingerprint());
    EXPECT_TRUE(store_->order(effect).has_value());
    EXPECT_TRUE(store_->put(effect, {issued.chain_pem, issued.key_pem, facts}).has_value());
    return facts.fingerprint();
  };
  for (const auto& fingerprint : {put(), put()}) {
    const CertificateChoice apex{own, fingerprint};
    const CertificateChoice below{"*." + own, fingerprint};
    EXPECT_THAT(publish({apex, below}).shown, UnorderedElementsAre(apex, below));
    for (const auto& host : {own, "web." + own, "pr-7-web." + own}) {
      EXPECT_EQ(edge::shown_fingerprint("127.0.0.1", edge_->https_port(), host, 5s).value(),
                fingerprint)
          << host;
    }
  }
  publish({});
  EXPECT_EQ(edge::shown_fingerprint("127.0.0.1", edge_->https_port(), "web." + own, 5s).value(),
            local)
      << "and gives it back";
}

TEST_F(DomainEngine, a_certificate_that_is_brought_serves_at_once_and_a_wrong_one_changes_nothing) {
  const auto old = stored("one.example");
  ASSERT_THAT(publish({old}).shown, ElementsAre(old));
  const auto brought = domains_test::issue(authority_, {.names = {"one.example"}});
  const auto chain = brought.chain_pem + authority_.root_pem();
  const auto wrong = engine_->keep_upload("two.example", {.chain = chain, .key = brought.key_pem});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(wrong.error().message, HasSubstr("does not cover two.example"));
  const auto since = std::chrono::steady_clock::now();
  const auto kept = engine_->keep_upload("one.example", {.chain = chain, .key = brought.key_pem});
  ASSERT_TRUE(kept.has_value()) << to_string(kept.error());
  const CertificateChoice choice{"one.example", kept->fingerprint()};
  // A sweep whose list is of before.
  ASSERT_TRUE(engine_->keep_only({old.fingerprint}, {}).has_value());
  EXPECT_THAT(publish({choice}).shown, ElementsAre(choice));
  const auto took = std::chrono::steady_clock::now() - since;
  RecordProperty(
      "ms_from_upload_to_serving",
      static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(took).count()));
  EXPECT_EQ(edge::shown_fingerprint("127.0.0.1", edge_->https_port(), "one.example", 5s).value(),
            kept->fingerprint());
  EXPECT_THAT(edge_->metrics(), HasSubstr("atlasflow_edge_host_certificates 1\n"));
  EXPECT_THAT(edge_->metrics(),
              HasSubstr("atlasflow_edge_host_certificates_expiring{within=\"30d\"} 0\n"));
  const auto short_lived =
      domains_test::issue(authority_, {.names = {"one.example"}, .ends_in_s = 3L * 24 * 3600});
  const auto next = engine_->keep_upload(
      "one.example",
      {.chain = short_lived.chain_pem + authority_.root_pem(), .key = short_lived.key_pem});
  ASSERT_TRUE(next.has_value()) << to_string(next.error());
  publish({{"one.example", next->fingerprint()}});
  const auto text = edge_->metrics();
  for (const char* line : {"{within=\"1d\"} 0\n", "{within=\"7d\"} 1\n", "{within=\"30d\"} 1\n"}) {
    EXPECT_THAT(text, HasSubstr("atlasflow_edge_host_certificates_expiring" + std::string(line)));
  }
  EXPECT_THAT(text, HasSubstr("first_expiry_timestamp_seconds " +
                              std::to_string(next->not_after_us() / 1'000'000)));
}

TEST_F(DomainEngine, a_wrong_certificate_is_lost_and_takes_no_other_with_it) {
  const auto old = stored("old.example");
  ASSERT_THAT(publish({old}).shown, ElementsAre(old));
  std::vector<CertificateChoice> good;
  for (const char* name : {"a.example", "b.example", "d.example"}) good.push_back(stored(name));
  const auto wrong = stored("other.example", "c.example");
  const auto published = publish({good[0], good[1], wrong, good[2]});
  EXPECT_THAT(published.shown, testing::UnorderedElementsAreArray(good));
  ASSERT_THAT(domains_of(published.lost), ElementsAre("c.example"));
  EXPECT_THAT(published.lost.front().second, HasSubstr("does not name it"));
  EXPECT_THAT(in_force(), testing::ElementsAreArray(good)) << "and the old one is gone";
  // Also the only one of a call, with a host that is to go.
  const auto alone = publish({wrong});
  EXPECT_THAT(domains_of(alone.lost), ElementsAre("c.example"));
  EXPECT_THAT(in_force(), IsEmpty());
}

TEST_F(DomainEngine, a_key_that_is_gone_or_damaged_is_lost_for_good) {
  const auto good = stored("good.example");
  const auto gone = stored("gone.example");
  const auto damaged = stored("damaged.example");
  std::filesystem::remove(record_of(gone));
  std::ofstream(record_of(damaged)) << "{";
  const auto published = publish({gone, good, damaged});
  EXPECT_THAT(published.shown, ElementsAre(good));
  EXPECT_THAT(domains_of(published.lost), UnorderedElementsAre("gone.example", "damaged.example"));
}

// What is lost is ordered anew and its key removed.
TEST_F(DomainEngine, a_key_that_can_not_be_read_now_is_tried_again_and_not_lost) {
  const auto good = stored("good.example");
  const auto unread = stored("unread.example");
  const auto record = record_of(unread);
  const auto aside = directory_ + "/aside";
  std::filesystem::rename(record, aside);
  std::filesystem::create_directory(record);  // opens, and read() fails
  EXPECT_FALSE(engine_->publish({unread, good}).has_value());
  EXPECT_THAT(in_force(), ElementsAre(good)) << "whoever can be shown is";
  std::filesystem::remove(record);
  std::filesystem::rename(aside, record);
  const auto published = publish({unread, good});
  EXPECT_THAT(published.shown, UnorderedElementsAre(unread, good));
  EXPECT_THAT(published.lost, IsEmpty());
}

// What the edge was given proves nothing: only a handshake does, also with the call that follows.
TEST_F(DomainEngine, a_host_that_shows_another_certificate_is_asked_again_until_it_shows_its_own) {
  const auto first = stored("first.example");
  const auto last = stored("last.example");
  edge::EdgeConfig config;
  config.domain = "apps.test";
  config.ca_dir = directory_ + "/ca";
  auto other = edge::start_edge(config);
  ASSERT_TRUE(other.has_value()) << to_string(other.error());
  const auto given = [&](const CertificateChoice& choice) {
    const auto found = store_->certificate(choice.fingerprint).value();
    return edge::HostCertificate{choice.domain, choice.fingerprint, found.chain_pem, found.key_pem};
  };
  ASSERT_TRUE(
      (*other)->change_certificates({given(stored("first.example")), given(last)}, {}).has_value());
  relay_->answers_for = other->get();
  for (const int handshakes : {2, 3}) {
    const auto published = engine_->publish({first, last});
    ASSERT_FALSE(published.has_value());
    EXPECT_EQ(published.error().code, ErrorCode::unavailable);
    EXPECT_THAT(published.error().message, HasSubstr("first.example"));
    EXPECT_EQ(relay_->handshakes, handshakes) << "both, and then the one that failed";
  }
  relay_->answers_for = nullptr;
  EXPECT_THAT(publish({first, last}).shown, UnorderedElementsAre(first, last));
  EXPECT_EQ(relay_->handshakes, 4);
}

// Whether the thread sleeps: /proc/<pid>/task/<tid>/stat, the field behind the name (proc(5)).
bool sleeps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/stat");
  const std::string stat((std::istreambuf_iterator<char>(file)), {});
  const auto name_end = stat.rfind(')');
  return name_end != stat.npos && stat.size() > name_end + 2 && stat[name_end + 2] == 'S';
}

// The call that was overtaken is one that waits for the edge while two others are made: the thread
// that comes out of the first goes into the third before the second has woken up.
TEST_F(DomainEngine, a_table_that_comes_late_changes_nothing) {
  const auto first = stored("web.example");
  const auto late = stored("web.example");
  const auto newest = stored("web.example");
  int refused = 0;
  for (int round = 0; round < 20; ++round) {
    Result<PublishedCertificates> overtaken;
    std::atomic<pid_t> tid{0};
    std::thread other;
    relay_->before_change = [&] {
      other = std::thread([&] {
        tid = ::gettid();
        overtaken = engine_->publish({late});
      });
      EXPECT_TRUE(edge::eventually([&] { return tid != 0 && sleeps(tid); }));
    };
    publish({first});
    publish({newest});
    other.join();
    EXPECT_THAT(in_force(), ElementsAre(newest)) << "round " << round;
    if (!overtaken) {
      ++refused;
      EXPECT_EQ(overtaken.error().code, ErrorCode::unavailable);
      EXPECT_THAT(overtaken.error().message, HasSubstr("a newer table"));
    }
  }
  RecordProperty("refused", refused);
}

class DomainEngineWithCa : public DomainEngine {
 protected:
  DomainEngineWithCa() {
    directory_of_ca_ = ca_.directory();
    make_engine();
    relay_->on_challenges = [this](const std::vector<edge::Challenge>& challenges) {
      for (const auto& each : challenges) {
        EXPECT_TRUE(board_.put(each.host, each.token, each.key_authorization).has_value());
      }
    };
  }

  domains_test::TestBoard board_;
  domains_test::FakeCa ca_{board_};
};

// A sweep whose lists were made before the order: the call comes late.
TEST_F(DomainEngineWithCa, a_late_sweep_takes_nothing_from_an_order_that_runs) {
  int sweeps = 0;
  ca_.instead = [&](const std::string& part, int) {
    if (part == "/finalize" || part == "/certificate") {
      ++sweeps;
      EXPECT_TRUE(engine_->keep_only({}, {}).has_value());
    }
    return std::string();
  };
  const EffectId effect("domain/web.example-v3");
  const actors::CertificateJob job{effect, {"web.example"}, "", "", 20s};
  const auto issued = engine_->order(job, {});
  ASSERT_TRUE(issued.has_value()) << issued.error().reason();
  EXPECT_EQ(sweeps, 2);
  EXPECT_TRUE(store_->certificate(issued->fingerprint()).has_value());
  EXPECT_EQ(store_->order(effect)->fingerprint, issued->fingerprint());
  // One that is over has no such right.
  ASSERT_TRUE(engine_->keep_only({}, {}).has_value());
  EXPECT_EQ(store_->certificate(issued->fingerprint()).error().code, ErrorCode::not_found);
}

TEST_F(DomainEngineWithCa, a_look_up_asks_for_the_authoritys_names_once_whether_it_answers_or_not) {
  ca_.instead = [](const std::string&, int) { return domains_test::http_answer(503, ""); };
  for (int look = 0; look < 3; ++look) {
    ASSERT_TRUE(engine_->look_up("web.example", "_atlasflow.web.example", {}).has_value());
  }
  EXPECT_THAT(engine_->caa_identities(ca_.directory()), IsEmpty());
  EXPECT_EQ(ca_.asked("/dir"), 1);
  ca_.instead = nullptr;
  make_engine();
  EXPECT_THAT(engine_->caa_identities(ca_.directory()), IsEmpty());
  ASSERT_TRUE(engine_->look_up("web.example", "_atlasflow.web.example", {}).has_value());
  EXPECT_THAT(engine_->caa_identities(ca_.directory()), ElementsAre("ca.example"));
}

}  // namespace
}  // namespace atlasflow::server
