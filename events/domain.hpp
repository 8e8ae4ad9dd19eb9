// One domain of a user's own, or the server's: its state as a fold of its stream, what may be
// commanded, and what is to be done for it when. Pure functions over values; the time comes with
// the command or the record. What name servers said is judged in domain_verdict.hpp, all domains
// together are domain_ledger.hpp.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "events/domain_verdict.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "events/principal.hpp"
#include "events/settings.hpp"

namespace atlasflow {

// Where a domain stands, as users see it.
enum class DomainStatus : std::uint8_t {
  absent,       // no event yet
  pending_dns,  // claimed; its records are not there
  verified,     // they are; no certificate is under way
  issuing,      // its first certificate is ordered, or on its way to the edge
  active,       // served with a certificate, which may be being renewed
  degraded,     // its records are gone; served on with its certificate, at most for seven days
  removed,      // nobody's; another claim may begin
};
[[nodiscard]] std::string_view name_of(DomainStatus status);
[[nodiscard]] std::string_view name_of(pb::CertificateProblem problem);
[[nodiscard]] std::string_view name_of(pb::DomainVerdict verdict);
[[nodiscard]] std::string_view name_of(pb::ExpiryStage stage);

// What the server's owner has settled, beside the published limits of certificate authorities.
struct DomainRules {
  std::string directory;  // of the ACME server that orders go to; empty: none are made
  // Of a second one, asked in place of the first while that keeps failing; empty: there is none.
  std::string fallback_directory = {};
  // Let's Encrypt allows 5 each: one below, so that a person's try elsewhere is not the last.
  std::int32_t failed_validations_per_hour = 4;
  std::int32_t certificates_per_week = 4;  // of one domain; 0: as many as it needs
  // Of all names of one registered domain, at each authority, without renewals: Let's Encrypt
  // allows 50. 0: as many as they need.
  std::int32_t new_certificates_per_week = 45;
  // Of all domains together, at each authority: Let's Encrypt allows an account 300 in 3 h.
  std::int32_t orders_per_three_hours = 250;
};

inline constexpr TimestampUs k_minute_us = 60 * k_second_us;
inline constexpr TimestampUs k_hour_us = 60 * k_minute_us;
inline constexpr TimestampUs k_day_us = 24 * k_hour_us;
// A claim whose records were missing for so long is given up.
inline constexpr TimestampUs k_claim_without_dns_max_us = 7 * k_day_us;
// Between two looks at one domain, whoever wants them.
inline constexpr TimestampUs k_looks_apart_us = 10 * k_second_us;
// From CertificateOrdered to its end.
inline constexpr TimestampUs k_order_deadline_us = 10 * k_minute_us;

enum class CertificateSource : std::uint8_t {
  ordered,   // from a CA, and renewed there
  uploaded,  // the project brought it: nobody renews it, and nothing is ordered beside it
  released,  // the project brought it and gave it up: shown until an ordered one takes its place
};
[[nodiscard]] std::string_view name_of(CertificateSource source);

// When the CA wants a certificate renewed (RFC 9773 section 4.2).
struct RenewalAdvice {
  TimestampUs start = 0;
  TimestampUs end = 0;  // later than the start
  std::string explanation_url;
};

struct CertificateFacts {
  std::string fingerprint;
  std::string serial;
  std::string issuer;
  TimestampUs not_before = 0;
  TimestampUs not_after = 0;
  std::vector<std::string> names;
  CertificateSource source = CertificateSource::ordered;
  std::optional<RenewalAdvice> advice = {};
  std::string directory = {};  // of the CA that it was ordered from; empty: of none

  // When its renewal begins. As the CA advises: at a point of its window that the fingerprint
  // draws, but with a twentieth of the life left at the latest. Without advice with a third of its
  // life left, or half of it when it lives ten days or less; a little earlier for some names than
  // for others, so that a thousand that were made together are not renewed together.
  [[nodiscard]] TimestampUs renew_at() const;
  // When it is so near to its end that people are told: of one that is renewed by itself that is
  // after its renewal failed for a while, at least a third of the time that was left for it.
  [[nodiscard]] TimestampUs begin_of(pb::ExpiryStage stage) const;
  [[nodiscard]] pb::ExpiryStage expiry_stage(TimestampUs now) const;
};
// RFC 9773 section 4.3.2: between two questions for one certificate's advice, whatever the CA says.
inline constexpr TimestampUs k_advice_apart_min_us = k_minute_us;
inline constexpr TimestampUs k_advice_apart_max_us = k_day_us;
// The same after a failure, and where the CA names no time.
inline constexpr TimestampUs k_advice_apart_us = 6 * k_hour_us;
struct DomainOrder {
  EffectId effect;
  std::vector<std::string> names;
  std::string directory;
  std::string renews;
  TimestampUs ordered_at = 0;
  TimestampUs deadline = 0;
  std::string fallback_reason = {};  // why not from the first authority; empty: from that

  [[nodiscard]] bool is_fallback() const { return !fallback_reason.empty(); }
};
struct OrderFailure {
  pb::CertificateProblem problem = pb::CERTIFICATE_PROBLEM_UNSPECIFIED;
  std::string reason;
  TimestampUs at = 0;
  TimestampUs retry_at = 0;
};
// Another project that asks for the domain.
struct TakeOverClaim {
  ProjectId project;
  std::string project_name;
  std::string token;
  TimestampUs since = 0;

  // It is judged for seven days.
  [[nodiscard]] bool is_open(TimestampUs now) const {
    return now - since < k_claim_without_dns_max_us;
  }
};
// How far it was told that a certificate ends.
struct ExpiryWarning {
  std::string fingerprint;
  pb::ExpiryStage stage = pb::EXPIRY_STAGE_UNSPECIFIED;
};
// A CA's wish to be left alone over a name. Another CA may be asked meanwhile.
struct AuthorityPause {
  std::string directory;
  TimestampUs until = 0;
};

// The first authority's own failures, one after the other.
struct AuthorityFailures {
  std::string directory;
  std::int32_t count = 0;
  std::string reason;          // of the newest
  TimestampUs not_before = 0;  // after a limit that it named no end of
};
// What is counted by name at the second one, as for the first.
struct SecondAuthority {
  AuthorityPause pause;
  std::deque<TimestampUs> failed_validations;
  std::deque<TimestampUs> issued_at;
  std::deque<TimestampUs> new_at;
  bool was_last = false;  // the newest order that failed was there
};

struct DomainState {
  std::string name;
  StreamVersion version;
  bool claimed = false;  // else: removed, or never there
  ProjectId project;
  std::string project_name;
  std::string display_name;
  std::string token;
  bool proof_required = false;
  TimestampUs added_at = 0;
  std::string removed_reason;

  bool ready = false;             // its records were there at the last look that could tell
  TimestampUs unready_since = 0;  // 0: it is ready
  bool was_checked = false;
  TimestampUs checked_at = 0;  // the newest look that was recorded
  pb::DnsObservation observed;
  pb::DomainVerdict verdict = pb::DOMAIN_VERDICT_UNSPECIFIED;
  std::string reason;
  std::optional<TakeOverClaim> take_over;
  // Whose it was when its records were last there: its owner's DNS may still lead here.
  ProjectId proved_project;
  std::string redirect_to;  // another domain of its project; empty: it serves the project

  std::optional<DomainOrder> order;           // under way
  std::optional<CertificateFacts> issued;     // not yet shown by the edge
  std::optional<CertificateFacts> installed;  // what the edge shows
  std::int32_t attempts = 0;                  // since the last one that was issued
  std::optional<OrderFailure> failure;        // of the newest order; unset after a success
  // What the first CA's limits count, by name: they hold whoever claims it. Oldest first, and no
  // more than the newest k_history_max.
  std::deque<TimestampUs> failed_validations;
  std::deque<TimestampUs> issued_at;
  std::deque<TimestampUs> new_at;      // of these, the ones that renewed none
  AuthorityPause authority_pause;      // the newest that a CA named, whoever claims the name
  TimestampUs retry_requested_at = 0;  // by a person, the last time
  std::optional<ExpiryWarning> warned;
  bool is_servers = false;   // the server's own, no project's: a certificate for it and "*." below
  bool was_servers = false;  // before; its records may still lead here
  AuthorityFailures first_failures;
  SecondAuthority second;
  // The challenge by which a CA could not connect to it, or not prove it in TLS, the last time that
  // it could not; empty: it always could. A renewal is proved by another one at once.
  std::string unreached_by;

  static constexpr std::size_t k_history_max = 16;

  [[nodiscard]] DomainStatus status() const;
  // Before that the CA of this directory is not asked; 0: it named no time.
  [[nodiscard]] TimestampUs authority_retry_at(const std::string& directory) const {
    TimestampUs at = authority_pause.directory == directory ? authority_pause.until : 0;
    if (second.pause.directory == directory && second.pause.until > at) at = second.pause.until;
    return at;
  }
  // The newest, which may wait for the domain's records: one can be brought before they are set.
  [[nodiscard]] const CertificateFacts* newest_certificate() const {
    return issued ? &*issued : installed ? &*installed : nullptr;
  }
  // What the edge is to show: none for a project that has not proved yet that the domain is its
  // own, whatever certificate it brought.
  [[nodiscard]] const CertificateFacts* certificate() const {
    return proved_project == project ? newest_certificate() : nullptr;
  }
  // What it shows, or will first.
  [[nodiscard]] const CertificateFacts* shown_certificate() const {
    return installed ? &*installed : newest_certificate();
  }
  // The project takes care of the certificate itself.
  [[nodiscard]] bool uses_uploaded() const {
    const auto* newest = newest_certificate();
    return newest != nullptr && newest->source == CertificateSource::uploaded;
  }
};

void evolve(DomainState& state, const pb::Event& event, TimestampUs recorded_at);

// ---- what is due ----

// When a certificate is wanted next, whomever it is ordered from (domain_authority.hpp); nothing
// while one is under way or its records are missing. That includes the pause after a failure and
// what the limits of `rules` leave. now: matters where there is a second authority only.
[[nodiscard]] std::optional<TimestampUs> order_due_at(const DomainState& state,
                                                      const DomainRules& rules,
                                                      TimestampUs now = 0);
// When its name servers are to be asked next; nothing: never, it is nobody's. looked_at: the last
// time anybody did, whether it was recorded or not; 0: never in this process.
[[nodiscard]] std::optional<TimestampUs> look_due_at(const DomainState& state,
                                                     TimestampUs looked_at);

// When the CA is to be asked how long the certificate is to be kept; nothing: of this one it is not
// asked. began: when this process did. asked: the last time in it, and told_to_wait how long it was
// told to wait then; 0: it has not asked of this certificate.
[[nodiscard]] std::optional<TimestampUs> advice_due_at(const DomainState& state, TimestampUs began,
                                                       TimestampUs asked, TimestampUs told_to_wait);

// When people are told next that the certificate ends; nothing: they have been told all.
[[nodiscard]] std::optional<TimestampUs> warning_due_at(const DomainState& state);
// Why the certificate that is shown was not followed by another one, and what is to be done.
[[nodiscard]] std::string expiry_reason(const DomainState& state, const DomainRules& rules);

// ---- commands ----

struct AddDomain {
  ProjectId project;
  std::string project_name;
  std::string display_name;
  std::string token;
  bool take_over = false;       // ask for it, when it is another project's
  std::string parent_claimant;  // the project that has a domain above this one, when another has
  Principal by;
  std::string redirect_to = {};       // where its visitors are sent; empty: it serves the project
  std::string redirect_refused = {};  // why not there, as the ledger knows; empty: it may
};
// Visitors are sent to another domain of the project, or served again.
struct SetRedirect {
  std::string to;       // empty: they are served
  std::string refused;  // why not there, as the ledger knows; empty: it may
  Principal by;
};
// One that the project brought, checked and stored.
struct TakeUploaded {
  pb::CertificateIssued certificate;
  Principal by;
};
// Back to one that is ordered.
struct ReleaseUploaded {
  Principal by;
};
// The time has come to tell that the certificate ends.
struct WarnOfExpiry {};
struct RemoveDomain {
  Principal by;
  std::string reason;
};
struct RetryCertificate {
  Principal by;
  std::string held = {};  // why it would be ordered later all the same, as the ledger knows
};
// The server's configuration wants a public certificate for its own domain, or no more.
struct ClaimForServer {};
struct ReleaseByServer {
  std::string reason;
};
// The CA has been asked when this certificate is to be renewed.
struct TakeAdvice {
  pb::RenewalAdvised advised;
};
// The name servers have been asked.
struct TakeLook {
  pb::DnsObservation observed;
  Judgement judgement;
  bool asked = false;               // by a person: it is recorded whatever it found
  bool may_order = true;            // the account's limit over all domains leaves room for an order
  bool may_order_elsewhere = true;  // the same at the second authority
  std::string fallback_caa_reason = {};  // why that one must not issue; empty: it may
};
struct TakeIssued {
  EffectId effect;
  pb::CertificateIssued issued;
};
struct TakeFailed {
  EffectId effect;
  pb::CertificateFailed failed;  // retry_at_us: 0, or the CA's own
};
// The edge shows this one.
struct TakeInstalled {
  std::string fingerprint;
};
// Its key is no longer there.
struct TakeLost {
  std::string fingerprint;
  std::string reason;
};
using DomainCommand =
    std::variant<AddDomain, RemoveDomain, RetryCertificate, TakeLook, TakeIssued, TakeFailed,
                 TakeInstalled, TakeLost, SetRedirect, TakeUploaded, ReleaseUploaded, WarnOfExpiry,
                 ClaimForServer, ReleaseByServer, TakeAdvice>;

// The events that follow, none when there is nothing to record; or why it is refused. What the
// world reports late, of an order or a certificate that is no more, is nothing to record.
[[nodiscard]] Result<std::vector<pb::Event>> decide(const DomainState& state,
                                                    const DomainCommand& command,
                                                    const DomainRules& rules, TimestampUs now);

// Why the event must not follow in this state; empty when it may.
[[nodiscard]] std::string violation(const DomainState& state, const pb::Event& event);

}  // namespace atlasflow
