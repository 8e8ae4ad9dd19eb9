// The sharp edges of CAF 0.17.6, walled off: promises that are always answered, errors that carry a
// sentence, spawning that the composition root decides, exceptions that say what they were,
// children that end with their parent.
#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <utility>

#include <caf/all.hpp>

#include "base/error.hpp"

namespace atlasflow::actors {

// A caf::error that carries an Error's code and text through a message, and back.
[[nodiscard]] caf::error to_caf(const Error& error);
[[nodiscard]] Error from_caf(const caf::error& error);

// A response promise that answers with an error when it is dropped: CAF drops it in silence, and
// the requester would wait for its timeout.
template <typename T>
class PromiseGuard {
 public:
  explicit PromiseGuard(caf::typed_response_promise<T> promise) : promise_(std::move(promise)) {}
  PromiseGuard(PromiseGuard&& other) noexcept
      : promise_(std::move(other.promise_)), open_(std::exchange(other.open_, false)) {}
  PromiseGuard& operator=(PromiseGuard&& other) noexcept {
    if (this != &other) {
      drop();
      promise_ = std::move(other.promise_);
      open_ = std::exchange(other.open_, false);
    }
    return *this;
  }
  ~PromiseGuard() { drop(); }

  void deliver(T value) {
    open_ = false;
    promise_.deliver(std::move(value));
  }
  void fail(const Error& error) {
    open_ = false;
    promise_.deliver(to_caf(error));
  }

 private:
  void drop() {
    if (!open_) return;
    open_ = false;
    promise_.deliver(
        to_caf(Error{ErrorCode::unavailable, "the control plane is stopping; try again", ""}));
  }

  caf::typed_response_promise<T> promise_;
  bool open_ = true;
};

// How the composition root wants actors that block to be spawned: a thread each in production, none
// in the simulator and the tests (a detached actor starts a real thread even under CAF's test
// scheduler).
struct SpawnMode {
  bool detach_blocking = true;
};

template <typename Function, typename... Args>
auto spawn_blocking(caf::local_actor* self, const SpawnMode& mode, Function function,
                    Args... args) {
  if (mode.detach_blocking) {
    return self->template spawn<caf::detached>(function, std::move(args)...);
  }
  return self->spawn(function, std::move(args)...);
}

// What a handler throws ends its actor, with a reason that says what it was; whoever supervises the
// actor starts another. CAF's own handler prints to standard error and says nothing.
void end_of_exceptions(caf::scheduled_actor* self);

// The handle of an actor that ends with whoever holds this. CAF runs no exit handler in an actor
// that throws or quits, and its children would live on; but its state is destroyed on every way
// out, so a parent keeps its children there, by these.
template <typename Handle>
class Child {
 public:
  Child() = default;
  Child(Handle handle) : handle_(std::move(handle)) {}  // NOLINT(google-explicit-constructor)
  Child(Child&& other) noexcept : handle_(std::exchange(other.handle_, Handle{})) {}
  Child& operator=(Child&& other) noexcept {
    if (this != &other) {
      end();
      handle_ = std::exchange(other.handle_, Handle{});
    }
    return *this;
  }
  ~Child() { end(); }

  [[nodiscard]] const Handle& operator*() const { return handle_; }
  [[nodiscard]] caf::actor_addr address() const {
    return handle_ ? handle_.address() : caf::actor_addr{};
  }
  explicit operator bool() const { return static_cast<bool>(handle_); }

 private:
  void end() {
    if (handle_) caf::anon_send_exit(handle_, caf::exit_reason::user_shutdown);
  }

  Handle handle_{};
};

// A std::stop_source that asks to stop when it ends, as std::jthread does: a child that blocks in
// an engine reads no exit message meanwhile.
class StopScope {
 public:
  StopScope() = default;
  StopScope(StopScope&& other) noexcept = default;
  StopScope& operator=(StopScope&& other) noexcept {
    if (this != &other) {
      request_stop();
      source_ = std::move(other.source_);
    }
    return *this;
  }
  ~StopScope() { request_stop(); }

  [[nodiscard]] std::stop_token get_token() const { return source_.get_token(); }
  void request_stop() { static_cast<void>(source_.request_stop()); }

 private:
  std::stop_source source_;
};

// Of every request that a person, a sender or GitHub waits for. What an actor asks of the log for
// itself waits without end: a slow disk is no reason to die.
constexpr auto k_request_timeout = std::chrono::seconds(30);

}  // namespace atlasflow::actors
