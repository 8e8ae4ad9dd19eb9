// storage/secrets of the simulated machine: only whether a value is there, and that one which was
// removed is opened no more. Outlives the lives, as a folder does. One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/world/world.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::sim {

class WorldSecrets final : public storage::SecretStore {
 public:
  explicit WorldSecrets(World& world) : world_(world) {}
  // From now on nothing is removed: the process is gone.
  void kill() { dead_ = true; }

  Result<storage::SealedRef> seal(std::string_view context, std::string_view) override {
    return storage::SealedRef{world_.seal(context), "digest"};
  }
  Result<std::string> open(std::string_view, const std::string& ref) override {
    if (world_.sealed.contains(ref)) return std::string("value");
    return fail(ErrorCode::not_found, "there is no sealed value of that name");
  }
  Result<std::vector<std::string>> refs() override {
    return std::vector<std::string>(world_.sealed.begin(), world_.sealed.end());
  }
  Result<void> remove(const std::vector<std::string>& refs) override {
    if (dead_) return fail(ErrorCode::unavailable, "the control plane was killed");
    for (const auto& ref : refs) {
      world_.sealed.erase(ref);
      world_.unsealed.insert(ref);
    }
    return {};
  }

 private:
  World& world_;
  bool dead_ = false;
};

}  // namespace atlasflow::sim
