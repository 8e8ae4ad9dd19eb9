#include "events/domain_authority.hpp"

#include <algorithm>
#include <array>

#include "base/probe.hpp"

namespace atlasflow {
namespace {

// What an authority's limits leave, as this server counts them by name.
TimestampUs allowed_at(const DomainRules& rules, const std::deque<TimestampUs>& failed_validations,
                       const std::deque<TimestampUs>& issued_at) {
  TimestampUs allowed = 0;
  const auto after = [&](const std::deque<TimestampUs>& times, std::int32_t limit,
                         TimestampUs window) {
    const auto n = static_cast<std::size_t>(std::max(limit, 1));
    if (times.size() >= n) allowed = std::max(allowed, times[times.size() - n] + window);
  };
  after(failed_validations, rules.failed_validations_per_hour, k_hour_us);
  if (rules.certificates_per_week > 0) after(issued_at, rules.certificates_per_week, 7 * k_day_us);
  return allowed;
}

bool is_renewal(const DomainState& state) {
  return state.installed && state.installed->source == CertificateSource::ordered;
}

bool orders_any(const DomainState& state, const DomainRules& rules) {
  if (!state.claimed || !state.ready || state.order || state.issued) return false;
  return !rules.directory.empty() && !state.uses_uploaded();
}

bool has_asked_to_wait(const DomainState& state, const DomainRules& rules, TimestampUs at) {
  return state.authority_retry_at(rules.directory) > at + k_limit_waited_for_us;
}
bool keeps_failing(const DomainState& state, const DomainRules& rules) {
  return state.first_failures.directory == rules.directory &&
         state.first_failures.count >= k_tries_before_fallback;
}

// What one authority named is none of the other's business, but the pause after a failure is: who
// failed at one is not sent to the other at once. A person may end it.
TimestampUs rested_at(const DomainState& state, bool at_second) {
  if (!state.failure || state.failure->retry_at == 0) return 0;
  const bool failed_here = state.second.was_last == at_second;
  if (failed_here && !at_second) return state.failure->retry_at;
  const auto problem = state.failure->problem;
  const bool is_slow =
      failed_here ? is_slow_to_change(problem) : problem == pb::CERTIFICATE_PROBLEM_CAA;
  const auto pause = pause_after(state.attempts);
  return state.failure->at + (is_slow ? std::max(pause, k_hour_us) : pause);
}

std::optional<OrderDue> next_order_at_second(const DomainState& state, const DomainRules& rules,
                                             TimestampUs now) {
  if (rules.fallback_directory.empty() || rules.fallback_directory == rules.directory) {
    return std::nullopt;
  }
  // While one is shown, the first has until people would be told that it ends.
  TimestampUs at = rested_at(state, true);
  if (is_renewal(state)) {
    at = std::max(
        {at, state.installed->renew_at(), state.installed->begin_of(pb::EXPIRY_STAGE_NOTICE)});
  }
  if (!keeps_failing(state, rules) && !has_asked_to_wait(state, rules, std::max(at, now))) {
    return std::nullopt;
  }
  at = std::max({at, state.authority_retry_at(rules.fallback_directory),
                 allowed_at(rules, state.second.failed_validations, state.second.issued_at)});
  return OrderDue{at, rules.fallback_directory, true};
}

}  // namespace

bool renews_own(const DomainState& state, const std::string& directory) {
  return is_renewal(state) && state.installed->directory == directory;
}

std::optional<OrderDue> next_order_at_first(const DomainState& state, const DomainRules& rules) {
  if (!orders_any(state, rules)) return std::nullopt;
  TimestampUs at = is_renewal(state) ? state.installed->renew_at() : 0;
  at = std::max({at, rested_at(state, false), state.authority_retry_at(rules.directory),
                 allowed_at(rules, state.failed_validations, state.issued_at)});
  // A limit is not over when the second one has failed since.
  if (state.first_failures.directory == rules.directory) {
    at = std::max(at, state.first_failures.not_before);
  }
  return OrderDue{at, rules.directory, false};
}

std::optional<OrderDue> next_order(const DomainState& state, const DomainRules& rules,
                                   TimestampUs now) {
  auto first = next_order_at_first(state, rules);
  if (!first) return first;
  auto second = next_order_at_second(state, rules, now);
  if (!second || second->at > first->at) return first;
  // When both could be asked it is their turns: the first may be well again.
  if (second->at == first->at && state.second.was_last) return first;
  return second;
}

std::optional<TimestampUs> order_due_at(const DomainState& state, const DomainRules& rules,
                                        TimestampUs now) {
  const auto due = next_order(state, rules, now);
  return due ? std::optional(due->at) : std::nullopt;
}

std::string host_of(const std::string& directory) {
  const auto begin = directory.find("//");
  if (begin == directory.npos) return directory;
  return directory.substr(begin + 2, directory.find('/', begin + 2) - begin - 2);
}

std::string fallback_reason(const DomainState& state, const DomainRules& rules, TimestampUs now) {
  const auto& failures = state.first_failures;
  const auto why = failures.reason.empty() ? std::string() : ": " + failures.reason;
  const auto host = host_of(rules.directory);
  if (has_asked_to_wait(state, rules, now)) {
    ATLAS_PROBE(true, "a second authority was asked as the first one has a limit");
    return host + " asked to be left alone for " +
           length_of(state.authority_retry_at(rules.directory) - now) + " more" + why;
  }
  ATLAS_PROBE(true, "a second authority was asked as the first one kept failing");
  return "the last " + std::to_string(failures.count) + " orders at " + host +
         " failed, and that was its own fault" + why;
}

bool is_authoritys_own(const pb::CertificateFailed& failed) {
  return (failed.problem() == pb::CERTIFICATE_PROBLEM_RATE_LIMITED ||
          failed.problem() == pb::CERTIFICATE_PROBLEM_UNAVAILABLE) &&
         !failed.by_own_dns();
}

bool is_slow_to_change(pb::CertificateProblem problem) {
  return problem == pb::CERTIFICATE_PROBLEM_CAA || problem == pb::CERTIFICATE_PROBLEM_REFUSED ||
         problem == pb::CERTIFICATE_PROBLEM_ACCOUNT ||
         problem == pb::CERTIFICATE_PROBLEM_RATE_LIMITED;
}

TimestampUs pause_after(std::int32_t attempts) {
  constexpr std::array<TimestampUs, 13> k_minutes = {1,  2,  2,  5,   10,  10, 10,
                                                     20, 30, 60, 120, 240, 360};
  const auto n = static_cast<std::size_t>(std::max(attempts - 1, 0));
  return k_minutes[std::min(n, k_minutes.size() - 1)] * k_minute_us;
}

std::string length_of(TimestampUs time) {
  const auto in = [time](TimestampUs unit) { return std::to_string((time - 1) / unit + 1); };
  if (time > 2 * k_day_us) return in(k_day_us) + " days";
  if (time > 2 * k_hour_us) return in(k_hour_us) + " h";
  return in(k_minute_us) + " min";
}

}  // namespace atlasflow
