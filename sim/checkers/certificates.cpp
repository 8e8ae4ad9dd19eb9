#include "sim/checkers/certificates.hpp"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace atlasflow::sim {
namespace {

// Published by Let's Encrypt, of failed validations of one name within an hour.
constexpr std::ptrdiff_t k_failed_validations_max = 5;
constexpr TimestampUs k_hour_us = 3600 * 1'000'000LL;
// What two readings of a clock may differ by that was set between them.
constexpr TimestampUs k_clock_steps_us = 120 * 1'000'000LL;

}  // namespace

std::string Certificates::take(const storage::Record& record) {
  constexpr std::string_view k_prefix = "domain/";
  if (!record.stream.str().starts_with(k_prefix)) return {};
  const auto name = record.stream.str().substr(k_prefix.size());
  auto why = take_counted(name, record);
  take_certificate(name, record);
  return why;
}

// Before the record is taken otherwise: whose order it ends is known.
std::string Certificates::take_counted(const std::string& name, const storage::Record& record) {
  const auto& event = record.event;
  const auto at = record.recorded_at;
  if (event.has_certificate_ordered()) {
    const auto& directory = event.certificate_ordered().directory();
    auto& counted = counted_[{name, directory}];
    const auto late = at + k_clock_steps_us;
    if (late < counted.asked_to_wait_until) {
      return fmt::format("{} is ordered from {}, which asked to be left alone for {} s more", name,
                         directory, (counted.asked_to_wait_until - at) / 1'000'000);
    }
    const auto failed = std::ranges::count_if(counted.failed_validations,
                                              [&](auto when) { return when + k_hour_us > late; });
    if (failed >= k_failed_validations_max) {
      return fmt::format("{} is ordered from {} after {} failed validations within the hour", name,
                         directory, failed);
    }
    return {};
  }
  const auto known = domains_.find(name);
  if (known == domains_.end() || !known->second.order) return {};
  auto& counted = counted_[{name, known->second.directory}];
  if (event.has_certificate_failed()) {
    const auto& failure = event.certificate_failed();
    counted.asked_to_wait_until =
        std::max(counted.asked_to_wait_until, failure.authority_retry_at_us());
    if (failure.problem() == pb::CERTIFICATE_PROBLEM_VALIDATION) {
      counted.failed_validations.push_back(at);
    }
  }
  return {};
}

void Certificates::take_certificate(const std::string& name, const storage::Record& record) {
  const auto& event = record.event;
  if (event.has_domain_removed()) {
    domains_.erase(name);
    return;
  }
  auto& domain = domains_[name];
  if (event.has_domain_added()) {
    domain.project = event.domain_added().project_name();
    domain.project_id = event.domain_added().project_id();
    domain.proof_required = event.domain_added().proof_required();
  } else if (event.has_domain_taken_over()) {
    domain.project = event.domain_taken_over().project_name();
    domain.project_id = event.domain_taken_over().project_id();
    domain.proof_required = false;
    domain.uploaded = false;
    proved_[name] = domain.project_id;
  } else if (event.has_domain_verified() || event.has_domain_recovered()) {
    proved_[name] = domain.project_id;
  } else if (event.has_certificate_uploaded()) {
    if (domain.order) domain.given_up = std::exchange(domain.order, std::nullopt);
    domain.newest = event.certificate_uploaded().certificate().fingerprint();
    domain.not_after = event.certificate_uploaded().certificate().not_after_us();
    domain.was_refused = false;
    domain.uploaded = true;
    owners_of_certificates_[domain.newest] = name;
  } else if (event.has_certificate_released()) {
    domain.uploaded = false;
    // What nobody was shown yet is nobody's any more.
    if (proved_[name] != domain.project_id) domain.newest.clear();
  } else if (event.has_certificate_expiring()) {
    domain.warned[event.certificate_expiring().fingerprint()] =
        event.certificate_expiring().stage();
  } else if (event.has_certificate_ordered()) {
    domain.order = EffectId{name + "-v" + std::to_string(record.stream_version.value())};
    domain.directory = event.certificate_ordered().directory();
  } else if (event.has_certificate_issued()) {
    domain.order.reset();
    domain.newest = event.certificate_issued().fingerprint();
    domain.uploaded = false;
    domain.not_after = event.certificate_issued().not_after_us();
    domain.was_refused = false;
    owners_of_certificates_[domain.newest] = name;
  } else if (event.has_certificate_failed()) {
    domain.order.reset();
    domain.was_refused = true;
    domain.retry_at = event.certificate_failed().retry_at_us();
  } else if (event.has_certificate_installed()) {
    domain.installed = event.certificate_installed().fingerprint();
  } else if (event.has_certificate_lost()) {
    const auto& lost = event.certificate_lost().fingerprint();
    if (domain.newest == lost) {
      // What is shown takes its place.
      domain.newest = domain.installed == lost ? std::string() : domain.installed;
      domain.uploaded = domain.newest.starts_with("uploaded") && domain.uploaded;
    }
    if (domain.installed == lost) domain.installed.clear();
  }
}

bool Certificates::is_proved(const std::string& name, const Domain& domain) const {
  const auto proved = proved_.find(name);
  return proved != proved_.end() && proved->second == domain.project_id;
}

std::string Certificates::wrong_order(const World& world, const std::string& domain,
                                      const EffectId& effect, const std::string& directory) const {
  const auto open = world.domains.open_orders.find(domain);
  if (open != world.domains.open_orders.end() && open->second != effect) {
    // One whose domain was given up ends by itself at the CA.
    const auto known = domains_.find(domain);
    const bool is_wanted = known != domains_.end() && known->second.order == open->second;
    if (is_wanted) {
      return fmt::format("order {} reaches the CA while {} is under way", effect.str(),
                         open->second.str());
    }
  }
  const auto known = domains_.find(domain);
  if (known == domains_.end() || known->second.order != effect) {
    // A removal, or a certificate that is brought, may come while the call is on its way.
    if (known == domains_.end() || known->second.given_up == effect) return {};
    return fmt::format("order {} reaches the CA, and no intent in the log says so", effect.str());
  }
  if (known->second.directory != directory) {
    return fmt::format("order {} reaches {}, and its intent in the log names {}", effect.str(),
                       directory, known->second.directory);
  }
  return {};
}

std::string Certificates::wrong_table(const World& world,
                                      const std::vector<actors::CertificateChoice>& table) const {
  std::map<std::string, std::string> shown;
  for (const auto& [domain, fingerprint] : table) {
    const auto owner = owners_of_certificates_.find(fingerprint);
    if (owner == owners_of_certificates_.end() || owner->second != domain) {
      return fmt::format("{} is shown for {}, for which it was not issued", fingerprint, domain);
    }
    shown[domain] = fingerprint;
    const auto known = domains_.find(domain);
    if (known == domains_.end() || !known->second.uploaded || known->second.newest != fingerprint) {
      continue;
    }
    if (!is_proved(domain, known->second)) {
      return fmt::format("{} is shown for {}, which nobody proved to be its project's", fingerprint,
                         domain);
    }
  }
  for (const auto& [domain, fingerprint] : world.domains.shown) {
    const auto known = domains_.find(domain);
    if (shown.contains(domain) || known == domains_.end()) continue;
    if (known->second.newest.empty() && known->second.installed.empty()) continue;
    if (!is_proved(domain, known->second)) continue;
    // It was brought to a claim that is newer than the table.
    if (known->second.uploaded && known->second.installed.empty()) continue;
    if (world.domains.holds(known->second.newest))
      return fmt::format("{} is shown no more, and has a certificate", domain);
  }
  return {};
}

std::string Certificates::unrest(const World& world,
                                 const std::map<std::string, std::string>& routes,
                                 const std::string& domain) const {
  const auto now = world.agenda.now() + world.clock_skew;
  for (const auto& [name, known] : domains_) {
    const auto target = world.domains.targets.find(name);
    const auto host = known.project + "." + domain;
    if (target == world.domains.targets.end() || target->second != host) continue;
    if (known.proof_required && !world.domains.proofs.contains(name)) continue;
    if (known.was_refused && known.retry_at > now) continue;  // it waits as it must
    const auto shown = world.domains.shown.find(name);
    if (known.newest.empty() || shown == world.domains.shown.end()) {
      return fmt::format("{} leads here, and has no certificate", name);
    }
    if (shown->second != known.newest || known.installed != known.newest) {
      return fmt::format("the newest certificate of {} is not shown", name);
    }
    const bool has_expired = known.not_after <= now;
    const auto told = known.warned.find(known.newest);
    if (has_expired && !known.uploaded) {
      return fmt::format("the certificate of {} has expired", name);
    }
    if (has_expired && (told == known.warned.end() || told->second != pb::EXPIRY_STAGE_EXPIRED)) {
      return fmt::format("nobody was told that the certificate of {} has expired", name);
    }
    if (routes.contains(host) != routes.contains(name)) {
      return fmt::format("{} does not lead where {} does", name, host);
    }
  }
  for (const auto& [name, fingerprint] : world.domains.shown) {
    if (!domains_.contains(name)) {
      return fmt::format("{} is nobody's, and the edge shows its certificate", name);
    }
  }
  return {};
}

}  // namespace atlasflow::sim
