#include "events/earlier_builds.hpp"

#include <algorithm>

namespace atlasflow {

void note_build(std::vector<pb::EarlierBuild>& builds, const DeploymentId& id,
                const pb::Built& built) {
  if (built.inputs().empty()) return;
  const auto known = std::find_if(builds.begin(), builds.end(), [&built](const auto& build) {
    return build.inputs() == built.inputs();
  });
  if (!built.reused_from().empty()) {
    // It is used again, and so the last to be forgotten. One that is not known was dropped by a
    // build without the cache while this one took it.
    if (known != builds.end()) std::rotate(builds.begin(), known, known + 1);
    return;
  }
  if (known != builds.end()) builds.erase(known);
  pb::EarlierBuild build;
  build.set_deployment(id.str());
  build.set_inputs(built.inputs());
  build.set_image_id(built.image_id());
  builds.insert(builds.begin(), std::move(build));
  if (builds.size() > k_earlier_builds_max) builds.pop_back();
}

const pb::EarlierBuild* same_build(const std::vector<pb::EarlierBuild>& builds,
                                   const std::string& inputs) {
  if (inputs.empty()) return nullptr;
  const auto found = std::find_if(builds.begin(), builds.end(), [&inputs](const auto& build) {
    return build.inputs() == inputs;
  });
  return found == builds.end() ? nullptr : &*found;
}

}  // namespace atlasflow
