// The keeper of domains over an engine that tests command, at a time that they set, in front of a
// disk that they fill.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "actors/domains/domain_keeper.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {

using std::chrono::seconds;

inline constexpr TimestampUs k_start = 1'800'000'000'000'000;
inline const std::string k_shop = "www.shop.test";
inline const std::string k_own = "apps.test";
inline const std::string k_first = "https://ca.test/dir";
inline const std::string k_second = "https://second.test/dir";

struct TestClock final : Clock {
  TimestampUs now() const override { return now_us; }
  TimestampUs now_us = k_start;
};

// Its disk is full when a test says so, and may have what it refused.
class FullLog final : public storage::ForwardingEventLog {
 public:
  FullLog() : ForwardingEventLog(storage::open_memory_event_log()) {}
  bool full = false;
  mutable int refused = 0;  // how often it was asked for room that it had not
  bool whole_though_full = false;
  Result<std::vector<storage::AppendOutcome>> append(
      const std::vector<storage::AppendRequest>& requests, TimestampUs now) override {
    if (full && whole_though_full) static_cast<void>(log().append(requests, now));
    if (!full) return log().append(requests, now);
    ++refused;
    return fail(ErrorCode::disk_full, "the disk is full");
  }
  Result<void> has_room() const override {
    if (!full) return {};
    ++refused;
    return fail(ErrorCode::disk_full, "the disk is full");
  }
};

// Every domain leads to project "web" unless a test says so, and every order is a certificate at
// once.
class TestEngine final : public DomainEngine {
 public:
  Result<DomainName> name_of(const std::string& typed) const override {
    return DomainName{typed, typed, false, registered};
  }
  Result<pb::DnsObservation> look_up(const std::string& domain, const std::string& ownership_name,
                                     std::stop_token) override {
    ++looks;
    pb::DnsObservation observed;
    auto& answers = *observed.add_answers();
    answers.set_server("192.0.2.53:53");
    auto& alias = *answers.add_records();
    alias.set_name(domain);
    alias.set_type("CNAME");
    alias.set_value((leads_here ? "web." : "www.elsewhere.") + k_own);
    if (!caa.empty()) {
      auto& allowed = *answers.add_records();
      allowed.set_name(domain);
      allowed.set_type("CAA");
      allowed.set_value(caa);
    }
    if (proof.empty()) return observed;
    auto& text = *answers.add_records();
    text.set_name(ownership_name);
    text.set_type("TXT");
    text.set_value(proof);
    return observed;
  }
  IssueResult order(const CertificateJob& job, std::stop_token) override {
    orders.push_back(job.effect.str());
    if (!job.names.empty()) remaining[job.names.back()] = job.remaining;
    ordered_at.push_back(job.directory);
    if (on_order) on_order();
    if (const auto fails = failing.find(job.directory); fails != failing.end()) {
      pb::CertificateFailed failed;
      failed.set_problem(pb::CERTIFICATE_PROBLEM_UNAVAILABLE);
      failed.set_reason(fails->second);
      return tl::unexpected(std::move(failed));
    }
    pb::CertificateIssued issued;
    issued.set_fingerprint("fp-" + job.effect.str());
    issued.set_not_before_us(k_start);
    issued.set_not_after_us(k_start + 90 * k_day_us);
    return issued;
  }
  Result<PublishedCertificates> publish(const std::vector<CertificateChoice>& wanted) override {
    ++publishes;
    table = wanted;
    PublishedCertificates published;
    for (const auto& choice : table) {
      if (all_lost) {
        published.lost.emplace_back(choice, "its file is gone");
      } else {
        published.shown.push_back(choice);
      }
    }
    return published;
  }
  Result<void> keep_only(const std::set<std::string>& fingerprints,
                         const std::set<EffectId>&) override {
    if (on_clean) on_clean();
    if (unclean) return fail(ErrorCode::unavailable, "the disk is slow");
    kept = fingerprints;
    ++cleans;
    return {};
  }
  Result<std::string> change_account_key(const std::string&, std::stop_token) override {
    return fail(ErrorCode::internal, "no test's keeper asks for that");
  }
  Result<pb::CertificateIssued> keep_upload(const std::string&, const CertificateUpload&) override {
    return fail(ErrorCode::internal, "no test's keeper asks for that");
  }
  RenewalNews renewal_news(const std::string& fingerprint, const std::string& directory,
                           std::stop_token) override {
    asked_for.push_back(fingerprint);
    asked_at.push_back(directory);
    RenewalNews told = news;
    if (told.advised) told.advised->set_fingerprint(fingerprint);
    return told;
  }
  bool gives_renewal_advice(const std::string&) const override { return advises; }
  std::vector<std::string> caa_identities(const std::string& directory) const override {
    return {directory};
  }
  std::string describe() const override { return "a test's"; }

  std::string registered;  // what every name is below; empty: each is registered itself
  bool leads_here = true;
  bool advises = false;
  RenewalNews news;
  std::vector<std::string> asked_for;
  std::vector<std::string> asked_at;     // by their directories
  std::vector<CertificateChoice> table;  // the newest
  int looks = 0;
  std::string caa;    // a record that each domain has; empty: none
  std::string proof;  // what the TXT record of each domain says
  std::function<void()> on_order;
  std::function<void()> on_clean;
  bool all_lost = false;
  bool unclean = false;
  std::vector<std::string> orders;
  std::vector<std::string> ordered_at;                         // the same, by their directories
  std::map<std::string, std::string> failing;                  // authorities, with the reason
  std::map<std::string, std::chrono::microseconds> remaining;  // by the last of the names
  int publishes = 0;
  int cleans = 0;
  std::set<std::string> kept;
};

class DomainKeeper : public testing::Test {
 protected:
  DomainKeeper() {
    EXPECT_TRUE(log.begin_epoch());
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    LogWriterConfig writer_config;
    writer_config.log = &log;
    writer_config.clock = &clock;
    writer_config.fatal = [](const Error& error) { ADD_FAILURE() << to_string(error); };
    writer = system->spawn(log_writer, writer_config);
    reader = system->spawn(log_reader, static_cast<const storage::EventLog*>(&log));
  }
  ~DomainKeeper() override {
    for (const auto& actor :
         {caf::actor_cast<caf::actor>(keeper), caf::actor_cast<caf::actor>(writer),
          caf::actor_cast<caf::actor>(reader)}) {
      if (actor) caf::anon_send_exit(actor, caf::exit_reason::kill);
    }
    keeper = nullptr;
    writer = nullptr;
    reader = nullptr;
    while (scheduler->try_run_once() || scheduler->trigger_timeout()) {
    }
  }

  void start() {
    DomainKeeperConfig keeper_config;
    keeper_config.engine = &engine;
    keeper_config.clock = &clock;
    keeper_config.log_reader = reader;
    keeper_config.log_writer = writer;
    keeper_config.domain = k_own;
    keeper_config.settings.rules.directory = k_first;
    keeper_config.settings.rules.fallback_directory = fallback;
    keeper_config.settings.rules.new_certificates_per_week = new_certificates_per_week;
    keeper_config.settings.rules.orders_per_three_hours = orders_per_three_hours;
    keeper_config.settings.orders_own = orders_own;
    keeper_config.spawn.detach_blocking = false;
    keeper = system->spawn(domain_keeper, keeper_config);
    keeper->attach_functor([this](const caf::error& reason) {
      if (reason != caf::exit_reason::kill) death = to_string(from_caf(reason));
    });
    caf::anon_send(writer, caf::actor_cast<record_sink>(keeper));
    caf::anon_send(keeper, BeginDomains{});
    run();
  }
  void run() {
    while (scheduler->try_run_once()) {
    }
  }
  void pass(seconds time) {
    for (seconds passed{0}; passed < time; ++passed) {
      clock.now_us += k_second_us;
      scheduler->advance_time(seconds(1));
      run();
    }
  }

  // Past the keeper, as what other actors or an earlier keeper wrote.
  void record(const StreamId& stream, const std::vector<pb::Event>& events) {
    send_to_writer(stream, events);
    run();
  }
  void send_to_writer(const StreamId& stream, const std::vector<pb::Event>& events) {
    Append append;
    append.request.stream = stream;
    append.request.expected_version = log.version_of(stream).value();
    append.request.events = events;
    append.request.actor = Principal::user();
    system->spawn(
        [this](caf::event_based_actor* self, const Append& message) {
          self->request(writer, caf::infinite, message)
              .then([](const AppendReply&) {}, [](const caf::error&) {});
        },
        append);
  }
  static pb::Event added(const std::string& project = "web") {
    pb::Event event;
    event.mutable_domain_added()->set_project_id("id-" + project);
    event.mutable_domain_added()->set_project_name(project);
    return event;
  }
  static std::vector<pb::Event> issued(const std::string& fingerprint) {
    std::vector<pb::Event> events{added(), {}, {}, {}, {}};
    events[1].mutable_domain_checked()->set_verdict(pb::DOMAIN_VERDICT_READY);
    events[2].mutable_domain_verified();
    events[3].mutable_certificate_ordered()->set_attempt(1);
    auto& certificate = *events[4].mutable_certificate_issued();
    certificate.set_fingerprint(fingerprint);
    certificate.set_not_before_us(k_start);
    certificate.set_not_after_us(k_start + 90 * k_day_us);
    return events;
  }
  void delete_project(const std::string& project) {
    pb::Event deleted;
    deleted.mutable_project_deleted();
    record(project_stream(ProjectId("id-" + project)), {deleted});
  }
  void command(DomainCommand command) {
    caf::anon_send(keeper, CommandDomain{k_shop, std::move(command), Principal::user(), {}});
    run();
  }

  [[nodiscard]] std::size_t count_of(const std::string& event) const {
    std::size_t count = 0;
    EXPECT_TRUE(log.read_all(Position{1}, [&](const storage::Record& record) {
      count += storage::event_name(record.event) == event ? 1 : 0;
      return true;
    }));
    return count;
  }
  [[nodiscard]] DomainState state(const std::string& domain = k_shop) const {
    DomainLedger ledger;
    EXPECT_TRUE(log.read_all(Position{1}, [&](const storage::Record& record) {
      ledger.apply(record.stream, record.event, record.recorded_at);
      return true;
    }));
    const auto* found = ledger.find(domain);
    return found == nullptr ? DomainState{} : *found;
  }

  bool orders_own = false;
  std::string fallback;  // the second authority's directory
  std::int32_t new_certificates_per_week = 45;
  std::int32_t orders_per_three_hours = 250;
  FullLog log;
  TestClock clock;
  TestEngine engine;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler = nullptr;
  log_actor writer;
  log_reader_actor reader;
  domain_keeper_actor keeper;
  std::string death;  // why the keeper ended
};

}  // namespace atlasflow::actors
