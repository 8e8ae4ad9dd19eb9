#include "sim/checkers/state_difference.hpp"

#include <algorithm>
#include <optional>

namespace atlasflow::sim {
namespace {

template <typename T>
bool same(const T& left, const T& right) {
  return left == right;
}
bool same(const pb::PushReceived& left, const pb::PushReceived& right) {
  return left.SerializeAsString() == right.SerializeAsString();
}
bool same(const std::vector<pb::BaseImage>& left, const std::vector<pb::BaseImage>& right) {
  return std::equal(left.begin(), left.end(), right.begin(), right.end(),
                    [](const auto& a, const auto& b) {
                      return a.name() == b.name() && a.digest() == b.digest();
                    });
}
bool same(const std::optional<Failure>& left, const std::optional<Failure>& right) {
  if (!left || !right) return left.has_value() == right.has_value();
  const auto& [step, fault, reason] = *left;
  return step == right->step && fault == right->fault && reason == right->reason;
}

// What is named in the brackets is compared.
#define ATLAS_COMPARE(member) \
  if (!same(member, right.member)) return #member;

// The phases and what they hold compare as values, by all of their members.
std::string difference(const Instance& left, const Instance& right) {
  const auto& [slot, phase, leaving, refusals, attempts, crashes, losses] = left;
  ATLAS_COMPARE(slot)
  ATLAS_COMPARE(phase)
  ATLAS_COMPARE(leaving)
  ATLAS_COMPARE(refusals)
  ATLAS_COMPARE(attempts)
  ATLAS_COMPARE(crashes)
  ATLAS_COMPARE(losses)
  return "";
}

std::string difference(const std::map<std::int32_t, Instance>& left,
                       const std::map<std::int32_t, Instance>& right) {
  if (left.size() != right.size()) return "instances";
  for (const auto& [slot, instance] : left) {
    const auto found = right.find(slot);
    if (found == right.end()) return "instances";
    if (auto member = difference(instance, found->second); !member.empty()) {
      return "instances[" + std::to_string(slot) + "]." + member;
    }
  }
  return "";
}

}  // namespace

std::string difference(const DeploymentState& left, const DeploymentState& right) {
  const auto& [id, version, status, push, rollback_to, redeployed_of, redeployment, requested_by,
               subject, author, notices, cloned, skip_reason, build, image_id, stack, toolchain,
               base_images, image, release_owed, release_vm, newest_release_vm, instances, replicas,
               newest_vm_id, hostnames, generation, routed, routed_at, restarts, crashed_early,
               stopped_by, intent_kind, intent, intent_deadline, base_sha, attempts, retry, failure,
               cancelled_by, cancel_reason, superseded_by, retired_by, retire_reason] = left;
  ATLAS_COMPARE(id)
  ATLAS_COMPARE(version)
  ATLAS_COMPARE(status)
  ATLAS_COMPARE(push)
  ATLAS_COMPARE(rollback_to)
  ATLAS_COMPARE(redeployed_of)
  ATLAS_COMPARE(redeployment)
  ATLAS_COMPARE(requested_by)
  ATLAS_COMPARE(subject)
  ATLAS_COMPARE(author)
  ATLAS_COMPARE(notices)
  ATLAS_COMPARE(cloned)
  ATLAS_COMPARE(skip_reason)
  ATLAS_COMPARE(build)
  ATLAS_COMPARE(image_id)
  ATLAS_COMPARE(stack)
  ATLAS_COMPARE(toolchain)
  ATLAS_COMPARE(base_images)
  ATLAS_COMPARE(image)
  ATLAS_COMPARE(release_owed)
  ATLAS_COMPARE(release_vm)
  ATLAS_COMPARE(newest_release_vm)
  ATLAS_COMPARE(replicas)
  ATLAS_COMPARE(newest_vm_id)
  ATLAS_COMPARE(hostnames)
  ATLAS_COMPARE(generation)
  ATLAS_COMPARE(routed)
  ATLAS_COMPARE(routed_at)
  ATLAS_COMPARE(restarts)
  ATLAS_COMPARE(crashed_early)
  ATLAS_COMPARE(stopped_by)
  ATLAS_COMPARE(intent_kind)
  ATLAS_COMPARE(intent)
  ATLAS_COMPARE(intent_deadline)
  ATLAS_COMPARE(base_sha)
  ATLAS_COMPARE(attempts)
  ATLAS_COMPARE(retry)
  ATLAS_COMPARE(failure)
  ATLAS_COMPARE(cancelled_by)
  ATLAS_COMPARE(cancel_reason)
  ATLAS_COMPARE(superseded_by)
  ATLAS_COMPARE(retired_by)
  ATLAS_COMPARE(retire_reason)
#undef ATLAS_COMPARE
  return difference(instances, right.instances);
}

}  // namespace atlasflow::sim
