#include "server/stop_signal.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.hpp"

namespace atlasflow::server {
namespace {

// A signal handler reaches nothing but statics.
std::atomic<int> g_event{-1};
std::atomic<bool> g_told{false};
static_assert(std::atomic<int>::is_always_lock_free && std::atomic<bool>::is_always_lock_free);

void on_signal(int number) {
  const int saved = errno;
  if (g_told.exchange(true)) ::_exit(128 + number);
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(g_event.load(), &one, sizeof one);
  errno = saved;
}

void handle(int number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = SA_RESTART;
  ::sigemptyset(&action.sa_mask);
  ::sigaction(number, &action, nullptr);
}

}  // namespace

StopSignal::StopSignal() {
  g_event = ::eventfd(0, EFD_CLOEXEC);
  ATLAS_ASSERT(g_event >= 0, "eventfd failed");
  g_told = false;
  handle(SIGTERM, on_signal);
  handle(SIGINT, on_signal);
}

StopSignal::~StopSignal() {
  handle(SIGTERM, SIG_DFL);
  handle(SIGINT, SIG_DFL);
  ::close(g_event.exchange(-1));
}

void StopSignal::wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(g_event.load(), &one, sizeof one);
}

bool StopSignal::wait_for(std::chrono::milliseconds at_most) const {
  const auto until = std::chrono::steady_clock::now() + at_most;
  for (;;) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        until - std::chrono::steady_clock::now());
    pollfd waiting{g_event.load(), POLLIN, 0};
    const int ready =
        ::poll(&waiting, 1, static_cast<int>(std::max<std::int64_t>(left.count(), 0)));
    if (ready == 1) return true;
    if (ready == 0 || errno != EINTR) return false;
  }
}

void StopSignal::wait() const {
  std::uint64_t count = 0;
  while (::read(g_event.load(), &count, sizeof count) < 0 && errno == EINTR) {
  }
}

}  // namespace atlasflow::server
