#include "edge/proxy/worker.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <random>
#include <string>
#include <system_error>
#include <utility>

#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/log.hpp"

namespace atlasflow::edge {
namespace {

// A turn is bounded: so many events, so many of those who had their part of the last one, and each
// of them a few reads (client_connection.cpp). All together take a few milliseconds at the worst,
// which is how long anybody waits for a worker.
constexpr int k_events_max = 64;
constexpr std::size_t k_again_per_turn = 32;
constexpr std::size_t k_held_per_turn = 32;
constexpr std::size_t k_expired_per_turn = 256;
constexpr std::int64_t k_sweep_ms = 200;
constexpr int k_idle_ms = 60'000;  // then the keys of tickets may have had their time

}  // namespace

Result<void> Worker::start(std::vector<FileDescriptor> http, std::vector<FileDescriptor> https) {
  auto tls = make_tls_context(&context_.certificates, context_.ticket_keys);
  if (!tls) return tl::unexpected(tls.error());
  context_.tls = std::move(*tls);
  wake_fd_ = FileDescriptor(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  const Poller& poller = context_.poller;
  if (!context_.poller.open() || !wake_fd_.valid() ||
      !poller.watch(wake_fd_.get(), wake_endpoint_, EPOLLIN) ||
      !context_.admission.listen(std::move(http), false) ||
      !context_.admission.listen(std::move(https), true)) {
    return fail(ErrorCode::internal,
                "cannot watch the edge's sockets; is the limit on open files too low?",
                std::generic_category().message(errno));
  }
  std::random_device device;
  context_.random.seed((static_cast<std::uint64_t>(device()) << 32U) | device());
  update_clock();
  // Signals are the main thread's business.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return {};
}

void Worker::stop() {
  stopping_.store(true);
  if (!thread_.joinable()) return;
  wake();
  thread_.join();
}

void Worker::wake() {
  const std::uint64_t one = 1;
  (void)!::write(wake_fd_.get(), &one, sizeof one);  // only fails when a wake is pending already
}

void Worker::post(std::function<void(Worker&)> command) {
  {
    const std::lock_guard lock(commands_mutex_);
    commands_.push_back(std::move(command));
  }
  wake();
}

void Worker::update_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  context_.now_us = static_cast<std::int64_t>(now.tv_sec) * 1'000'000 + now.tv_nsec / 1'000;
  context_.now_ms = context_.now_us / 1'000;
}

int Worker::poll_timeout_ms() const {
  if (!context_.run_again.empty() || !context_.woken.empty() ||
      context_.admission.handshakes_wait() || context_.upstreams.h2c().is_due()) {
    return 0;
  }
  std::int64_t until = context_.held.next_due_ms();
  if (!context_.clients.empty() || context_.upstreams.size() != 0 || context_.admission.paused()) {
    until = std::min(until, next_sweep_ms_);
  }
  if (until == INT64_MAX) return k_idle_ms;
  return static_cast<int>(std::clamp<std::int64_t>(until - context_.now_ms, 0, k_sweep_ms));
}

void Worker::run() {
  pthread_setname_np(pthread_self(), ("edge-" + std::to_string(context_.index)).c_str());
  context_.clock.attach();
  while (!stopping_.load(std::memory_order_relaxed)) turn();
  close_all();
  run_commands();  // whoever waits for one gets its answer
  context_.clock.rest();
}

void Worker::turn() {
  adopt_snapshot();
  run_commands();
  context_.clock.rest();
  std::array<epoll_event, k_events_max> events;
  const int count =
      ::epoll_wait(context_.poller.fd(), events.data(), k_events_max, poll_timeout_ms());
  context_.clock.step();
  update_clock();
  adopt_snapshot();
  dispatch_all({events.data(), static_cast<std::size_t>(std::max(count, 0))});
  run_again();
  context_.admission.serve_handshakes();
  serve_held();
  serve_woken();
  // What they have for applications that speak HTTP/2 leaves together; that makes room for more.
  if (context_.upstreams.h2c().serve()) serve_woken();
  if (context_.now_ms >= next_sweep_ms_) sweep();
  context_.clients.free_removed();
  context_.upstreams.free_closed();
}

// Upstreams first: what one of them said, or that it left, is known before a request is given to
// it, and those that have answered are free for the requests of this turn.
void Worker::dispatch_all(std::span<const epoll_event> events) {
  const auto is_upstream = [](const Endpoint& of) {
    return of.kind == Endpoint::Kind::upstream || of.kind == Endpoint::Kind::h2c;
  };
  for (const epoll_event& event : events) {
    auto& endpoint = *static_cast<Endpoint*>(event.data.ptr);
    if (is_upstream(endpoint)) dispatch(endpoint, event.events);
  }
  serve_woken();
  for (const epoll_event& event : events) {
    auto& endpoint = *static_cast<Endpoint*>(event.data.ptr);
    if (!is_upstream(endpoint)) dispatch(endpoint, event.events);
  }
}

void Worker::serve_woken() {
  // Nobody is woken by one who has its part.
  while (ClientConnection* client = context_.woken.pop_front()) client->pump();
}

void Worker::close_all() {
  context_.end_reason = "edge_stopped";
  while (!context_.clients.empty()) {
    ClientConnection& client = context_.clients.back();
    if (client.serves()) {
      client.close();
    } else {
      client.close_orderly();
    }
  }
  context_.upstreams.close_all();
  context_.clients.free_removed();
  context_.upstreams.free_closed();
}

void Worker::run_again() {
  // Those that queue up meanwhile have their part in the next turn.
  for (std::size_t i = std::min(context_.run_again.size(), k_again_per_turn); i > 0; --i) {
    ClientConnection* client = context_.run_again.pop_front();
    if (client == nullptr) return;
    client->pump();
  }
}

void Worker::adopt_snapshot() {
  const RouteSnapshot* latest = context_.shared.snapshot.load(std::memory_order_acquire);
  if (latest == context_.snapshot) return;
  context_.snapshot = latest;
  context_.certificates = latest->certificates.get();
  context_.upstreams.close_idle_of_retired_targets();
  adopted_.store(latest->serial, std::memory_order_release);
  context_.shared.on_adopted();
}

void Worker::run_commands() {
  std::vector<std::function<void(Worker&)>> commands;
  {
    const std::lock_guard lock(commands_mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) {
    context_.clock.step();
    command(*this);
    context_.clock.heed();  // there is no connection to cut
  }
}

void Worker::dispatch(Endpoint& endpoint, std::uint32_t events) {
  switch (endpoint.kind) {
    case Endpoint::Kind::wake: {
      std::uint64_t count = 0;
      (void)!::read(wake_fd_.get(), &count, sizeof count);
      return;
    }
    case Endpoint::Kind::listener:
      context_.admission.accept_some(static_cast<Listener&>(endpoint));
      return;
    case Endpoint::Kind::client: {
      auto& client = static_cast<ClientConnection&>(endpoint);
      if (client.closed()) return;
      client.on_events(events);
      client.pump();
      return;
    }
    case Endpoint::Kind::h2c: {
      auto& connection = static_cast<H2cConnection&>(endpoint);
      if (connection.closed()) return;
      connection.on_events(events);
      connection.pump();
      return;
    }
    case Endpoint::Kind::upstream: {
      auto& upstream = static_cast<UpstreamConnection&>(endpoint);
      if (upstream.closed) return;
      upstream.socket.on_events(events);
      if (upstream.stream != nullptr) {
        upstream.stream->connection().wake(*upstream.stream);
      } else if (upstream.socket.readable()) {
        // A pooled connection has nothing to say but goodbye; bytes after a response are not
        // trusted.
        context_.upstreams.close(upstream);
      }
      return;
    }
  }
}

void Worker::serve_held() {
  for (std::size_t served = 0; served < k_held_per_turn; ++served) {
    Stream* stream = context_.held.take_due(context_.now_ms);
    if (stream == nullptr) return;
    ClientConnection& connection = stream->connection();
    stream->attempt();
    connection.wake(*stream);
  }
}

void Worker::sweep() {
  next_sweep_ms_ = context_.now_ms + k_sweep_ms;
  if (context_.admission.paused() && !context_.retiring) context_.admission.resume();
  if (const std::uint64_t lines = context_.log.left_out(); lines != 0) {
    log_event(LogLevel::warn, "edge", "log",
              {{"result", "shortened"}, {"worker", context_.index}, {"lines_left_out", lines}});
  }
  const std::int64_t now_s = std::time(nullptr);
  if (context_.ticket_keys.advance(now_s)) context_.shared.tickets.advance(now_s);
  std::size_t left = k_expired_per_turn;
  expire_streams(left);
  expire_clients(left);
  context_.upstreams.close_outdated();
}

// Both stop when the turn has had its share: the others have theirs in the next turn.
void Worker::expire_streams(std::size_t& left) {
  for (std::size_t i = context_.streams.size(); i-- > 0;) {
    if (i >= context_.streams.size()) continue;  // an expired one took others with it
    Stream& stream = context_.streams[i];
    if (!stream.deadline().passed(context_.now_ms)) continue;
    if (left == 0) {
      next_sweep_ms_ = context_.now_ms;
      return;
    }
    --left;
    stream.expire();
  }
}

void Worker::expire_clients(std::size_t& left) {
  for (std::size_t i = context_.clients.size(); i-- > 0;) {
    if (i >= context_.clients.size()) continue;
    ClientConnection& client = context_.clients[i];
    if (left == 0) {
      next_sweep_ms_ = context_.now_ms;
      return;
    }
    if (client.deadline().passed(context_.now_ms)) {
      --left;
      client.expire();
    } else if (client.tend()) {
      --left;
    }
  }
}

std::uint64_t Worker::cut(const Target& target) {
  std::uint64_t count = 0;
  for (std::size_t i = context_.streams.size(); i-- > 0;) {
    if (i >= context_.streams.size()) continue;
    Stream& stream = context_.streams[i];
    if (stream.target() != &target) continue;
    ++count;
    stream.cut_for_drain();
  }
  return count;
}

std::size_t Worker::retire(bool close_idle) {
  if (!std::exchange(context_.retiring, true)) {
    context_.admission.close_listeners();
    for (std::size_t i = context_.clients.size(); i-- > 0;) {
      if (i < context_.clients.size()) context_.clients[i].retire();
    }
  }
  for (std::size_t i = context_.clients.size(); close_idle && i-- > 0;) {
    // What is on its way to the client has deadlines of its own.
    const Wait wait = context_.clients[i].deadline().wait();
    if (!context_.clients[i].serves() && wait != Wait::client_write && wait != Wait::linger) {
      context_.clients[i].close_orderly();
    }
  }
  return context_.clients.size();
}

void Worker::close_idle(Target& target) { context_.upstreams.close_idle(target); }

}  // namespace atlasflow::edge
