#include "sim/world/waits.hpp"

namespace atlasflow::sim {

void Waits::wake(Sleeper& sleeper, End end, std::vector<Fiber*>& ready) {
  if (std::exchange(sleeper.awake, true)) return;
  sleeper.end = end;
  ready.push_back(sleeper.fiber);
}

Waits::End Waits::wait(TimestampUs delay, const std::stop_token& stop) {
  if (killed_) return End::killed;
  if (stop.stop_requested()) return End::stopped;
  if (delay == 0 || fibers_.current() == nullptr) return End::due;
  auto sleeper = std::make_shared<Sleeper>();
  sleeper->fiber = fibers_.current();
  if (delay != k_for_ever) {
    // The entry may outlive this object, when the control plane is killed.
    agenda_.after(delay, [sleeper, ready = ready_] { wake(*sleeper, End::due, *ready); });
  }
  asleep_.push_back(sleeper);
  {
    const std::stop_callback on_stop(stop,
                                     [&sleeper, this] { wake(*sleeper, End::stopped, *ready_); });
    fibers_.pause();
  }
  std::erase(asleep_, sleeper);
  return sleeper->end;
}

void Waits::kill() {
  killed_ = true;
  for (auto& sleeper : asleep_) wake(*sleeper, End::killed, *ready_);
}

}  // namespace atlasflow::sim
