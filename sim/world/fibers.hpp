// Stacks for actors that block. A production actor that waits for an effect holds a thread; in the
// simulator it holds one of these, so that everything else goes on on the one thread that there is,
// and an effect can take its time, hang, or be cut off in the middle. One owner, one thread. A
// fiber may run another one, as a test does that goes on with a life from inside an effect.
#pragma once

#include <functional>
#include <memory>
#include <vector>

namespace atlasflow::sim {

class Fiber;

class Fibers {
 public:
  Fibers();
  // Every body must have come to its end.
  ~Fibers();
  Fibers(const Fibers&) = delete;
  Fibers& operator=(const Fibers&) = delete;

  // Returns when body has come to its end or to its first pause.
  void run(const std::function<void()>& body);
  // The fiber that runs now; null outside.
  [[nodiscard]] Fiber* current() const { return current_; }
  // Returns once somebody resumes the fiber.
  void pause();
  // Returns when the fiber has come to its end or to its next pause.
  void resume(Fiber* fiber);
  [[nodiscard]] std::size_t paused() const { return paused_; }

 private:
  void enter(Fiber* fiber);

  std::vector<std::unique_ptr<Fiber>> all_;
  std::vector<Fiber*> idle_;
  Fiber* current_ = nullptr;
  std::size_t paused_ = 0;
};

}  // namespace atlasflow::sim
