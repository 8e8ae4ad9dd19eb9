// The keeper of 10,000 domains, in virtual time, before an authority and an edge that answer at
// once: what its planning takes of one core in a usual day, and how many orders it makes when the
// server comes back after a day in which all of the certificates became due.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ctime>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <caf/scheduler/test_coordinator.hpp>
#include <spdlog/spdlog.h>

#include "actors/domains/domain_keeper.hpp"
#include "base/assert.hpp"
#include "storage/log/memory_event_log.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::actors;
using std::chrono::seconds;

constexpr int k_domains = 10'000;
constexpr TimestampUs k_start = 1'800'000'000'000'000;
constexpr TimestampUs k_life = 90 * k_day_us;
constexpr TimestampUs k_renewed_after = 60 * k_day_us;
constexpr TimestampUs k_window = 2 * k_day_us;  // as wide as Let's Encrypt's
constexpr TimestampUs k_three_hours = 3 * k_hour_us;
const std::string k_own = "apps.test";
const std::string k_directory = "https://ca.test/dir";

struct VirtualClock final : Clock {
  TimestampUs now() const override { return now_us; }
  TimestampUs now_us = k_start;
};

// All domains lead here, and each certificate is to be renewed with a third of its life left.
class QuickEngine final : public DomainEngine {
 public:
  explicit QuickEngine(const VirtualClock& clock) : clock_(clock) {}

  Result<DomainName> name_of(const std::string& typed) const override {
    return DomainName{typed, typed, false};
  }
  Result<pb::DnsObservation> look_up(const std::string& domain, const std::string& /*ownership*/,
                                     std::stop_token /*stop*/) override {
    ++looks;
    pb::DnsObservation observed;
    auto& answers = *observed.add_answers();
    answers.set_server("192.0.2.53:53");
    auto& alias = *answers.add_records();
    alias.set_name(domain);
    alias.set_type("CNAME");
    alias.set_value("web." + k_own);
    return observed;
  }
  IssueResult order(const CertificateJob& job, std::stop_token /*stop*/) override {
    ordered_at.push_back(clock_.now());
    pb::CertificateIssued issued;
    issued.set_fingerprint("fp-" + job.effect.str());
    issued.set_not_before_us(clock_.now());
    issued.set_not_after_us(clock_.now() + k_life);
    begins[issued.fingerprint()] = clock_.now();
    return issued;
  }
  Result<PublishedCertificates> publish(const std::vector<CertificateChoice>& table) override {
    return PublishedCertificates{table, {}};
  }
  Result<void> keep_only(const std::set<std::string>& /*fingerprints*/,
                         const std::set<EffectId>& /*unfinished*/) override {
    return {};
  }
  Result<std::string> change_account_key(const std::string& /*directory*/,
                                         std::stop_token /*stop*/) override {
    return fail(ErrorCode::conflict, "this is a benchmark");
  }
  Result<pb::CertificateIssued> keep_upload(const std::string& /*domain*/,
                                            const CertificateUpload& /*upload*/) override {
    return fail(ErrorCode::conflict, "this is a benchmark");
  }
  RenewalNews renewal_news(const std::string& fingerprint, const std::string& /*directory*/,
                           std::stop_token /*stop*/) override {
    ++questions;
    RenewalNews news;
    auto& advised = news.advised.emplace();
    advised.set_fingerprint(fingerprint);
    advised.set_start_us(begins[fingerprint] + k_renewed_after);
    advised.set_end_us(begins[fingerprint] + k_renewed_after + k_window);
    news.ask_again_in = std::chrono::hours(6);
    return news;
  }
  bool gives_renewal_advice(const std::string& /*directory*/) const override { return true; }
  std::vector<std::string> caa_identities(const std::string& /*directory*/) const override {
    return {};
  }
  std::string describe() const override { return "quick"; }

  std::map<std::string, TimestampUs> begins;  // of certificates, by fingerprint
  std::vector<TimestampUs> ordered_at;
  std::uint64_t looks = 0;
  std::uint64_t questions = 0;

 private:
  const VirtualClock& clock_;
};

double cpu_seconds() {
  timespec time{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

class Keeping {
 public:
  Keeping() {
    ATLAS_ASSERT(log_->begin_epoch().has_value(), "a log in memory begins");
    config_.set("scheduler.policy", caf::atom("testing"));
    system_ = std::make_unique<caf::actor_system>(config_);
    scheduler_ = dynamic_cast<caf::scheduler::test_coordinator*>(&system_->scheduler());
    LogWriterConfig writer_config;
    writer_config.log = log_.get();
    writer_config.clock = &clock;
    writer_config.fatal = [](const Error& error) { ATLAS_ASSERT(false, to_string(error)); };
    writer_ = system_->spawn(log_writer, writer_config);
    reader_ = system_->spawn(log_reader, static_cast<const storage::EventLog*>(log_.get()));
  }
  ~Keeping() {
    for (const auto& actor :
         {caf::actor_cast<caf::actor>(keeper_), caf::actor_cast<caf::actor>(writer_),
          caf::actor_cast<caf::actor>(reader_)}) {
      if (actor) caf::anon_send_exit(actor, caf::exit_reason::kill);
    }
    keeper_ = nullptr;
    writer_ = nullptr;
    reader_ = nullptr;
    while (scheduler_->try_run_once() || scheduler_->trigger_timeout()) {
    }
  }
  Keeping(const Keeping&) = delete;
  Keeping& operator=(const Keeping&) = delete;

  // One that is served since then.
  void add(int number, TimestampUs since) {
    const auto name = "www" + std::to_string(number) + ".example";
    const auto fingerprint = "fp-" + std::to_string(number);
    std::vector<pb::Event> events(6);
    events[0].mutable_domain_added()->set_project_id("id-web");
    events[0].mutable_domain_added()->set_project_name("web");
    events[1].mutable_domain_checked()->set_verdict(pb::DOMAIN_VERDICT_READY);
    events[2].mutable_domain_verified();
    events[3].mutable_certificate_ordered()->set_attempt(1);
    events[3].mutable_certificate_ordered()->set_directory(k_directory);
    auto& issued = *events[4].mutable_certificate_issued();
    issued.set_fingerprint(fingerprint);
    issued.set_not_before_us(since);
    issued.set_not_after_us(since + k_life);
    events[5].mutable_certificate_installed()->set_fingerprint(fingerprint);
    storage::AppendRequest request;
    request.stream = domain_stream(name);
    request.events = std::move(events);
    request.actor = Principal::system("domains");
    ATLAS_ASSERT(log_->append({request}, since).has_value(), "a log in memory takes all");
    engine.begins[fingerprint] = since;
  }
  void start() {
    DomainKeeperConfig config;
    config.engine = &engine;
    config.clock = &clock;
    config.log_reader = reader_;
    config.log_writer = writer_;
    config.domain = k_own;
    config.settings.rules.directory = k_directory;
    config.spawn.detach_blocking = false;
    keeper_ = system_->spawn(domain_keeper, config);
    caf::anon_send(writer_, caf::actor_cast<record_sink>(keeper_));
    caf::anon_send(keeper_, BeginDomains{});
    run();
  }
  void pass(seconds time) {
    for (seconds passed{0}; passed < time; ++passed) {
      clock.now_us += k_second_us;
      scheduler_->advance_time(seconds(1));
      run();
    }
  }

  VirtualClock clock;
  QuickEngine engine{clock};

 private:
  void run() {
    while (scheduler_->try_run_once()) {
    }
  }

  std::unique_ptr<storage::EventLog> log_ = storage::open_memory_event_log();
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  caf::scheduler::test_coordinator* scheduler_ = nullptr;
  log_actor writer_;
  log_reader_actor reader_;
  domain_keeper_actor keeper_;
};

// The most that fell into any such time.
std::size_t most_within(const std::vector<TimestampUs>& times, TimestampUs length) {
  std::size_t most = 0;
  std::deque<TimestampUs> window;
  for (const auto time : times) {
    window.push_back(time);
    while (window.front() <= time - length) window.pop_front();
    most = std::max(most, window.size());
  }
  return most;
}

void measure_a_day() {
  constexpr std::chrono::hours k_warm_up{
      7};  // each was looked at, and its advice asked for, by then
  constexpr std::chrono::hours k_measured{24};
  Keeping keeping;
  for (int i = 0; i < k_domains; ++i) {
    keeping.add(i, k_start - k_renewed_after + k_renewed_after * i / k_domains);
  }
  keeping.start();
  keeping.pass(k_warm_up);
  const auto orders = keeping.engine.ordered_at.size();
  const auto looks = keeping.engine.looks;
  const auto questions = keeping.engine.questions;
  const auto before = cpu_seconds();
  keeping.pass(k_measured);
  const auto took = cpu_seconds() - before;
  const auto share = took / static_cast<double>(seconds(k_measured).count());
  std::printf("a day of %d domains: %zu renewals, %llu looks, %llu questions for advice\n",
              k_domains, keeping.engine.ordered_at.size() - orders,
              static_cast<unsigned long long>(keeping.engine.looks - looks),
              static_cast<unsigned long long>(keeping.engine.questions - questions));
  std::printf("CPU: %.1f s, %.2f s an hour, %.5f of one core\n", took,
              took / static_cast<double>(k_measured.count()), share);
  std::printf("BAR planning_share_of_a_core %.6f <= 0.01\n", share);
  std::printf("BAR renewals_in_a_day %zu >= 100\n", keeping.engine.ordered_at.size() - orders);
}

// All were made in one hour, and the server was away in the days in which they were to be renewed.
void measure_a_return() {
  constexpr std::chrono::hours k_measured{24};
  Keeping keeping;
  const auto made = k_start - k_renewed_after - k_window - k_day_us;
  for (int i = 0; i < k_domains; ++i) keeping.add(i, made + k_hour_us * i / k_domains);
  keeping.start();
  keeping.pass(k_measured);
  const auto& times = keeping.engine.ordered_at;
  std::printf(
      "back after a day, %d certificates due: %zu renewed in a day, in the busiest minute %zu\n",
      k_domains, times.size(), most_within(times, k_minute_us));
  std::printf("BAR orders_in_the_busiest_three_hours %zu <= 250\n",
              most_within(times, k_three_hours));
  std::printf("BAR renewals_in_the_first_day %zu >= 1900\n", times.size());
}

}  // namespace

int main() {
  spdlog::set_level(spdlog::level::err);
  measure_a_day();
  measure_a_return();
  return 0;
}
