#include "sim/world/fibers.hpp"

#include <utility>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include "base/assert.hpp"

namespace atlasflow::sim {
namespace {

namespace context = boost::context;

// RocksDB's write path and Protobuf's text need some of it; only touched pages cost memory.
constexpr std::size_t k_stack_bytes = 512UL << 10U;

}  // namespace

class Fiber {
 public:
  context::fiber there;  // where the fiber stands while it does not run
  context::fiber back;   // where its caller stands while it runs
  const std::function<void()>* body = nullptr;
  bool ended = true;

  void leave() { back = std::move(back).resume(); }
};

Fibers::Fibers() = default;

Fibers::~Fibers() {
  ATLAS_ASSERT_EQ(paused_, std::size_t{0});
  ATLAS_ASSERT(current_ == nullptr, "a fiber ends the fibers");
}

void Fibers::run(const std::function<void()>& body) {
  if (idle_.empty()) {
    auto fiber = std::make_unique<Fiber>();
    auto* self = fiber.get();
    fiber->there =
        context::fiber(std::allocator_arg, context::protected_fixedsize_stack(k_stack_bytes),
                       [self](context::fiber&& caller) {
                         self->back = std::move(caller);
                         for (;;) {
                           (*self->body)();
                           self->ended = true;
                           self->leave();
                         }
                         return std::move(self->back);
                       });
    idle_.push_back(self);
    all_.push_back(std::move(fiber));
  }
  auto* fiber = idle_.back();
  idle_.pop_back();
  fiber->body = &body;
  fiber->ended = false;
  enter(fiber);
}

void Fibers::pause() {
  ATLAS_ASSERT(current_ != nullptr, "only a fiber can pause");
  auto* self = current_;
  ++paused_;
  self->leave();
}

void Fibers::resume(Fiber* fiber) {
  --paused_;
  enter(fiber);
}

void Fibers::enter(Fiber* fiber) {
  auto* const outer = std::exchange(current_, fiber);
  fiber->there = std::move(fiber->there).resume();
  current_ = outer;
  if (fiber->ended) idle_.push_back(fiber);
}

}  // namespace atlasflow::sim
