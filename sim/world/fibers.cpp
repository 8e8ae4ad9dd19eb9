#include "sim/world/fibers.hpp"

#include <cstddef>
#include <utility>

#include <boost/context/fiber.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>

#include "base/assert.hpp"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

namespace atlasflow::sim {
namespace {

namespace context = boost::context;

// AddressSanitizer is told of every change of stacks: it looks for locals on the one it knows
// (sanitizer/common_interface_defs.h). Otherwise these are empty.
struct Stack {
  const void* bottom = nullptr;
  std::size_t bytes = 0;
};
#if defined(__SANITIZE_ADDRESS__)
// Its red zones make each frame several times as large.
constexpr std::size_t k_stack_bytes = 4UL << 20U;
void begin_switch(void** frames, const Stack& to) {
  __sanitizer_start_switch_fiber(frames, to.bottom, to.bytes);
}
void end_switch(void* frames, Stack* from) {
  __sanitizer_finish_switch_fiber(frames, from == nullptr ? nullptr : &from->bottom,
                                  from == nullptr ? nullptr : &from->bytes);
}
#else
// RocksDB's write path and Protobuf's text need some of it; only touched pages cost memory.
constexpr std::size_t k_stack_bytes = 512UL << 10U;
void begin_switch(void** /*frames*/, const Stack& /*to*/) {}
void end_switch(void* /*frames*/, Stack* /*from*/) {}
#endif

}  // namespace

class Fiber {
 public:
  context::fiber there;  // where the fiber stands while it does not run
  context::fiber back;   // where its caller stands while it runs
  Stack stack;
  Stack caller;  // the stack that leave() goes back to
  const std::function<void()>* body = nullptr;
  bool ended = true;

  void leave() {
    void* frames = nullptr;
    begin_switch(&frames, caller);
    back = std::move(back).resume();
    end_switch(frames, &caller);
  }
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
    context::protected_fixedsize_stack stacks(k_stack_bytes);
    const auto stack = stacks.allocate();  // grows down from sp
    fiber->stack = {static_cast<const std::byte*>(stack.sp) - stack.size, stack.size};
    fiber->there =
        context::fiber(std::allocator_arg, context::preallocated(stack.sp, stack.size, stack),
                       stacks, [self](context::fiber&& caller) {
                         end_switch(nullptr, &self->caller);
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
  void* frames = nullptr;
  begin_switch(&frames, fiber->stack);
  fiber->there = std::move(fiber->there).resume();
  end_switch(frames, nullptr);
  current_ = outer;
  if (fiber->ended) idle_.push_back(fiber);
}

}  // namespace atlasflow::sim
