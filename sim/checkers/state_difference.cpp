#include "sim/checkers/state_difference.hpp"

#include "sim/checkers/fold_difference.hpp"

namespace atlasflow::sim {

std::string difference(const DeploymentState& left, const DeploymentState& right) {
  return fold_difference(left, right);
}

}  // namespace atlasflow::sim
