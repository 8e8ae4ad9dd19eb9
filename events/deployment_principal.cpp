// asked_by: who is behind a command to a deployment.
#include "events/deployment.hpp"

namespace atlasflow {
namespace {

// The part that carries out the step, and tells what came of it.
Principal doer_of(pb::Step step) {
  switch (step) {
    case pb::STEP_CLONE:
    case pb::STEP_BUILD:
    case pb::STEP_PUSH_IMAGE:
      return Principal::system("builder_pool");
    case pb::STEP_ROUTE:
      return Principal::system("edge");
    default:
      return Principal::system("vm_hosts");
  }
}

struct AskedBy {
  Principal operator()(const Start& /*command*/) const { return Principal::system("project"); }
  Principal operator()(const Supersede& /*command*/) const { return Principal::system("project"); }
  Principal operator()(const Override& /*command*/) const { return Principal::system("project"); }
  Principal operator()(const Recover& /*command*/) const { return Principal::system("deployment"); }
  Principal operator()(const Succeeded& command) const {
    switch (command.outcome.kind_case()) {
      case pb::Event::kCloned:
      case pb::Event::kBuilt:
      case pb::Event::kImagePushed:
        return Principal::system("builder_pool");
      case pb::Event::kRouted:
      case pb::Event::kDrained:
        return Principal::system("edge");
      default:
        return Principal::system("vm_hosts");
    }
  }
  Principal operator()(const Failed& command) const { return doer_of(command.step); }
  Principal operator()(const HealthTimedOut& /*command*/) const {
    return Principal::system("vm_hosts");
  }
  Principal operator()(const HealthChanged& /*command*/) const {
    return Principal::system("vm_hosts");
  }
  Principal operator()(const VmEnded& /*command*/) const { return Principal::system("vm_hosts"); }
  Principal operator()(const VmHostGone& /*command*/) const {
    return Principal::system("vm_hosts");
  }
  Principal operator()(const TimerDue& /*command*/) const { return Principal::system("timers"); }
  Principal operator()(const DeadlinePassed& /*command*/) const {
    return Principal::system("timers");
  }
  // All others name it.
  template <typename Command>
  Principal operator()(const Command& command) const {
    return command.by;
  }
};

}  // namespace

Principal asked_by(const DeploymentCommand& command) { return std::visit(AskedBy{}, command); }

}  // namespace atlasflow
