#include "sim/world/outside_domains.hpp"

#include <algorithm>
#include <array>

#include "sim/world/outside_call.hpp"

namespace atlasflow::sim {
namespace {

constexpr TimestampUs k_ms = 1'000;
constexpr TimestampUs k_s = 1'000'000;
constexpr std::size_t k_resolvers = 2;
// Shorter than the real store's, so that a run has some of it removed.
constexpr TimestampUs k_uploads_kept_us = 60 * k_s;

actors::IssueResult failed(pb::CertificateProblem problem, const std::string& reason,
                           TimestampUs retry_at = 0) {
  pb::CertificateFailed failure;
  failure.set_problem(problem);
  failure.set_reason(reason);
  failure.set_retry_at_us(retry_at);
  return tl::unexpected(std::move(failure));
}

void add_record(pb::DnsAnswers& answers, const std::string& name, const std::string& type,
                const std::string& value) {
  auto* record = answers.add_records();
  record->set_name(name);
  record->set_type(type);
  record->set_value(value);
}

}  // namespace

Result<actors::DomainName> OutsideDomains::name_of(const std::string& typed) const {
  return actors::DomainName{typed, typed, false};
}

// How often receivers fail says how often name servers lie and the CA has a bad day.
bool OutsideDomains::misfortune() {
  const auto rate = static_cast<std::uint64_t>(outside_.parts_.weather.rates.receiver_fails);
  return outside_.parts_.choices.chance(rate, 1000);
}

Result<pb::DnsObservation> OutsideDomains::look_up(const std::string& domain,
                                                   const std::string& ownership_name,
                                                   std::stop_token stop) {
  return outside_.call({"dns", 15 * k_s, 20 * k_ms}, stop, [&]() -> Result<pb::DnsObservation> {
    const auto& known = outside_.parts_.world.domains;
    pb::DnsObservation observed;
    for (std::size_t i = 0; i < k_resolvers; ++i) {
      auto& answers = *observed.add_answers();
      answers.set_server("192.0.2." + std::to_string(53 + i) + ":53");
      if (misfortune()) {
        // It does not answer, or with a record of long ago.
        if (outside_.parts_.choices.chance(1, 2)) {
          answers.set_error("injected: no answer");
        } else {
          add_record(answers, domain, "A", "198.51.100.1");
        }
        continue;
      }
      const auto target = known.targets.find(domain);
      if (target != known.targets.end()) add_record(answers, domain, "CNAME", target->second);
      const auto proof = known.proofs.find(domain);
      if (proof != known.proofs.end()) add_record(answers, ownership_name, "TXT", proof->second);
    }
    return observed;
  });
}

// One that is stored is the answer, whatever the CA thinks by now.
actors::IssueResult OutsideDomains::issue(const actors::CertificateJob& job) {
  auto& world = outside_.parts_.world;
  auto& known = world.domains;
  if (const auto stored = known.stored.find(job.effect); stored != known.stored.end()) {
    return stored->second;
  }
  const auto& domain = job.names.front();
  const auto open = known.open_orders.find(domain);
  if (open == known.open_orders.end() || open->second != job.effect) {
    outside_.parts_.witness.on_order(domain, job.effect, job.directory);
    known.open_orders[domain] = job.effect;
  }
  const bool at_second = job.directory == k_second_authority;
  if (!at_second && world.agenda.now() < outside_.parts_.weather.back_at("patience of the ca")) {
    known.open_orders.erase(domain);
    return failed(pb::CERTIFICATE_PROBLEM_RATE_LIMITED, "injected: the CA has a limit",
                  world.agenda.now() + k_authority_limit_us);
  }
  if (misfortune()) {
    known.open_orders.erase(domain);
    constexpr std::array k_problems{
        pb::CERTIFICATE_PROBLEM_VALIDATION, pb::CERTIFICATE_PROBLEM_UNAVAILABLE,
        pb::CERTIFICATE_PROBLEM_ACCOUNT, pb::CERTIFICATE_PROBLEM_RATE_LIMITED};
    const auto problem = k_problems.at(outside_.parts_.choices.below(k_problems.size()));
    const bool limited = problem == pb::CERTIFICATE_PROBLEM_RATE_LIMITED;
    return failed(problem, "injected: the CA says no", limited ? world.agenda.now() + 60 * k_s : 0);
  }
  known.open_orders.erase(domain);
  if (!known.targets.contains(domain)) {
    return failed(pb::CERTIFICATE_PROBLEM_VALIDATION, "the CA found no answer at " + domain);
  }
  pb::CertificateIssued issued;
  const auto serial = std::to_string(++known.serial);
  issued.set_fingerprint("fingerprint-" + serial);
  issued.set_serial(serial);
  issued.set_issuer(at_second ? "Second simulated CA" : "Simulated CA");
  issued.set_not_before_us(world.agenda.now());
  issued.set_not_after_us(world.agenda.now() + k_certificate_life_us);
  for (const auto& name : job.names) issued.add_names(name);
  known.stored[job.effect] = issued;
  return issued;
}

actors::IssueResult OutsideDomains::order(const actors::CertificateJob& job, std::stop_token stop) {
  actors::IssueResult result;
  const auto* where = job.directory == k_second_authority ? "second ca" : "ca";
  const auto called =
      outside_.call({where, job.remaining.count(), 500 * k_ms}, stop, [&]() -> Result<void> {
        result = issue(job);
        return {};
      });
  if (called) return result;
  if (called.error().code == ErrorCode::cancelled) {
    return failed(pb::CERTIFICATE_PROBLEM_ABANDONED, to_string(called.error()));
  }
  // Given up by who ordered it, as the engine does when its time is over.
  auto& open = outside_.parts_.world.domains.open_orders;
  const auto found = open.find(job.names.front());
  if (found != open.end() && found->second == job.effect) open.erase(found);
  return failed(pb::CERTIFICATE_PROBLEM_UNAVAILABLE, to_string(called.error()));
}

// As the server's caller has it stored, at once: nobody's command waits for the simulated network.
Result<pb::CertificateIssued> OutsideDomains::keep_upload(
    const std::string& domain, const actors::CertificateUpload& /*upload*/) {
  auto& world = outside_.parts_.world;
  pb::CertificateIssued issued;
  const auto serial = std::to_string(++world.domains.serial);
  issued.set_fingerprint("uploaded-" + serial);
  issued.set_serial(serial);
  issued.set_issuer("The user's own");
  issued.set_not_before_us(world.agenda.now());
  issued.set_not_after_us(world.agenda.now() + k_certificate_life_us);
  issued.add_names(domain);
  world.domains.uploaded[issued.fingerprint()] = {domain, world.agenda.now()};
  return issued;
}

Result<actors::PublishedCertificates> OutsideDomains::publish(
    const std::vector<actors::CertificateChoice>& table) {
  using Published = Result<actors::PublishedCertificates>;
  const auto number = ++publishes_begun_;
  return outside_.call({"edge", 12 * k_s, 2 * k_ms}, {}, [&, number]() -> Published {
    if (number < published_) {
      return fail(ErrorCode::unavailable, "the edge has been given a newer table meanwhile");
    }
    published_ = number;
    auto& known = outside_.parts_.world.domains;
    actors::PublishedCertificates published;
    for (const auto& choice : table) {
      if (known.holds(choice.fingerprint)) {
        published.shown.push_back(choice);
      } else {
        published.lost.emplace_back(choice, "its file is gone");
      }
    }
    outside_.parts_.witness.on_certificates(published.shown);
    known.shown.clear();
    for (const auto& choice : published.shown) known.shown[choice.domain] = choice.fingerprint;
    return published;
  });
}

Result<void> OutsideDomains::keep_only(const std::set<std::string>& fingerprints,
                                       const std::set<EffectId>& unfinished) {
  return outside_.call({"store", 12 * k_s, k_ms}, {}, [&]() -> Result<void> {
    std::erase_if(outside_.parts_.world.domains.stored, [&](const auto& stored) {
      return !fingerprints.contains(stored.second.fingerprint()) &&
             !unfinished.contains(stored.first);
    });
    const auto recent = outside_.parts_.world.agenda.now() - k_uploads_kept_us;
    std::erase_if(outside_.parts_.world.domains.uploaded, [&](const auto& uploaded) {
      return !fingerprints.contains(uploaded.first) && uploaded.second.at < recent;
    });
    return {};
  });
}

}  // namespace atlasflow::sim
