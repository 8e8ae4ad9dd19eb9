#include <algorithm>

#include "events/domain_authority.hpp"

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

TimestampUs life_of(const CertificateFacts& facts) {
  return std::max<TimestampUs>(facts.not_after - facts.not_before, 0);
}

// How much of its life a renewal has.
TimestampUs left_for_renewal(TimestampUs life) {
  return life <= k_short_life_us ? life / 2 : life / 3;
}

CertificateFacts facts_of(const pb::CertificateIssued& issued, CertificateSource source,
                          std::string directory = {}) {
  return {issued.fingerprint(),
          issued.serial(),
          issued.issuer(),
          issued.not_before_us(),
          issued.not_after_us(),
          {issued.names().begin(), issued.names().end()},
          source,
          {},
          std::move(directory)};
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
  next.new_at = std::move(state.new_at);
  next.authority_pause = std::move(state.authority_pause);
  next.second = std::move(state.second);
  next.was_servers = state.was_servers || state.is_servers;
}

// Of the CA of the order under way: only who was asked names a time.
void note_authority_pause(DomainState& state, TimestampUs until) {
  if (!state.order || until == 0) return;
  const auto& directory = state.order->directory;
  until = std::max(until, state.authority_retry_at(directory));
  (state.order->is_fallback() ? state.second.pause : state.authority_pause) = {directory, until};
}

// How often the first authority failed one after the other, until it says anything else.
void note_authority_failure(DomainState& state, const pb::CertificateFailed& failed,
                            TimestampUs at) {
  if (!state.order) return;
  state.second.was_last = state.order->is_fallback();
  if (state.order->is_fallback()) return;
  auto& failures = state.first_failures;
  if (is_authoritys_own(failed)) {
    const auto count = failures.directory == state.order->directory ? failures.count : 0;
    const bool limited = failed.problem() == pb::CERTIFICATE_PROBLEM_RATE_LIMITED;
    failures = {state.order->directory, count + 1, failed.reason(), limited ? at + k_hour_us : 0};
  } else if (failed.problem() != pb::CERTIFICATE_PROBLEM_LOCAL && !failed.by_own_dns()) {
    failures = {};
  }
}

// An ordered one is to take the place of what the project brought. What nobody was shown yet goes.
void release_uploaded(DomainState& state) {
  if (state.certificate() == nullptr) state.issued.reset();
  for (auto* facts : {&state.issued, &state.installed}) {
    if (*facts && (*facts)->source == CertificateSource::uploaded) {
      (*facts)->source = CertificateSource::released;
    }
  }
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

// It is nobody's to prove here: what another had proved before ends with that.
void apply_server_added(DomainState& state, TimestampUs at) {
  DomainState next;
  next.name = state.name;
  next.version = state.version;
  next.claimed = true;
  next.is_servers = true;
  next.display_name = state.name;
  next.ready = true;
  next.added_at = at;
  keep_history(next, state);
  next.proved_project = {};
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

// The certificate that its project brought was that project's to look after.
void apply_taken_over(DomainState& state, const pb::DomainTakenOver& taken, TimestampUs at) {
  release_uploaded(state);
  state.redirect_to.clear();
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
                                ordered.deadline_us(),
                                ordered.fallback_reason()};
      return true;
    }
    case pb::Event::kCertificateIssued: {
      const bool at_second = state.order && state.order->is_fallback();
      const bool is_new = !state.order || state.order->renews.empty();
      state.issued = facts_of(event.certificate_issued(), CertificateSource::ordered,
                              state.order ? state.order->directory : std::string());
      state.order.reset();
      state.attempts = 0;
      state.failure.reset();
      // Its renewal begins with the first authority again.
      state.first_failures = {};
      state.second.was_last = false;
      note(at_second ? state.second.issued_at : state.issued_at, at);
      if (is_new) note(at_second ? state.second.new_at : state.new_at, at);
      return true;
    }
    case pb::Event::kCertificateFailed: {
      const auto& failed = event.certificate_failed();
      if (!state.order) ++state.attempts;  // It was not even ordered.
      const bool at_second = state.order && state.order->is_fallback();
      note_authority_pause(state, failed.authority_retry_at_us());
      note_authority_failure(state, failed, at);
      if (!failed.unreached_by().empty()) state.unreached_by = failed.unreached_by();
      state.order.reset();
      state.failure = OrderFailure{failed.problem(), failed.reason(), at, failed.retry_at_us()};
      if (failed.problem() == pb::CERTIFICATE_PROBLEM_VALIDATION) {
        note(at_second ? state.second.failed_validations : state.failed_validations, at);
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
    case pb::Event::kCertificateUploaded:
      state.order.reset();
      state.issued =
          facts_of(event.certificate_uploaded().certificate(), CertificateSource::uploaded);
      state.attempts = 0;
      state.failure.reset();
      return true;
    case pb::Event::kCertificateReleased:
      release_uploaded(state);
      return true;
    case pb::Event::kRenewalAdvised: {
      const auto& advised = event.renewal_advised();
      if (state.installed && state.installed->fingerprint == advised.fingerprint()) {
        state.installed->advice =
            RenewalAdvice{advised.start_us(), advised.end_us(), advised.explanation_url()};
      }
      return true;
    }
    case pb::Event::kCertificateExpiring: {
      const auto& expiring = event.certificate_expiring();
      state.warned = ExpiryWarning{expiring.fingerprint(), expiring.stage()};
      return true;
    }
    case pb::Event::kCertificateRetryRequested:
      if (state.failure) state.failure->retry_at = 0;
      state.first_failures.not_before = 0;
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

std::string_view name_of(pb::ExpiryStage stage) {
  switch (stage) {
    case pb::EXPIRY_STAGE_NOTICE:
      return "notice";
    case pb::EXPIRY_STAGE_WARNING:
      return "warning";
    case pb::EXPIRY_STAGE_URGENT:
      return "urgent";
    case pb::EXPIRY_STAGE_EXPIRED:
      return "expired";
    default:
      return "none";
  }
}

std::string_view name_of(CertificateSource source) {
  switch (source) {
    case CertificateSource::ordered:
      return "ordered";
    case CertificateSource::uploaded:
      return "uploaded";
    case CertificateSource::released:
      break;
  }
  return "released";
}

TimestampUs CertificateFacts::renew_at() const {
  const auto life = life_of(*this);
  if (advice) {
    const auto window = std::max<TimestampUs>(advice->end - advice->start, 1);
    const auto drawn = spread(fingerprint) % static_cast<std::uint64_t>(window);
    const auto wanted = advice->start + static_cast<TimestampUs>(drawn);
    // Not at once of a new one, or an authority whose clock is wrong would be asked for ever more.
    const auto soonest = not_before + std::min<TimestampUs>(life / 20, k_day_us);
    return std::max(soonest, std::min(wanted, not_after - life / 20));
  }
  const auto left = left_for_renewal(life);
  const auto earlier = static_cast<std::uint64_t>(life / 20) + 1;
  return not_after - left - static_cast<TimestampUs>(spread(fingerprint) % earlier);
}

// Let's Encrypt told of 20, 7 and 1 day, with the 30 days that a renewal has there; the same shares
// of that time for certificates of other lives. What nobody renews is told of from 30 days on.
TimestampUs CertificateFacts::begin_of(pb::ExpiryStage stage) const {
  auto left = left_for_renewal(life_of(*this));
  // A CA that wants it kept for longer leaves its renewal less time, and nobody is told for that.
  if (advice) left = std::min(left, not_after - renew_at());
  const bool is_renewed = source == CertificateSource::ordered;
  const auto window = is_renewed ? left : std::min(left, 30 * k_day_us);
  switch (stage) {
    case pb::EXPIRY_STAGE_NOTICE:
      return not_after - (is_renewed ? window / 3 * 2 : window);
    case pb::EXPIRY_STAGE_WARNING:
      return not_after - window / 30 * 7;
    case pb::EXPIRY_STAGE_URGENT:
      return not_after - window / 30;
    default:
      return not_after;
  }
}

pb::ExpiryStage CertificateFacts::expiry_stage(TimestampUs now) const {
  for (const auto stage : {pb::EXPIRY_STAGE_EXPIRED, pb::EXPIRY_STAGE_URGENT,
                           pb::EXPIRY_STAGE_WARNING, pb::EXPIRY_STAGE_NOTICE}) {
    if (now >= begin_of(stage)) return stage;
  }
  return pb::EXPIRY_STAGE_UNSPECIFIED;
}

DomainStatus DomainState::status() const {
  if (version == StreamVersion{}) return DomainStatus::absent;
  if (!claimed) return DomainStatus::removed;
  if (!ready) {
    return certificate() != nullptr ? DomainStatus::degraded : DomainStatus::pending_dns;
  }
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
      state.was_servers = false;
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
    case pb::Event::kServerDomainAdded:
      return apply_server_added(state, recorded_at);
    case pb::Event::kDomainRedirectSet:
      state.redirect_to = event.domain_redirect_set().to();
      return;
    default:  // Later types are no part of this state.
      return;
  }
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

// A process asks each first within ten minutes of its start, or of the installation, one after the
// other; one that is ended again and again asks as seldom as it is started.
std::optional<TimestampUs> advice_due_at(const DomainState& state, TimestampUs began,
                                         TimestampUs asked, TimestampUs told_to_wait) {
  if (!state.claimed || !state.ready || !state.installed || state.order || state.issued) {
    return std::nullopt;
  }
  if (state.installed->source != CertificateSource::ordered) return std::nullopt;
  if (asked != 0) {
    return asked + std::clamp(told_to_wait, k_advice_apart_min_us, k_advice_apart_max_us);
  }
  const auto apart = static_cast<std::uint64_t>(10 * k_minute_us);
  return std::max(began, state.installed->not_before) +
         static_cast<TimestampUs>(spread(state.installed->fingerprint) % apart);
}

std::optional<TimestampUs> warning_due_at(const DomainState& state) {
  const auto* shown = state.shown_certificate();
  if (!state.claimed || shown == nullptr) return std::nullopt;
  const bool told = state.warned && state.warned->fingerprint == shown->fingerprint;
  const int stage = told ? state.warned->stage : pb::EXPIRY_STAGE_UNSPECIFIED;
  if (stage >= pb::EXPIRY_STAGE_EXPIRED) return std::nullopt;
  return shown->begin_of(static_cast<pb::ExpiryStage>(stage + 1));
}

std::string expiry_reason(const DomainState& state, const DomainRules& rules) {
  const auto* shown = state.shown_certificate();
  if (shown != nullptr && state.newest_certificate() != shown) {
    return "another one is there, and the edge does not show it yet; the server's log says why";
  }
  if (state.uses_uploaded()) {
    return "the project brought it, so nobody renews it; 'atlasflow domains cert upload " +
           state.name + "' brings its successor, 'atlasflow domains cert remove " + state.name +
           "' has one ordered";
  }
  if (rules.directory.empty()) {
    return "this server orders no certificates; set domains.acme_directory in its configuration, "
           "or bring one with 'atlasflow domains cert upload " +
           state.name + "'";
  }
  if (!state.ready) {
    return "it is not renewed, as the domain's records do not lead here" +
           (state.reason.empty() ? std::string() : ": " + state.reason);
  }
  if (state.failure) return state.failure->reason;
  return state.order ? "its successor is being ordered" : "its successor is about to be ordered";
}

}  // namespace atlasflow
