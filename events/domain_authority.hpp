// Whom a domain's next certificate is ordered from, and when: the first authority, or the second
// one while the first keeps failing in ways that are its own. Never both: what is due is one order.
// Pure functions over values.
#pragma once

#include <optional>
#include <string>

#include "events/domain.hpp"

namespace atlasflow {

// So many orders in a row that the first authority failed, before another one is asked.
inline constexpr std::int32_t k_tries_before_fallback = 3;
// What it may ask to be left alone for, beyond which another one is asked.
inline constexpr TimestampUs k_limit_waited_for_us = k_hour_us;

struct OrderDue {
  TimestampUs at = 0;
  std::string directory;
  bool is_fallback = false;
};
// Nothing: none is due, as of order_due_at(). now: what an authority asked for before that is over.
[[nodiscard]] std::optional<OrderDue> next_order(const DomainState& state, const DomainRules& rules,
                                                 TimestampUs now);
// The same of the first authority alone.
[[nodiscard]] std::optional<OrderDue> next_order_at_first(const DomainState& state,
                                                          const DomainRules& rules);
// Its next certificate replaces one of the same authority's: limits on new ones do not count it.
[[nodiscard]] bool renews_own(const DomainState& state, const std::string& directory);

// Why the second authority is asked and not the first, a sentence without its full stop.
[[nodiscard]] std::string fallback_reason(const DomainState& state, const DomainRules& rules,
                                          TimestampUs now);

// "acme.example" of "https://acme.example/directory".
[[nodiscard]] std::string host_of(const std::string& directory);

// It is not reached, answers with an error of its own, or has a limit.
[[nodiscard]] bool is_authoritys_own(const pb::CertificateFailed& failed);
// Nothing of these changes by itself within minutes.
[[nodiscard]] bool is_slow_to_change(pb::CertificateProblem problem);
// After so many attempts without a certificate.
[[nodiscard]] TimestampUs pause_after(std::int32_t attempts);

// "3 days", "5 h" or "12 min", rounded up.
[[nodiscard]] std::string length_of(TimestampUs time);

}  // namespace atlasflow
