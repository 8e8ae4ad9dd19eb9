// What a simulated effect does while it takes its time: its fiber sleeps until it is due, until it
// is told to stop, or until its control plane is killed. One per life of a control plane; one
// thread.
#pragma once

#include <memory>
#include <stop_token>
#include <vector>

#include "sim/world/agenda.hpp"
#include "sim/world/fibers.hpp"

namespace atlasflow::sim {

class Waits {
 public:
  enum class End : std::uint8_t { due, stopped, killed };
  static constexpr TimestampUs k_for_ever = -1;

  Waits(Agenda& agenda, Fibers& fibers) : agenda_(agenda), fibers_(fibers) {}
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

  // From inside a fiber; from outside it returns at once.
  End wait(TimestampUs delay, const std::stop_token& stop = {});
  // Whoever waits, and will wait, is told so at once.
  void kill();

  // Fibers whose wait is over. The owner takes one out and resumes it.
  [[nodiscard]] std::vector<Fiber*>& ready() { return *ready_; }

 private:
  struct Sleeper {
    Fiber* fiber = nullptr;
    bool awake = false;
    End end = End::due;
  };
  using Ready = std::shared_ptr<std::vector<Fiber*>>;
  static void wake(Sleeper& sleeper, End end, std::vector<Fiber*>& ready);

  Agenda& agenda_;
  Fibers& fibers_;
  bool killed_ = false;
  std::vector<std::shared_ptr<Sleeper>> asleep_;
  Ready ready_ = std::make_shared<std::vector<Fiber*>>();
};

}  // namespace atlasflow::sim
