// All domains: a fold of the whole log. What one domain's decision needs of the others: who has a
// domain above it, where visitors are sent, and how many orders went out of late. Pure.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "events/domain.hpp"
#include "events/fields.hpp"

namespace atlasflow {

// An order that waits for the limit on new certificates of one registered domain.
struct HeldOrder {
  TimestampUs until = 0;
  std::string reason;  // a sentence without its full stop
};

class DomainLedger {
 public:
  // In position order. Records of other streams may come and change nothing, but for the settings
  // and the end of a project.
  void apply(const StreamId& stream, const pb::Event& event, TimestampUs recorded_at);

  // Every name that was ever claimed.
  [[nodiscard]] const std::map<std::string, DomainState>& domains() const { return domains_; }
  // Null: no event.
  [[nodiscard]] const DomainState* find(const std::string& name) const;
  // The nearest domain above the name that a project other than this one has claimed and proved.
  [[nodiscard]] const DomainState* foreign_parent(const std::string& name,
                                                  const ProjectId& project) const;
  // Whether one more order stays within rules.orders_per_three_hours; else when it does. Each of
  // both authorities counts its own.
  [[nodiscard]] TimestampUs order_allowed_at(const DomainRules& rules,
                                             bool at_second = false) const;
  // When one more order for the domain stays within rules.new_certificates_per_week; 0: at once, as
  // for each renewal. What authorities count by is `registered`, the public suffix of the name and
  // one label more, by whoever knows these suffixes: all names there share the limit, each of both
  // authorities counting its own. An order under way counts as its certificate will.
  [[nodiscard]] TimestampUs new_order_allowed_at(const DomainState& state, const DomainRules& rules,
                                                 const std::string& registered, bool at_second,
                                                 TimestampUs now) const;
  // Nothing: no order is due for it, or none that has to wait for that.
  [[nodiscard]] std::optional<HeldOrder> held_order(const DomainState& state,
                                                    const DomainRules& rules,
                                                    const std::string& registered,
                                                    TimestampUs now) const;
  // Whether the domain may go to who asks for it: for seven days, and while its project is there.
  [[nodiscard]] bool may_take_over(const DomainState& state, TimestampUs now) const;
  // Why the visitors of a project's domain can't be sent to that other name; empty: they can.
  [[nodiscard]] std::string why_no_redirect(const std::string& name, const ProjectId& project,
                                            const std::string& to) const;
  // Where they are sent now: nowhere while the other domain can't answer them, or sends its own
  // visitors on.
  [[nodiscard]] const DomainState* redirect_of(const DomainState& state) const;
  // Where a project's default hostname sends its visitors; null: nowhere.
  [[nodiscard]] const DomainState* primary_domain(const ProjectId& project) const;
  // That have one.
  [[nodiscard]] const std::map<ProjectId, std::string>& primary_domains() const {
    return primary_domains_;
  }
  // Claims of projects that were deleted.
  [[nodiscard]] std::set<std::string> orphaned() const;

 private:
  ATLAS_OWN_FIELDS(DomainLedger, domains, deleted, primary_domains, ordered_at, ordered_at_second)

  std::map<std::string, DomainState> domains_;
  std::set<ProjectId> deleted_;
  std::map<ProjectId, std::string> primary_domains_;  // as the projects' settings have them
  std::deque<TimestampUs> ordered_at_;                // the newest k_orders_kept
  std::deque<TimestampUs> ordered_at_second_;         // the same, at the second authority
  static constexpr std::size_t k_orders_kept = 1'024;
};

}  // namespace atlasflow
