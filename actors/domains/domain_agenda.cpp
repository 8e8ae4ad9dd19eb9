// What the keeper does when: looks, orders, warnings and questions to the CA, as they come due.
#include <algorithm>
#include <utility>

#include "actors/domains/domain_keeper.hpp"
#include "base/assert.hpp"
#include "base/log.hpp"
#include "base/probe.hpp"
#include "events/domain_authority.hpp"

namespace atlasflow::actors {
namespace {

constexpr std::size_t k_looks_max = 8;
constexpr std::ptrdiff_t k_orders_max = 4;
constexpr auto k_look_limit = std::chrono::seconds(60);
constexpr std::ptrdiff_t k_advices_max = 4;
constexpr auto k_advice_limit = std::chrono::seconds(90);
// The engine keeps an order's deadline itself; this is for one that does not come back.
constexpr TimestampUs k_order_patience_us = k_minute_us;
// One that is proved by DNS begins with that anew in each process: a program sets two records, and
// name servers take their time to show them.
constexpr TimestampUs k_dns_order_patience_us = k_order_deadline_us;
constexpr int k_lost_orders_max = 5;

pb::CertificateFailed failed_as(pb::CertificateProblem problem, const std::string& reason) {
  pb::CertificateFailed failed;
  failed.set_problem(problem);
  failed.set_reason(reason);
  return failed;
}

TimestampUs patience_with(const DomainOrder& order) {
  const bool by_dns = std::any_of(order.names.begin(), order.names.end(),
                                  [](const auto& name) { return name.starts_with("*."); });
  return by_dns ? k_dns_order_patience_us : k_order_patience_us;
}

}  // namespace

bool DomainKeeperState::has_order_room() const {
  const auto busy = std::count_if(watches.begin(), watches.end(), [](const auto& item) {
    return item.second.order != 0 || item.second.ordering_look;
  });
  return busy < k_orders_max;
}

void DomainKeeperState::plan(const std::string& domain, const DomainState& state, Watch& watch) {
  if (watch.look_due) looks.erase({*watch.look_due, domain});
  if (watch.order_due) orders[watch.order_at].erase({*watch.order_due, domain});
  if (watch.warning_due) warnings.erase({*watch.warning_due, domain});
  watch.warning_due = warning_due_at(state);
  if (watch.warning_due) warnings.emplace(*watch.warning_due, domain);
  if (watch.advice_due) advices.erase({*watch.advice_due, domain});
  watch.advice_due.reset();
  const bool is_advised =
      state.installed && config.engine->gives_renewal_advice(state.installed->directory);
  if (watch.advice == 0 && is_advised) {
    const bool same = state.installed && state.installed->fingerprint == watch.advice_asked_for;
    watch.advice_due =
        advice_due_at(state, began_at, same ? watch.advice_asked_at : 0, watch.advice_again_in);
  }
  if (watch.advice_due) advices.emplace(*watch.advice_due, domain);
  watch.look_due.reset();
  watch.order_due.reset();
  if (watch.look != 0) return;  // Its end plans anew.
  watch.look_due = look_due_at(state, watch.looked_at);
  if (const auto due = next_order(state, config.settings.rules, config.clock->now())) {
    const auto rested = watch.looked_at == 0 ? 0 : watch.looked_at + k_looks_apart_us;
    watch.order_due = std::max(due->at, rested);
    watch.order_at = due->is_fallback ? 1 : 0;
  }
  if (watch.look_due) looks.emplace(*watch.look_due, domain);
  if (watch.order_due) orders[watch.order_at].emplace(*watch.order_due, domain);
}

void DomainKeeperState::compare(domain_keeper_actor::pointer self, const std::string& domain) {
  if (!begun) return;
  const auto* state = ledger.find(domain);
  ATLAS_ASSERT(state != nullptr, "a domain is compared that has no event");
  auto& watch = watches[domain];
  plan(domain, *state, watch);
  run_order(self, *state, watch);
  const bool is_idle = watch.look == 0 && watch.order == 0 && watch.advice == 0;
  if (!state->claimed) held.erase(domain);
  if (!state->claimed && is_idle) watches.erase(domain);
}

void DomainKeeperState::run_order(domain_keeper_actor::pointer self, const DomainState& state,
                                  Watch& watch) {
  if (!state.order) {
    if (watch.order != 0) {
      // Its outcome is recorded, or it is nobody's any more: then the call ends early.
      jobs.erase(std::exchange(watch.order, 0));
    }
    watch.lost_orders = 0;
    watch.order_again_at = 0;
    return;
  }
  if (watch.order != 0 || cleaning != 0) return;
  const auto now = config.clock->now();
  if (now < watch.order_again_at) return wake_at(self, watch.order_again_at);
  if (watch.lost_orders >= k_lost_orders_max) {
    const auto effect = state.order->effect;
    return report(self, state.name,
                  TakeFailed{effect, failed_as(pb::CERTIFICATE_PROBLEM_LOCAL,
                                               "what orders certificates died again and again; the "
                                               "server's log says of what")});
  }
  // One that was begun before a start of the server is asked for in any case: it may be there.
  const auto left = std::max(state.order->deadline - now, patience_with(*state.order));
  ATLAS_PROBE(state.order->deadline < now, "an order was taken up after its deadline");
  CertificateJob job;
  job.effect = state.order->effect;
  job.names = state.order->names;
  job.directory = state.order->directory;
  job.renews = state.order->renews;
  job.unreached_by = state.unreached_by;
  job.remaining = std::chrono::microseconds(left);
  watch.order = begin_job(self, OrderWork{std::move(job)},
                          std::chrono::microseconds(left + k_order_patience_us));
}

void DomainKeeperState::run_due(domain_keeper_actor::pointer self) {
  if (!begun) return;
  const auto now = config.clock->now();
  while (!warnings.empty() && warnings.begin()->first <= now) {
    const auto domain = warnings.extract(warnings.begin()).value().second;
    watches[domain].warning_due.reset();
    report(self, domain, WarnOfExpiry{});  // whose record plans the next one
  }
  if (!warnings.empty()) wake_at(self, warnings.begin()->first);
  ask_for_advice(self);
  release_held();
  const auto looking = [this] {
    return static_cast<std::size_t>(std::count_if(jobs.begin(), jobs.end(), [](const auto& item) {
      return std::holds_alternative<LookUpWork>(item.second.work);
    }));
  };
  // Each authority has a limit of its own, and one that is reached keeps no name from the other
  // that is due there.
  for (const std::size_t at : {0U, 1U}) {
    const auto allowed_at = ledger.order_allowed_at(config.settings.rules, at == 1);
    auto& due = orders[at];
    while (!due.empty() && due.begin()->first <= now && allowed_at <= now) {
      const auto domain = due.begin()->second;
      if (hold(domain)) continue;
      if (!has_order_room()) break;
      look(self, domain, true);
    }
    if (due.empty()) continue;
    const auto wake = std::max(due.begin()->first, allowed_at);
    if (wake > now) wake_at(self, wake);  // else the end of an order comes back here
  }
  while (!looks.empty() && looks.begin()->first <= now && looking() < k_looks_max) {
    const auto domain = looks.begin()->second;
    look(self, domain, false);
  }
  if (!looks.empty() && looks.begin()->first > now) wake_at(self, looks.begin()->first);
}

bool DomainKeeperState::hold(const std::string& domain) {
  const auto& state = *ledger.find(domain);
  const auto waits = ledger.held_order(
      state, config.settings.rules, registered_domain(config.engine, domain), config.clock->now());
  if (!waits) {
    held.erase(domain);
    return false;
  }
  auto& watch = watches[domain];
  orders[watch.order_at].erase({*watch.order_due, domain});
  watch.order_due = waits->until;
  orders[watch.order_at].emplace(waits->until, domain);
  if (held.insert(domain).second) {
    log_event("domains", "order_held", {{"domain", domain}, {"reason", waits->reason}});
  }
  return true;
}

// They are due again when they were without the limit, and held anew as far as it says so.
void DomainKeeperState::release_held() {
  if (!std::exchange(held_are_stale, false)) return;
  for (const auto& domain : held) plan(domain, *ledger.find(domain), watches[domain]);
}

// Its turn has come, and all orders before it are in the ledger.
bool DomainKeeperState::limits_allow(const DomainState& state, bool at_second) const {
  const auto now = config.clock->now();
  const auto& rules = config.settings.rules;
  return ledger.order_allowed_at(rules, at_second) <= now &&
         ledger.new_order_allowed_at(state, rules, registered_domain(config.engine, state.name),
                                     at_second, now) <= now;
}

void DomainKeeperState::ask_for_advice(domain_keeper_actor::pointer self) {
  const auto now = config.clock->now();
  const auto asking = std::count_if(jobs.begin(), jobs.end(), [](const auto& item) {
    return std::holds_alternative<AdviceWork>(item.second.work);
  });
  auto room = k_advices_max - asking;
  while (!advices.empty() && advices.begin()->first <= now && room-- > 0) {
    const auto domain = advices.extract(advices.begin()).value().second;
    auto& watch = watches[domain];
    watch.advice_due.reset();
    watch.advice_asked_at = now;
    const auto& installed = *ledger.find(domain)->installed;
    watch.advice_asked_for = installed.fingerprint;
    watch.advice = begin_job(self, AdviceWork{domain, installed.fingerprint, installed.directory},
                             k_advice_limit);
  }
  // When there is no room, the end of a question comes back here.
  if (!advices.empty() && advices.begin()->first > now) wake_at(self, advices.begin()->first);
}

void DomainKeeperState::wake_at(domain_keeper_actor::pointer self, TimestampUs due) {
  if (armed_for != 0 && armed_for <= due) return;
  armed_for = due;
  const auto left = std::max<TimestampUs>(due - config.clock->now(), 1'000);
  self->delayed_send(self, std::chrono::microseconds(left), DomainsDue{++armed});
}

void DomainKeeperState::look(domain_keeper_actor::pointer self, const std::string& domain,
                             bool to_order) {
  auto& watch = watches[domain];
  watch.looked_at = config.clock->now();
  watch.ordering_look = to_order;
  const auto& rules = config.settings.rules;
  watch.look = begin_job(self, LookUpWork{domain, {rules.directory, rules.fallback_directory}},
                         k_look_limit);
  plan(domain, *ledger.find(domain), watch);
}

}  // namespace atlasflow::actors
