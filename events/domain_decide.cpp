#include <algorithm>

#include "base/assert.hpp"
#include "base/probe.hpp"
#include "events/domain_authority.hpp"

namespace atlasflow {
namespace {

using Events = std::vector<pb::Event>;

// What a person may end by asking for another try: what nobody but us has named a time for.
DomainState when_retried(DomainState state) {
  if (state.failure) state.failure->retry_at = 0;
  state.first_failures.not_before = 0;
  return state;
}

struct Decider {
  const DomainState& state;
  const DomainRules& rules;
  TimestampUs now;

  [[nodiscard]] tl::unexpected<Error> nobodys() const {
    return fail(
        ErrorCode::not_found,
        "'" + state.name + "' is no domain of any project; atlasflow domains add claims it");
  }

  // What only a project's domain can be told.
  [[nodiscard]] Result<void> check_projects() const {
    if (!state.claimed) return nobodys();
    if (!state.is_servers) return {};
    return fail(ErrorCode::conflict, "'" + state.name +
                                         "' is this server's own domain; its certificate is set "
                                         "up by domains.dns01_hook or domains.dns01_server in the "
                                         "server's configuration");
  }

  Result<Events> operator()(const AddDomain& command) const {
    if (state.claimed) ATLAS_TRYV(check_projects());
    Events events(1);
    if (!state.claimed) {
      auto* added = events[0].mutable_domain_added();
      added->set_project_id(command.project.str());
      added->set_project_name(command.project_name);
      added->set_display_name(command.display_name);
      added->set_token(command.token);
      // Its records may still lead here from the time when it was another's.
      const bool was_anothers = state.was_servers || (!state.proved_project.empty() &&
                                                      state.proved_project != command.project);
      ATLAS_PROBE(was_anothers, "a domain that another project had is claimed");
      added->set_proof_required(was_anothers || !command.parent_claimant.empty());
      added->set_by(command.by.str());
      if (command.redirect_to.empty()) return events;
      DomainState next = state;
      evolve(next, events.front(), now);
      ATLAS_TRY(const auto redirect,
                (Decider{next, rules, now}(
                    SetRedirect{command.redirect_to, command.redirect_refused, command.by})));
      events.insert(events.end(), redirect.begin(), redirect.end());
      return events;
    }
    if (state.project == command.project) {
      return fail(ErrorCode::already_exists, "'" + state.name + "' is a domain of project '" +
                                                 state.project_name +
                                                 "' already; atlasflow domains check " +
                                                 state.name + " says what it waits for");
    }
    if (!command.take_over) {
      return fail(ErrorCode::conflict, "'" + state.name + "' is a domain of project '" +
                                           state.project_name +
                                           "'; who owns its DNS can move it with --take-over");
    }
    if (!command.redirect_to.empty()) {
      return fail(ErrorCode::conflict,
                  "'" + state.name + "' is a domain of project '" + state.project_name +
                      "'; take it over without a redirect, which is set once it is yours");
    }
    if (state.take_over && state.take_over->project == command.project &&
        state.take_over->is_open(now)) {
      return Events{};
    }
    auto* request = events[0].mutable_take_over_requested();
    request->set_project_id(command.project.str());
    request->set_project_name(command.project_name);
    request->set_token(command.token);
    request->set_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const RemoveDomain& command) const {
    ATLAS_TRYV(check_projects());
    return Events{removed(command.by.str(), command.reason)};
  }

  Result<Events> operator()(const RetryCertificate& command) const {
    if (!state.claimed) return nobodys();
    if (state.order) {
      return fail(ErrorCode::conflict, "a certificate for '" + state.name + "' is being ordered");
    }
    const DomainState next = when_retried(state);
    const auto due = next_order(next, rules, now);
    const bool may_be_now = due && due->at <= now;  // at the other authority
    const auto at = state.authority_retry_at(rules.directory);
    if (at > now && !may_be_now) {
      return fail(ErrorCode::conflict,
                  "the certificate authority asked to be left alone for " + length_of(at - now) +
                      " more" + (state.failure ? " (" + state.failure->reason + ")" : "") +
                      "; it is tried again then");
    }
    if (auto why = why_nothing_to_retry(); !why.empty()) return fail(ErrorCode::conflict, why);
    if (!command.held.empty()) return fail(ErrorCode::conflict, command.held);
    Events events(1);
    events[0].mutable_certificate_retry_requested()->set_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const SetRedirect& command) const {
    ATLAS_TRYV(check_projects());
    if (state.redirect_to == command.to) return Events{};
    if (!command.refused.empty()) return fail(ErrorCode::conflict, command.refused);
    Events events(1);
    events[0].mutable_domain_redirect_set()->set_to(command.to);
    events[0].mutable_domain_redirect_set()->set_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const TakeUploaded& command) const {
    ATLAS_TRYV(check_projects());
    const auto* newest = state.newest_certificate();
    if (state.uses_uploaded() && newest->fingerprint == command.certificate.fingerprint()) {
      return Events{};
    }
    ATLAS_PROBE(state.order.has_value(), "a certificate is brought while one is ordered");
    Events events(1);
    *events[0].mutable_certificate_uploaded()->mutable_certificate() = command.certificate;
    events[0].mutable_certificate_uploaded()->set_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const ReleaseUploaded& command) const {
    ATLAS_TRYV(check_projects());
    if (!state.uses_uploaded()) {
      return fail(ErrorCode::conflict,
                  "the certificate of '" + state.name +
                      "' is none that was uploaded; there is nothing to go back from");
    }
    if (rules.directory.empty()) {
      return fail(ErrorCode::conflict,
                  "this server orders no certificates, so none would take its place; set "
                  "domains.acme_directory in its configuration, or upload another one");
    }
    Events events(1);
    events[0].mutable_certificate_released()->set_fingerprint(
        state.newest_certificate()->fingerprint);
    events[0].mutable_certificate_released()->set_by(command.by.str());
    return events;
  }

  Result<Events> operator()(const WarnOfExpiry& /*command*/) const {
    const auto due = warning_due_at(state);
    if (!due || now < *due) return Events{};
    const auto& shown = *state.shown_certificate();
    Events events(1);
    auto* expiring = events[0].mutable_certificate_expiring();
    expiring->set_fingerprint(shown.fingerprint);
    expiring->set_not_after_us(shown.not_after);
    // The newest stage that has begun: what a server that was down has missed is not told late.
    expiring->set_stage(shown.expiry_stage(now));
    expiring->set_project_id(state.project.str());
    expiring->set_reason(expiry_reason(state, rules));
    return events;
  }

  Result<Events> operator()(const TakeLook& look) const;

  Result<Events> operator()(const ClaimForServer& /*command*/) const {
    if (state.is_servers) return Events{};
    if (state.claimed) {
      return fail(ErrorCode::conflict,
                  "'" + state.name + "' is this server's own domain, and project '" +
                      state.project_name + "' has it; atlasflow domains remove " + state.name +
                      " frees it for the server's certificate");
    }
    Events events(1);
    events[0].mutable_server_domain_added();
    return events;
  }

  Result<Events> operator()(const ReleaseByServer& command) const {
    if (!state.is_servers) return Events{};
    return Events{removed(Principal::system("domains").str(), command.reason)};
  }

  Result<Events> operator()(const TakeAdvice& command) const {
    const auto& advised = command.advised;
    const auto& installed = state.installed;
    if (!installed || installed->fingerprint != advised.fingerprint()) return Events{};
    // RFC 9773 section 4.2: such a window is none.
    if (advised.end_us() <= advised.start_us()) return Events{};
    const auto& known = installed->advice;
    if (known && known->start == advised.start_us() && known->end == advised.end_us() &&
        known->explanation_url == advised.explanation_url()) {
      return Events{};
    }
    ATLAS_PROBE(known.has_value(), "a certificate authority moved the window of a renewal");
    Events events(1);
    *events[0].mutable_renewal_advised() = advised;
    return events;
  }

  Result<Events> operator()(const TakeIssued& command) const {
    if (!is_current(command.effect)) return Events{};
    Events events(1);
    *events[0].mutable_certificate_issued() = command.issued;
    return events;
  }

  Result<Events> operator()(const TakeFailed& command) const {
    if (!is_current(command.effect)) return Events{};
    return Events{failure_event(command.failed, state.attempts)};
  }

  Result<Events> operator()(const TakeInstalled& command) const {
    if (!state.issued || state.issued->fingerprint != command.fingerprint) return Events{};
    Events events(1);
    events[0].mutable_certificate_installed()->set_fingerprint(command.fingerprint);
    return events;
  }

  Result<Events> operator()(const TakeLost& command) const {
    const auto is_it = [&](const std::optional<CertificateFacts>& facts) {
      return facts && facts->fingerprint == command.fingerprint;
    };
    if (!is_it(state.issued) && !is_it(state.installed)) return Events{};
    ATLAS_PROBE(true, "a certificate's key was lost, and another is ordered");
    Events events(1);
    events[0].mutable_certificate_lost()->set_fingerprint(command.fingerprint);
    events[0].mutable_certificate_lost()->set_reason(command.reason);
    return events;
  }

  // Empty: there is something.
  [[nodiscard]] std::string why_nothing_to_retry() const {
    if (rules.directory.empty()) {
      return "this server orders no certificates; set domains.acme_directory in its configuration";
    }
    if (state.uses_uploaded()) {
      return "the certificate of '" + state.name +
             "' was uploaded, and none is ordered beside it; atlasflow domains cert remove " +
             state.name + " goes back to one that is ordered";
    }
    if (state.issued) return "the certificate of '" + state.name + "' is on its way to the edge";
    if (!state.ready) {
      if (state.failure) return {};  // Its owner may have set its records right.
      return "no order has failed: the records of '" + state.name +
             "' do not lead here yet; atlasflow domains check " + state.name +
             " says what is wrong";
    }
    const DomainState next = when_retried(state);
    const auto wait = order_due_at(next, rules, now).value_or(now) - now;
    if (wait <= 0) return {};
    if (!state.failure && state.installed && state.installed->renew_at() > now) {
      return "the certificate of '" + state.name + "' is good, and is renewed by itself in " +
             length_of(wait);
    }
    return "the limits on failed validations and certificates of one name allow '" + state.name +
           "' the next in " + length_of(wait) + "; it is ordered then";
  }

  [[nodiscard]] bool is_current(const EffectId& effect) const {
    const bool current = state.order && state.order->effect == effect;
    ATLAS_PROBE(!current, "an order's outcome came when it was nobody's any more");
    return current;
  }

  [[nodiscard]] pb::Event failure_event(const pb::CertificateFailed& failed,
                                        std::int32_t attempts) const {
    pb::Event event;
    auto* recorded = event.mutable_certificate_failed();
    *recorded = failed;
    auto pause = pause_after(attempts);
    if (is_slow_to_change(failed.problem())) pause = std::max(pause, k_hour_us);
    recorded->set_authority_retry_at_us(failed.retry_at_us());
    recorded->set_retry_at_us(std::max(failed.retry_at_us(), now + pause));
    // Another authority may be asked before the time that this one named.
    DomainState next = state;
    evolve(next, event, now);
    const auto due = next_order(next, rules, now);
    if (due && due->at < recorded->retry_at_us()) recorded->set_retry_at_us(std::max(due->at, now));
    return event;
  }

  static pb::Event removed(const std::string& by, const std::string& reason) {
    pb::Event event;
    event.mutable_domain_removed()->set_by(by);
    event.mutable_domain_removed()->set_reason(reason);
    return event;
  }
};

// What follows from one look, each step from the state that the step before it leaves.
struct LookTurn {
  const TakeLook& look;
  const DomainRules& rules;
  TimestampUs now;
  DomainState next;
  Events events = {};

  void add(pb::Event event) {
    evolve(next, event, now);
    events.push_back(std::move(event));
  }

  [[nodiscard]] bool is_worth_recording() const {
    if (look.asked || !next.was_checked) return true;
    const auto& judgement = look.judgement;
    // A server that does not answer now and then is no news of the domain.
    if (judgement.verdict == pb::DOMAIN_VERDICT_UNKNOWN) {
      return !next.ready && next.verdict != pb::DOMAIN_VERDICT_UNKNOWN;
    }
    return judgement.verdict != next.verdict || judgement.reason != next.reason ||
           judgement.take_over_proved || !same_records(look.observed, next.observed);
  }

  void check() {
    pb::Event event;
    auto* checked = event.mutable_domain_checked();
    *checked->mutable_observed() = look.observed;
    checked->set_verdict(look.judgement.verdict);
    checked->set_reason(look.judgement.reason);
    checked->set_take_over_proved(look.judgement.take_over_proved);
    add(std::move(event));
  }

  void take_over() {
    pb::Event event;
    auto* taken = event.mutable_domain_taken_over();
    taken->set_project_id(next.take_over->project.str());
    taken->set_project_name(next.take_over->project_name);
    taken->set_reason("its TXT record proves that the domain's owner wants it");
    add(std::move(event));
  }

  void become_ready() {
    pb::Event event;
    if (next.certificate() == nullptr) {
      event.mutable_domain_verified();
    } else {
      event.mutable_domain_recovered();
    }
    add(std::move(event));
  }

  [[nodiscard]] bool is_order_due() const {
    const auto due = order_due_at(next, rules, now);
    return due && *due <= now;
  }

  // Before the CA was asked.
  void fail_order(pb::CertificateProblem problem, const std::string& reason) {
    pb::CertificateFailed failed;
    failed.set_problem(problem);
    failed.set_reason(reason);
    add(Decider{next, rules, now}.failure_event(failed, next.attempts + 1));
  }

  void order() {
    auto due = next_order(next, rules, now);
    if (!due || due->at > now) return;
    // Who forbids the second authority has not to wait for it.
    const auto first = next_order_at_first(next, rules);
    if (due->is_fallback && !look.fallback_caa_reason.empty() && first->at <= now) due = first;
    const auto& forbidden = due->is_fallback ? look.fallback_caa_reason : look.judgement.caa_reason;
    if (!forbidden.empty()) return fail_order(pb::CERTIFICATE_PROBLEM_CAA, forbidden);
    if (!(due->is_fallback ? look.may_order_elsewhere : look.may_order)) return;
    pb::Event event;
    auto* ordered = event.mutable_certificate_ordered();
    ordered->set_attempt(next.attempts + 1);
    ordered->set_deadline_us(now + k_order_deadline_us);
    ordered->add_names(next.name);
    if (next.is_servers) ordered->add_names("*." + next.name);
    ordered->set_directory(due->directory);
    if (due->is_fallback) ordered->set_fallback_reason(fallback_reason(next, rules, now));
    // Another authority's is none that this one replaces.
    if (renews_own(next, due->directory)) ordered->set_renews(next.installed->fingerprint);
    add(std::move(event));
  }

  void follow() {
    if (is_worth_recording()) check();
    if (look.judgement.take_over_proved && next.take_over) return take_over();
    if (look.judgement.verdict == pb::DOMAIN_VERDICT_UNKNOWN) {
      // What nobody answers for is told, and waited for like every other failure.
      if (!is_order_due()) return;
      return fail_order(pb::CERTIFICATE_PROBLEM_UNAVAILABLE, look.judgement.reason);
    }
    if (look.judgement.verdict == pb::DOMAIN_VERDICT_READY) {
      if (!next.ready) become_ready();
      return order();
    }
    if (next.ready) {
      pb::Event event;
      event.mutable_domain_degraded()->set_reason(look.judgement.reason);
      return add(std::move(event));
    }
    if (now - next.unready_since >= k_claim_without_dns_max_us) {
      add(Decider::removed(Principal::system("domains").str(),
                           "its records were missing for seven days"));
    }
  }
};

Result<Events> Decider::operator()(const TakeLook& look) const {
  if (!state.claimed) return Events{};
  LookTurn turn{look, rules, now, state};
  turn.follow();
  return std::move(turn.events);
}

}  // namespace

Result<Events> decide(const DomainState& state, const DomainCommand& command,
                      const DomainRules& rules, TimestampUs now) {
  ATLAS_TRY(auto events, std::visit(Decider{state, rules, now}, command));
  DomainState next = state;
  for (const auto& event : events) {
    const auto wrong = violation(next, event);
    ATLAS_ASSERT(wrong.empty(), wrong);
    evolve(next, event, now);
  }
  return events;
}

std::string violation(const DomainState& state, const pb::Event& event) {
  if (event.has_domain_added() || event.has_server_domain_added()) {
    return state.claimed ? "a domain is claimed twice" : "";
  }
  if (!state.claimed) return "something happens to a domain that is nobody's";
  switch (event.kind_case()) {
    case pb::Event::kDomainVerified:
    case pb::Event::kDomainRecovered:
      return state.ready ? "a domain becomes ready that is" : "";
    case pb::Event::kDomainDegraded:
      return state.ready ? "" : "a domain is degraded that was not ready";
    case pb::Event::kDomainTakenOver:
      return state.take_over ? "" : "a domain is taken over that nobody asked for";
    case pb::Event::kCertificateOrdered:
      if (state.order) return "two orders at a time for one domain";
      if (state.uses_uploaded()) return "an order beside a certificate that the project brought";
      if (state.issued) return "an order while a certificate is on its way to the edge";
      return state.ready ? "" : "an order for a domain that does not lead here";
    case pb::Event::kCertificateIssued:
      return state.order ? "" : "a certificate that was not ordered";
    case pb::Event::kCertificateInstalled:
      return state.issued ? "" : "a certificate is installed that was not issued";
    case pb::Event::kCertificateReleased:
      return state.uses_uploaded() ? "" : "a certificate is released that nobody brought";
    case pb::Event::kCertificateExpiring: {
      const auto& expiring = event.certificate_expiring();
      const auto* shown = state.shown_certificate();
      if (shown == nullptr || shown->fingerprint != expiring.fingerprint()) {
        return "it is told that a certificate ends which is not shown";
      }
      const bool again = state.warned && state.warned->fingerprint == expiring.fingerprint() &&
                         state.warned->stage >= expiring.stage();
      return again ? "it is told twice that a certificate ends" : "";
    }
    case pb::Event::kRenewalAdvised: {
      const auto& advised = event.renewal_advised();
      if (advised.end_us() <= advised.start_us()) return "a window for renewal ends as it begins";
      const bool is_it = state.installed && state.installed->fingerprint == advised.fingerprint();
      return is_it ? "" : "advice on a certificate that is not shown";
    }
    case pb::Event::kDomainRedirectSet:
      return event.domain_redirect_set().to() == state.name ? "a domain is sent to itself" : "";
    default:
      return "";
  }
}

}  // namespace atlasflow
