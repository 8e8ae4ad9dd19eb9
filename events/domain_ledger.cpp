#include "events/domain_ledger.hpp"

#include <algorithm>

namespace atlasflow {
namespace {

constexpr TimestampUs k_window_us = 3 * k_hour_us;

}  // namespace

void DomainLedger::apply(const StreamId& stream, const pb::Event& event, TimestampUs recorded_at) {
  if (event.has_project_deleted()) {
    deleted_.insert(project_of(stream));
    return;
  }
  const auto name = domain_of(stream);
  if (name.empty()) return;
  auto& state = domains_[name];
  state.name = name;
  evolve(state, event, recorded_at);
  if (!event.has_certificate_ordered()) return;
  ordered_at_.push_back(recorded_at);
  if (ordered_at_.size() > k_orders_kept) ordered_at_.pop_front();
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

TimestampUs DomainLedger::order_allowed_at(const DomainRules& rules) const {
  const auto limit = static_cast<std::size_t>(
      std::clamp<std::int32_t>(rules.orders_per_three_hours, 1, k_orders_kept));
  if (ordered_at_.size() < limit) return 0;
  return ordered_at_[ordered_at_.size() - limit] + k_window_us;
}

bool DomainLedger::may_take_over(const DomainState& state, TimestampUs now) const {
  return state.take_over && state.take_over->is_open(now) &&
         !deleted_.contains(state.take_over->project);
}

std::set<std::string> DomainLedger::orphaned() const {
  std::set<std::string> names;
  for (const auto& [name, state] : domains_) {
    if (state.claimed && deleted_.contains(state.project)) names.insert(name);
  }
  return names;
}

}  // namespace atlasflow
