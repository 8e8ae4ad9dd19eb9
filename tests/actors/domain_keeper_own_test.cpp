// The keeper and the certificate of the server's own domain; and renewals as authorities want them.
#include "tests/actors/domain_keeper_fixture.hpp"

namespace atlasflow::actors {
namespace {

// ---- the server's own domain ----

TEST_F(DomainKeeper, claims_the_servers_own_domain_and_shows_one_certificate_for_two_hosts) {
  orders_own = true;
  start();
  EXPECT_EQ(death, "");
  const auto own = state(k_own);
  EXPECT_TRUE(own.is_servers);
  EXPECT_EQ(own.status(), DomainStatus::active);
  ASSERT_EQ(engine.orders.size(), 1U);
  ASSERT_EQ(engine.table.size(), 2U);
  EXPECT_EQ(engine.table[0].domain, k_own);
  EXPECT_EQ(engine.table[1].domain, std::string("*.") + k_own);
  EXPECT_EQ(engine.table[0].fingerprint, engine.table[1].fingerprint);
  DomainLedger ledger;
  EXPECT_TRUE(log.read_all(Position{1}, [&](const storage::Record& record) {
    ledger.apply(record.stream, record.event, record.recorded_at);
    return true;
  }));
  EXPECT_TRUE(hosts_of(ledger, k_own).targets.empty()) << "it leads to no project";
}

TEST_F(DomainKeeper, a_certificate_of_the_servers_own_domain_that_is_lost_is_ordered_anew_once) {
  orders_own = true;
  start();
  engine.all_lost = true;
  record(domain_stream(k_shop), issued("fp-shop"));
  engine.all_lost = false;
  // Each once, whatever its hosts are; what was ordered anew meanwhile may be lost as well.
  std::vector<std::string> lost;
  EXPECT_TRUE(log.read_all(Position{1}, [&](const storage::Record& record) {
    const auto& event = record.event;
    if (event.has_certificate_lost()) lost.push_back(event.certificate_lost().fingerprint());
    return true;
  }));
  EXPECT_THAT(lost, testing::IsSupersetOf({"fp-" + engine.orders.front(), std::string("fp-shop")}));
  EXPECT_EQ(std::set<std::string>(lost.begin(), lost.end()).size(), lost.size());
  pass(seconds(30));
  EXPECT_EQ(death, "");
  EXPECT_EQ(state(k_own).status(), DomainStatus::active);
}

TEST_F(DomainKeeper, gives_the_servers_own_domain_up_when_it_is_wanted_no_more) {
  pb::Event own;
  own.mutable_server_domain_added();
  record(domain_stream(k_own), {own});
  record(domain_stream("old.test"), {own});
  orders_own = true;
  start();
  EXPECT_EQ(state("old.test").status(), DomainStatus::removed);
  EXPECT_TRUE(state(k_own).is_servers);
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  run();
  orders_own = false;
  start();
  EXPECT_EQ(state(k_own).status(), DomainStatus::removed);
  EXPECT_TRUE(engine.table.empty());
}

// A program that sets records runs for two minutes, and a zone's servers take theirs after it.
TEST_F(DomainKeeper, an_order_proved_by_dns_that_is_taken_up_late_has_the_time_that_dns_takes) {
  const auto left = [&](const std::vector<std::string>& names) {
    auto events = issued("fp");
    events.pop_back();
    auto& ordered = *events.back().mutable_certificate_ordered();
    for (const auto& name : names) ordered.add_names(name);
    ordered.set_deadline_us(k_start + k_minute_us);
    record(domain_stream(names.front()), events);
  };
  left({"other.test", "*.other.test"});
  left({k_shop});
  clock.now_us += k_day_us;
  start();
  ASSERT_EQ(engine.remaining.size(), 2U);
  EXPECT_EQ(engine.remaining.at("*.other.test"), std::chrono::minutes(10));
  EXPECT_EQ(engine.remaining.at(k_shop), std::chrono::minutes(1));
}

TEST_F(DomainKeeper, takes_the_servers_own_domain_when_the_project_that_had_it_gives_it_up) {
  record(domain_stream(k_own), {added()});
  orders_own = true;
  start();
  EXPECT_FALSE(state(k_own).is_servers);
  caf::anon_send(
      keeper,
      CommandDomain{k_own, RemoveDomain{Principal::user(), "asked for"}, Principal::user(), {}});
  run();
  EXPECT_TRUE(state(k_own).is_servers);
  EXPECT_EQ(death, "");
}

// ---- a second authority ----

TEST_F(DomainKeeper, orders_from_the_second_authority_while_the_first_fails_also_after_a_restart) {
  fallback = k_second;
  engine.failing[k_first] = "the CA is away";
  record(domain_stream(k_shop), {added()});
  start();
  pass(seconds(30));
  EXPECT_THAT(engine.ordered_at, testing::ElementsAre(k_first));
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  run();
  start();
  pass(seconds(600));
  EXPECT_EQ(death, "");
  EXPECT_THAT(engine.ordered_at, testing::ElementsAre(k_first, k_first, k_first, k_second));
  EXPECT_EQ(state().status(), DomainStatus::active);
  EXPECT_EQ(state().installed->directory, k_second);
  EXPECT_EQ(count_of("CertificateOrdered"), 4U);
}

// The order at the second is under way: it goes on there, whatever the first says by now.
TEST_F(DomainKeeper, goes_on_with_an_order_at_the_second_authority_that_an_earlier_life_began) {
  fallback = k_second;
  auto events = issued("fp");
  events.pop_back();
  auto& ordered = *events.back().mutable_certificate_ordered();
  ordered.add_names(k_shop);
  ordered.set_directory(k_second);
  ordered.set_fallback_reason("the last 3 orders failed");
  ordered.set_deadline_us(k_start + k_minute_us);
  record(domain_stream(k_shop), events);
  start();
  EXPECT_THAT(engine.ordered_at, testing::ElementsAre(k_second));
  EXPECT_EQ(state().installed->directory, k_second);
  EXPECT_EQ(count_of("CertificateOrdered"), 1U);
}

TEST_F(DomainKeeper, asks_for_advice_where_the_certificate_is_from) {
  fallback = k_second;
  engine.advises = true;
  engine.failing[k_first] = "the CA is away";
  record(domain_stream(k_shop), {added()});
  start();
  pass(seconds(1'300));
  EXPECT_FALSE(engine.asked_at.empty());
  EXPECT_THAT(engine.asked_at, testing::Each(k_second));
}

TEST_F(DomainKeeper, a_caa_record_that_forbids_the_second_authority_leaves_it_to_the_first) {
  fallback = k_second;
  engine.failing[k_first] = "the CA is away";
  engine.caa = "0 issue \"" + k_first + "\"";
  record(domain_stream(k_shop), {added()});
  start();
  pass(seconds(1'300));
  EXPECT_GT(engine.ordered_at.size(), 4U);
  EXPECT_THAT(engine.ordered_at, testing::Each(k_first));
}

// ---- when the authority wants a renewal ----

TEST_F(DomainKeeper, asks_for_advice_as_often_as_it_is_told_and_renews_by_it) {
  engine.advises = true;
  record(domain_stream(k_shop), {added()});
  engine.news.ask_again_in = seconds(600);
  start();
  EXPECT_TRUE(state().installed);
  pass(seconds(601));
  EXPECT_EQ(engine.asked_for.size(), 1U) << "the first time within ten minutes";
  pass(seconds(1'200));
  EXPECT_EQ(engine.asked_for.size(), 3U);
  EXPECT_EQ(count_of("RenewalAdvised"), 0U) << "it gave none";
  engine.news.advised.emplace();
  engine.news.advised->set_start_us(clock.now_us - k_day_us);
  engine.news.advised->set_end_us(clock.now_us);
  pass(seconds(1'300));
  EXPECT_EQ(death, "");
  EXPECT_GE(count_of("RenewalAdvised"), 1U);
  EXPECT_EQ(engine.orders.size(), 1U) << "of a new one it may be the authority's clock";
  pass(seconds(90'000));
  EXPECT_GE(engine.orders.size(), 2U) << "a window that has passed is renewed in";
  EXPECT_LE(engine.orders.size(), 4U) << "and within the week's limit, however often it is said";
}

TEST_F(DomainKeeper, an_advice_that_stays_is_one_event) {
  engine.advises = true;
  record(domain_stream(k_shop), {added()});
  engine.news.ask_again_in = seconds(60);
  engine.news.advised.emplace();
  engine.news.advised->set_start_us(k_start + 60 * k_day_us);
  engine.news.advised->set_end_us(k_start + 61 * k_day_us);
  start();
  pass(seconds(1'800));
  EXPECT_GT(engine.asked_for.size(), 10U);
  EXPECT_EQ(count_of("RenewalAdvised"), 1U);
  EXPECT_EQ(engine.orders.size(), 1U);
}

}  // namespace
}  // namespace atlasflow::actors
