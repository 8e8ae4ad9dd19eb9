#include <algorithm>

#include "events/domain.hpp"

namespace atlasflow {
namespace {

constexpr TimestampUs k_short_life_us = 10 * k_day_us;

// FNV-1a: spreads names evenly, and the same on every machine.
std::uint64_t spread(const std::string& text) {
  std::uint64_t hash = 14'695'981'039'346'656'037ULL;
  for (const char c : text) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 1'099'511'628'211ULL;
  }
  return hash;
}

CertificateFacts facts_of(const pb::CertificateIssued& issued) {
  return {issued.fingerprint(),  issued.serial(),
          issued.issuer(),       issued.not_before_us(),
          issued.not_after_us(), {issued.names().begin(), issued.names().end()}};
}

void note(std::deque<TimestampUs>& times, TimestampUs at) {
  times.push_back(at);
  if (times.size() > DomainState::k_history_max) times.pop_front();
}

void lose_readiness(DomainState& state, TimestampUs at) {
  state.ready = false;
  state.unready_since = at;
}

// What the CA counts by name stays, whoever claims it next.
void keep_history(DomainState& next, DomainState& state) {
  next.proved_project = state.proved_project;
  next.failed_validations = std::move(state.failed_validations);
  next.issued_at = std::move(state.issued_at);
  next.authority_pause = std::move(state.authority_pause);
}

// Of the CA of the order under way: only who was asked names a time.
void note_authority_pause(DomainState& state, TimestampUs until) {
  if (!state.order || until == 0) return;
  const auto& directory = state.order->directory;
  until = std::max(until, state.authority_retry_at(directory));
  state.authority_pause = {directory, until};
}

void apply_added(DomainState& state, const pb::DomainAdded& added, TimestampUs at) {
  DomainState next;
  next.name = state.name;
  next.version = state.version;
  next.claimed = true;
  next.project = ProjectId{added.project_id()};
  next.project_name = added.project_name();
  next.display_name = added.display_name();
  next.token = added.token();
  next.proof_required = added.proof_required();
  next.added_at = at;
  next.unready_since = at;
  keep_history(next, state);
  state = std::move(next);
}

void apply_removed(DomainState& state, const pb::DomainRemoved& removed) {
  DomainState next;
  next.name = state.name;
  next.version = state.version;
  next.project = state.project;
  next.project_name = state.project_name;
  next.display_name = state.display_name;
  next.added_at = state.added_at;
  next.removed_reason = removed.reason();
  keep_history(next, state);
  state = std::move(next);
}

void apply_taken_over(DomainState& state, const pb::DomainTakenOver& taken, TimestampUs at) {
  state.project = ProjectId{taken.project_id()};
  state.project_name = taken.project_name();
  if (state.take_over) state.token = state.take_over->token;
  state.take_over.reset();
  state.proof_required = true;
  state.proved_project = state.project;
  lose_readiness(state, at);
}

void apply_checked(DomainState& state, const pb::DomainChecked& checked, TimestampUs at) {
  state.was_checked = true;
  state.checked_at = at;
  state.observed = checked.observed();
  state.verdict = checked.verdict();
  state.reason = checked.reason();
}

// What the event changes of orders and certificates; false: it is none of theirs.
bool apply_certificate(DomainState& state, const pb::Event& event, TimestampUs at) {
  switch (event.kind_case()) {
    case pb::Event::kCertificateOrdered: {
      const auto& ordered = event.certificate_ordered();
      state.attempts = ordered.attempt();
      state.order = DomainOrder{domain_effect_id(state.name, state.version),
                                {ordered.names().begin(), ordered.names().end()},
                                ordered.directory(),
                                ordered.renews(),
                                at,
                                ordered.deadline_us()};
      return true;
    }
    case pb::Event::kCertificateIssued:
      state.order.reset();
      state.issued = facts_of(event.certificate_issued());
      state.attempts = 0;
      state.failure.reset();
      note(state.issued_at, at);
      return true;
    case pb::Event::kCertificateFailed: {
      const auto& failed = event.certificate_failed();
      if (!state.order) ++state.attempts;  // It was not even ordered.
      note_authority_pause(state, failed.authority_retry_at_us());
      state.order.reset();
      state.failure = OrderFailure{failed.problem(), failed.reason(), at, failed.retry_at_us()};
      if (failed.problem() == pb::CERTIFICATE_PROBLEM_VALIDATION) {
        note(state.failed_validations, at);
      }
      return true;
    }
    case pb::Event::kCertificateInstalled:
      if (state.issued &&
          state.issued->fingerprint == event.certificate_installed().fingerprint()) {
        state.installed = std::move(state.issued);
        state.issued.reset();
      }
      return true;
    case pb::Event::kCertificateLost: {
      const auto& lost = event.certificate_lost().fingerprint();
      if (state.issued && state.issued->fingerprint == lost) state.issued.reset();
      if (state.installed && state.installed->fingerprint == lost) state.installed.reset();
      return true;
    }
    case pb::Event::kCertificateRetryRequested:
      if (state.failure) state.failure->retry_at = 0;
      state.retry_requested_at = at;
      return true;
    default:
      return false;
  }
}

}  // namespace

std::string_view name_of(DomainStatus status) {
  switch (status) {
    case DomainStatus::absent:
      return "absent";
    case DomainStatus::pending_dns:
      return "pending_dns";
    case DomainStatus::verified:
      return "verified";
    case DomainStatus::issuing:
      return "issuing";
    case DomainStatus::active:
      return "active";
    case DomainStatus::degraded:
      return "degraded";
    case DomainStatus::removed:
      break;
  }
  return "removed";
}

std::string_view name_of(pb::CertificateProblem problem) {
  switch (problem) {
    case pb::CERTIFICATE_PROBLEM_VALIDATION:
      return "validation";
    case pb::CERTIFICATE_PROBLEM_CAA:
      return "caa";
    case pb::CERTIFICATE_PROBLEM_RATE_LIMITED:
      return "rate_limited";
    case pb::CERTIFICATE_PROBLEM_REFUSED:
      return "refused";
    case pb::CERTIFICATE_PROBLEM_ACCOUNT:
      return "account";
    case pb::CERTIFICATE_PROBLEM_UNAVAILABLE:
      return "unavailable";
    case pb::CERTIFICATE_PROBLEM_LOCAL:
      return "local";
    case pb::CERTIFICATE_PROBLEM_ABANDONED:
      return "abandoned";
    default:
      return "unknown";
  }
}

std::string_view name_of(pb::DomainVerdict verdict) {
  switch (verdict) {
    case pb::DOMAIN_VERDICT_READY:
      return "ready";
    case pb::DOMAIN_VERDICT_PENDING:
      return "pending";
    case pb::DOMAIN_VERDICT_UNKNOWN:
      return "unknown";
    default:
      return "not_checked";
  }
}

TimestampUs CertificateFacts::renew_at() const {
  const auto life = std::max<TimestampUs>(not_after - not_before, 0);
  const auto left = life <= k_short_life_us ? life / 2 : life / 3;
  const auto earlier = static_cast<std::uint64_t>(life / 20) + 1;
  return not_after - left - static_cast<TimestampUs>(spread(fingerprint) % earlier);
}

DomainStatus DomainState::status() const {
  if (version == StreamVersion{}) return DomainStatus::absent;
  if (!claimed) return DomainStatus::removed;
  const bool has_certificate = installed.has_value() || issued.has_value();
  if (!ready) return has_certificate ? DomainStatus::degraded : DomainStatus::pending_dns;
  if (installed) return DomainStatus::active;
  return issued || order ? DomainStatus::issuing : DomainStatus::verified;
}

void evolve(DomainState& state, const pb::Event& event, TimestampUs recorded_at) {
  state.version = state.version.next();
  if (apply_certificate(state, event, recorded_at)) return;
  switch (event.kind_case()) {
    case pb::Event::kDomainAdded:
      return apply_added(state, event.domain_added(), recorded_at);
    case pb::Event::kDomainRemoved:
      return apply_removed(state, event.domain_removed());
    case pb::Event::kDomainChecked:
      return apply_checked(state, event.domain_checked(), recorded_at);
    case pb::Event::kDomainVerified:
    case pb::Event::kDomainRecovered:
      state.ready = true;
      state.unready_since = 0;
      state.proved_project = state.project;
      return;
    case pb::Event::kDomainDegraded:
      return lose_readiness(state, recorded_at);
    case pb::Event::kTakeOverRequested: {
      const auto& request = event.take_over_requested();
      state.take_over = TakeOverClaim{ProjectId{request.project_id()}, request.project_name(),
                                      request.token(), recorded_at};
      return;
    }
    case pb::Event::kDomainTakenOver:
      return apply_taken_over(state, event.domain_taken_over(), recorded_at);
    default:  // Later types are no part of this state.
      return;
  }
}

std::optional<TimestampUs> order_due_at(const DomainState& state, const DomainRules& rules) {
  if (!state.claimed || !state.ready || state.order || state.issued) return std::nullopt;
  if (rules.directory.empty()) return std::nullopt;
  TimestampUs due = state.installed ? state.installed->renew_at() : 0;
  due = std::max(due, state.authority_retry_at(rules.directory));
  if (state.failure) due = std::max(due, state.failure->retry_at);
  const auto after = [&due](const std::deque<TimestampUs>& times, std::int32_t limit,
                            TimestampUs window) {
    const auto n = static_cast<std::size_t>(std::max(limit, 1));
    if (times.size() >= n) due = std::max(due, times[times.size() - n] + window);
  };
  after(state.failed_validations, rules.failed_validations_per_hour, k_hour_us);
  if (rules.certificates_per_week > 0) {
    after(state.issued_at, rules.certificates_per_week, 7 * k_day_us);
  }
  return due;
}

// 10 s for a minute, then 1 min for ten, 5 min for an hour, and hourly: records are mostly set
// right after the claim. What is as it should be is looked at once a day. When a person wants an
// order tried again: at once.
std::optional<TimestampUs> look_due_at(const DomainState& state, TimestampUs looked_at) {
  if (!state.claimed) return std::nullopt;
  const auto looked = std::max(looked_at, state.checked_at);
  if (looked < state.retry_requested_at) return looked_at + k_looks_apart_us;
  const bool wanted = state.take_over && state.take_over->is_open(looked);
  if (state.ready && !wanted) return looked + k_day_us;
  const auto since = std::max(state.unready_since, wanted ? state.take_over->since : 0);
  // After the claim itself, and after a start of the server, at once.
  if (looked_at == 0 || looked < since) return 0;
  const auto waited = looked - since;
  if (waited < k_minute_us) return looked + k_looks_apart_us;
  if (waited < 11 * k_minute_us) return looked + k_minute_us;
  if (waited < 71 * k_minute_us) return looked + 5 * k_minute_us;
  return looked + k_hour_us;
}

}  // namespace atlasflow
