// What the handlers of commands share, and those of what the world reports; for decide() alone.
#pragma once

#include <string>
#include <vector>

#include "events/deployment.hpp"

namespace atlasflow::rules {

using Events = std::vector<pb::Event>;

struct Decision {
  const DeploymentState& state;
  const Moment& moment;

  [[nodiscard]] tl::unexpected<Error> refuse(const std::string& what,
                                             const std::string& advice = {}) const {
    return fail(ErrorCode::conflict, what + " deployment " + state.id.str() + ", which is " +
                                         std::string(name_of(state.status)) + advice);
  }
  [[nodiscard]] bool ending() const {
    return state.status == DeploymentStatus::cancelling ||
           state.status == DeploymentStatus::failing;
  }
  [[nodiscard]] TimestampUs drain_deadline() const {
    return moment.now + state.push.settings().drain_deadline_us();
  }
};

// Outcomes of effects, news of VMs and hosts, and times that have come. A report of what nobody
// waits for is refused as stale, or leads to nothing where it may well come late.
struct Reports : Decision {
  Result<Events> operator()(const Succeeded& command) const;
  Result<Events> operator()(const Failed& command) const;
  Result<Events> operator()(const HealthTimedOut& command) const;
  Result<Events> operator()(const HealthChanged& command) const;
  Result<Events> operator()(const VmEnded& command) const;
  Result<Events> operator()(const VmHostGone& command) const;
  Result<Events> operator()(const TimerDue& command) const;
  Result<Events> operator()(const DeadlinePassed& command) const;

 private:
  [[nodiscard]] tl::unexpected<Error> stale(const EffectId& effect) const;
  [[nodiscard]] const Instance* checked(const VmId& vm_id) const;
  [[nodiscard]] Result<Events> healthy(const Succeeded& command) const;
  [[nodiscard]] Result<Events> drained(const Succeeded& command) const;
  [[nodiscard]] Result<Events> failed_step(const Failed& command) const;
  [[nodiscard]] Result<Events> failed_instance(const Failed& command,
                                               const Instance& instance) const;
  [[nodiscard]] pb::Event failure_event(pb::Step step, const Failed& command, bool again) const;
  [[nodiscard]] pb::Event retry_scheduled(pb::Step step, std::int32_t failed_attempt,
                                          std::int32_t slot) const;
  [[nodiscard]] Events restart_unhealthy(std::int32_t slot) const;
};

}  // namespace atlasflow::rules
