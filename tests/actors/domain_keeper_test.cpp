// The keeper of users' own domains: many of them, a full disk, calls that fail or are lost, and
// projects that go.
#include <stdexcept>

#include "tests/actors/domain_keeper_fixture.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// More than a StreamWriter lets wait.
constexpr std::size_t k_many = 1'100;

TEST_F(DomainKeeper, outlives_what_is_reported_of_more_domains_than_may_wait_for_the_log) {
  for (std::size_t i = 0; i < k_many; ++i) {
    record(domain_stream("www" + std::to_string(i) + ".shop.test"),
           issued("fp-" + std::to_string(i)));
  }
  start();
  EXPECT_EQ(death, "");
  EXPECT_EQ(count_of("CertificateInstalled"), k_many);
  engine.all_lost = true;
  record(domain_stream(k_shop), issued("fp-shop"));
  EXPECT_EQ(death, "");
  EXPECT_EQ(count_of("CertificateLost"), k_many + 1);
  delete_project("web");
  EXPECT_EQ(death, "");
  EXPECT_EQ(count_of("DomainRemoved"), k_many + 1);
}

TEST_F(DomainKeeper, asks_a_full_disk_for_one_report_at_a_time_and_records_all_in_the_end) {
  for (std::size_t i = 0; i < k_many; ++i) {
    record(domain_stream("www" + std::to_string(i) + ".shop.test"),
           issued("fp-" + std::to_string(i)));
  }
  log.full = true;
  start();
  pass(seconds(10));
  EXPECT_GT(log.refused, 5);
  EXPECT_LT(log.refused, 50);
  EXPECT_EQ(count_of("CertificateInstalled"), 0U);
  EXPECT_EQ(engine.cleans, 0) << "what is not in the log yet may need its key";
  log.full = false;
  pass(seconds(5));
  EXPECT_EQ(death, "");
  EXPECT_EQ(count_of("CertificateInstalled"), k_many);
  EXPECT_GT(engine.cleans, 0);
}

TEST_F(DomainKeeper, lets_a_persons_command_pass_what_waits_to_be_reported) {
  for (std::size_t i = 0; i < k_many; ++i) {
    record(domain_stream("a" + std::to_string(i) + ".shop.test"), {added()});
  }
  record(domain_stream(k_shop), {added("other")});
  start();
  pb::Event deleted;
  deleted.mutable_project_deleted();
  const auto before = log.last_position();
  send_to_writer(project_stream(ProjectId("id-web")), {deleted});
  while (log.last_position() == before || log.last_position() == before.next()) {
    ASSERT_TRUE(scheduler->try_run_once());
  }
  command(RemoveDomain{Principal::user(), "it was asked for"});
  std::vector<std::string> removed;
  EXPECT_TRUE(log.read_all(before, [&](const storage::Record& record) {
    if (record.event.has_domain_removed()) removed.push_back(domain_of(record.stream));
    return true;
  }));
  ASSERT_EQ(removed.size(), k_many + 1);
  EXPECT_LT(std::find(removed.begin(), removed.end(), k_shop) - removed.begin(), 10);
}

TEST_F(DomainKeeper, reports_once_what_a_full_disk_refused_and_kept) {
  record(domain_stream(k_shop), {added()});
  engine.on_order = [this] { log.full = log.whole_though_full = true; };
  start();
  EXPECT_EQ(count_of("CertificateIssued"), 1U);
  EXPECT_FALSE(state().installed);
  engine.on_order = nullptr;
  log.full = false;
  pass(seconds(5));
  EXPECT_EQ(death, "");
  EXPECT_EQ(state().status(), DomainStatus::active);
  EXPECT_EQ(count_of("CertificateIssued"), 1U);
  EXPECT_EQ(count_of("CertificateInstalled"), 1U);
  EXPECT_EQ(engine.orders.size(), 1U);
}

TEST_F(DomainKeeper, asks_again_for_the_same_order_when_its_worker_dies) {
  record(domain_stream(k_shop), {added()});
  engine.on_order = [this] {
    if (engine.orders.size() == 1) throw std::runtime_error("injected");
  };
  start();
  EXPECT_EQ(state().status(), DomainStatus::issuing);
  pass(seconds(5));
  EXPECT_EQ(state().status(), DomainStatus::active);
  ASSERT_EQ(engine.orders.size(), 2U);
  EXPECT_EQ(engine.orders[0], engine.orders[1]);
  EXPECT_EQ(count_of("CertificateOrdered"), 1U);
}

TEST_F(DomainKeeper, gives_an_order_up_of_which_every_worker_dies) {
  record(domain_stream(k_shop), {added()});
  engine.on_order = [] { throw std::runtime_error("injected"); };
  start();
  pass(seconds(60));
  EXPECT_EQ(death, "");
  EXPECT_EQ(engine.orders.size(), 5U);
  EXPECT_EQ(count_of("CertificateFailed"), 1U);
  ASSERT_TRUE(state().failure);
  EXPECT_EQ(state().failure->problem, pb::CERTIFICATE_PROBLEM_LOCAL);
}

TEST_F(DomainKeeper, looks_at_once_when_a_person_wants_an_order_tried_again) {
  std::vector<pb::Event> events{added(), {}, {}, {}, {}};
  events[1].mutable_domain_verified();
  events[2].mutable_certificate_ordered()->set_attempt(1);
  events[3].mutable_certificate_failed()->set_retry_at_us(k_start + k_hour_us);
  events[4].mutable_domain_degraded();
  record(domain_stream(k_shop), events);
  engine.leads_here = false;
  start();
  pass(seconds(100));  // It is looked at each minute by now.
  const auto looks = engine.looks;
  pass(seconds(11));
  ASSERT_EQ(engine.looks, looks);
  engine.leads_here = true;
  command(RetryCertificate{Principal::user()});
  EXPECT_EQ(engine.looks, looks + 1);
  EXPECT_EQ(state().status(), DomainStatus::active);
}

TEST_F(DomainKeeper, cleans_the_store_again_when_that_failed_or_was_lost) {
  record(domain_stream(k_shop), issued("fp-1"));
  engine.unclean = true;
  start();
  EXPECT_EQ(state().status(), DomainStatus::active);
  EXPECT_EQ(engine.cleans, 0);
  engine.unclean = false;
  // It leads elsewhere: nothing of it wants a clean store, so that is for what failed before.
  record(domain_stream("a.shop.test"), {added("other")});
  EXPECT_EQ(engine.cleans, 1);
  engine.on_clean = [] { throw std::runtime_error("injected"); };
  pb::Event removed;
  removed.mutable_domain_removed();
  record(domain_stream("a.shop.test"), {removed});
  EXPECT_EQ(engine.cleans, 1);
  engine.on_clean = nullptr;
  record(domain_stream("b.shop.test"), {added("other")});
  EXPECT_EQ(engine.cleans, 2);
  EXPECT_TRUE(engine.kept.contains("fp-1"));
  EXPECT_EQ(death, "");
}

TEST_F(DomainKeeper, gives_no_domain_to_a_project_that_was_deleted) {
  pb::Event asked;
  asked.mutable_take_over_requested()->set_project_id("id-blog");
  asked.mutable_take_over_requested()->set_project_name("blog");
  asked.mutable_take_over_requested()->set_token("token");
  record(domain_stream(k_shop), {added(), asked});
  delete_project("blog");
  engine.proof = ownership_proof(ProjectId("id-blog"), "token");
  start();
  pass(seconds(30));
  EXPECT_EQ(count_of("DomainTakenOver"), 0U);
  EXPECT_EQ(state().project, ProjectId("id-web"));
  // Recorded before the keeper had heard of the end.
  pb::Event taken;
  taken.mutable_domain_taken_over()->set_project_id("id-blog");
  record(domain_stream(k_shop), {taken});
  EXPECT_FALSE(state().claimed);
  EXPECT_THAT(state().removed_reason, HasSubstr("was deleted"));
}

TEST(DomainOutlook, shows_who_asks_for_a_domain_while_that_is_judged) {
  DomainState state;
  state.name = k_shop;
  state.claimed = true;
  state.take_over = TakeOverClaim{ProjectId("id-blog"), "blog", "token", k_start};
  const auto end = k_start + k_claim_without_dns_max_us;
  const auto shown = outlook_of(state, nullptr, k_own, {}, end - 1).take_over;
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->value, ownership_proof(ProjectId("id-blog"), "token"));
  EXPECT_FALSE(outlook_of(state, nullptr, k_own, {}, end).take_over);
}

TEST_F(DomainKeeper, gives_an_order_up_for_a_certificate_that_is_brought_and_shows_that_one) {
  TakeUploaded brought;
  brought.certificate.set_fingerprint("fp-brought");
  brought.certificate.set_not_before_us(k_start);
  brought.certificate.set_not_after_us(k_start + 90 * k_day_us);
  record(domain_stream(k_shop), {added()});
  // While the authority works on the order.
  engine.on_order = [&] {
    caf::anon_send(keeper, CommandDomain{k_shop, brought, Principal::user(), {}});
    throw std::runtime_error("injected");
  };
  start();
  pass(seconds(120));
  EXPECT_EQ(engine.orders.size(), 1U);
  EXPECT_EQ(count_of("CertificateOrdered"), 1U);
  EXPECT_EQ(count_of("CertificateFailed"), 0U);
  EXPECT_EQ(state().status(), DomainStatus::active);
  EXPECT_EQ(state().installed->fingerprint, "fp-brought");
  EXPECT_THAT(engine.kept, ElementsAre("fp-brought"));
  engine.on_order = nullptr;
  command(ReleaseUploaded{Principal::user()});
  pass(seconds(60));
  EXPECT_EQ(engine.orders.size(), 2U);
  EXPECT_EQ(state().installed->source, CertificateSource::ordered);
}

TEST_F(DomainKeeper, tells_each_stage_of_an_end_once_whoever_keeps_the_domain) {
  auto events = issued("fp-1");
  pb::Event uploaded;
  auto& certificate = *uploaded.mutable_certificate_uploaded()->mutable_certificate();
  certificate.set_fingerprint("fp-2");
  certificate.set_not_before_us(k_start - k_day_us);
  certificate.set_not_after_us(k_start + 60 * k_second_us);
  events.push_back(uploaded);
  record(domain_stream(k_shop), events);
  log.full = true;
  start();
  pass(seconds(5));
  EXPECT_EQ(count_of("CertificateExpiring"), 0U);
  log.full = false;
  pass(seconds(5));
  EXPECT_EQ(count_of("CertificateExpiring"), 1U) << "what a full disk refused comes later";
  EXPECT_EQ(state().warned->stage, pb::EXPIRY_STAGE_URGENT);
  caf::anon_send_exit(keeper, caf::exit_reason::kill);
  run();
  start();
  EXPECT_EQ(count_of("CertificateExpiring"), 1U);
  pass(seconds(120));
  EXPECT_EQ(count_of("CertificateExpiring"), 2U);
  EXPECT_EQ(state().warned->stage, pb::EXPIRY_STAGE_EXPIRED);
}

}  // namespace
}  // namespace atlasflow::actors
