#include "events/domain_ledger.hpp"

#include <algorithm>
#include <vector>

#include "base/probe.hpp"
#include "events/domain_authority.hpp"

namespace atlasflow {
namespace {

constexpr TimestampUs k_window_us = 3 * k_hour_us;
constexpr TimestampUs k_new_window_us = 7 * k_day_us;

// It leads here, and visitors find a certificate.
bool answers(const DomainState* state) {
  return state != nullptr && state->claimed && state->ready && state->certificate() != nullptr;
}

const pb::Settings* settings_of(const pb::Event& event) {
  if (event.has_project_created()) return &event.project_created().settings();
  return event.has_settings_changed() ? &event.settings_changed().settings() : nullptr;
}

}  // namespace

void DomainLedger::apply(const StreamId& stream, const pb::Event& event, TimestampUs recorded_at) {
  if (event.has_project_deleted()) {
    deleted_.insert(project_of(stream));
    primary_domains_.erase(project_of(stream));
    return;
  }
  if (const auto* settings = settings_of(event)) {
    if (settings->primary_domain().empty()) {
      primary_domains_.erase(project_of(stream));
    } else {
      primary_domains_[project_of(stream)] = settings->primary_domain();
    }
    return;
  }
  const auto name = domain_of(stream);
  if (name.empty()) return;
  auto& state = domains_[name];
  state.name = name;
  evolve(state, event, recorded_at);
  if (!event.has_certificate_ordered()) return;
  auto& ordered_at =
      event.certificate_ordered().fallback_reason().empty() ? ordered_at_ : ordered_at_second_;
  ordered_at.push_back(recorded_at);
  if (ordered_at.size() > k_orders_kept) ordered_at.pop_front();
}

const DomainState* DomainLedger::find(const std::string& name) const {
  const auto found = domains_.find(name);
  return found == domains_.end() ? nullptr : &found->second;
}

const DomainState* DomainLedger::foreign_parent(const std::string& name,
                                                const ProjectId& project) const {
  for (auto dot = name.find('.'); dot != std::string::npos; dot = name.find('.', dot + 1)) {
    const auto* above = find(name.substr(dot + 1));
    if (above == nullptr || !above->claimed || above->project == project) continue;
    if (above->proved_project == above->project) return above;
  }
  return nullptr;
}

TimestampUs DomainLedger::order_allowed_at(const DomainRules& rules, bool at_second) const {
  const auto& ordered_at = at_second ? ordered_at_second_ : ordered_at_;
  const auto limit = static_cast<std::size_t>(
      std::clamp<std::int32_t>(rules.orders_per_three_hours, 1, k_orders_kept));
  if (ordered_at.size() < limit) return 0;
  return ordered_at[ordered_at.size() - limit] + k_window_us;
}

TimestampUs DomainLedger::new_order_allowed_at(const DomainState& state, const DomainRules& rules,
                                               const std::string& registered, bool at_second,
                                               TimestampUs now) const {
  if (rules.new_certificates_per_week <= 0) return 0;
  if (at_second && rules.fallback_directory.empty()) return 0;
  if (renews_own(state, at_second ? rules.fallback_directory : rules.directory)) return 0;
  const auto below = "." + registered;
  std::vector<TimestampUs> times;
  for (const auto& [name, other] : domains_) {
    if (name != registered && !name.ends_with(below)) continue;
    const auto& issued = at_second ? other.second.new_at : other.new_at;
    times.insert(times.end(), issued.begin(), issued.end());
    const auto& order = other.order;
    if (order && order->renews.empty() && order->is_fallback() == at_second) times.push_back(now);
  }
  const auto limit = static_cast<std::size_t>(rules.new_certificates_per_week);
  if (times.size() < limit) return 0;
  // When the oldest of the newest `limit` counts no more there is room for another one.
  std::sort(times.begin(), times.end());
  return times[times.size() - limit] + k_new_window_us;
}

std::optional<HeldOrder> DomainLedger::held_order(const DomainState& state,
                                                  const DomainRules& rules,
                                                  const std::string& registered,
                                                  TimestampUs now) const {
  const auto due = next_order(state, rules, now);
  if (!due) return std::nullopt;
  const auto until = new_order_allowed_at(state, rules, registered, due->is_fallback, now);
  if (until <= std::max(due->at, now)) return std::nullopt;
  ATLAS_PROBE(true, "a new certificate waited for the limit of its registered domain");
  return HeldOrder{until, std::to_string(rules.new_certificates_per_week) +
                              " new certificates for names of '" + registered + "' are all that " +
                              host_of(due->directory) +
                              " is asked for in seven days (new_certificates_per_week); the one "
                              "for '" +
                              state.name + "' is ordered in " + length_of(until - now)};
}

bool DomainLedger::may_take_over(const DomainState& state, TimestampUs now) const {
  return state.take_over && state.take_over->is_open(now) &&
         !deleted_.contains(state.take_over->project);
}

std::string DomainLedger::why_no_redirect(const std::string& name, const ProjectId& project,
                                          const std::string& to) const {
  if (to.empty()) return {};
  if (to == name) return "'" + name + "' can't redirect to itself; name another domain";
  const auto* target = find(to);
  if (target == nullptr || !target->claimed || target->project != project) {
    return "'" + to +
           "' is no domain of the same project; claim it first with atlasflow domains add";
  }
  if (!target->redirect_to.empty()) {
    return "'" + to + "' redirects to '" + target->redirect_to +
           "' itself; redirect there, or end that redirect first";
  }
  for (const auto& [other, state] : domains_) {
    if (state.claimed && state.project == project && state.redirect_to == name) {
      return "'" + other + "' redirects to '" + name +
             "', which so has to answer itself; end that "
             "redirect first";
    }
  }
  return {};
}

const DomainState* DomainLedger::redirect_of(const DomainState& state) const {
  if (!state.claimed || state.redirect_to.empty()) return nullptr;
  const auto* target = find(state.redirect_to);
  const bool can =
      answers(target) && target->project == state.project && target->redirect_to.empty();
  return can ? target : nullptr;
}

const DomainState* DomainLedger::primary_domain(const ProjectId& project) const {
  const auto named = primary_domains_.find(project);
  if (named == primary_domains_.end()) return nullptr;
  const auto* primary = find(named->second);
  if (!answers(primary) || primary->project != project) return nullptr;
  const auto* on = redirect_of(*primary);
  return on == nullptr ? primary : on;
}

std::set<std::string> DomainLedger::orphaned() const {
  std::set<std::string> names;
  for (const auto& [name, state] : domains_) {
    if (state.claimed && deleted_.contains(state.project)) names.insert(name);
  }
  return names;
}

}  // namespace atlasflow
