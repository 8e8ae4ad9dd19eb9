#include "edge/proxy/worker.hpp"

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <string>
#include <system_error>

#include <netinet/tcp.h>
#include <pthread.h>
#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace atlasflow::edge {
namespace {

// A turn is bounded: so many events, so many of those who had their part of the last one, and each
// of them a few reads (client.cpp). All together take a few milliseconds at the worst, which is how
// long anybody waits for a worker.
constexpr int k_events_max = 64;
constexpr std::size_t k_again_per_turn = 32;
constexpr std::size_t k_held_per_turn = 32;
constexpr std::size_t k_expired_per_turn = 256;
constexpr int k_log_lines_per_second = 10;
constexpr std::int64_t k_sweep_ms = 200;
constexpr std::size_t k_idle_per_target_max = 128;
constexpr std::uint32_t k_edge_events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;

template <typename T>
std::unique_ptr<T> take_out(std::vector<std::unique_ptr<T>>& list, std::size_t index) {
  std::unique_ptr<T> taken = std::move(list[index]);
  if (index + 1 != list.size()) {
    list[index] = std::move(list.back());
    list[index]->index = index;
  }
  list.pop_back();
  return taken;
}

http::HttpLimits message_limits(const EdgeLimits& limits) {
  http::HttpLimits of;
  of.target_bytes_max = static_cast<std::size_t>(limits.url_bytes_max);
  of.head_bytes_max = static_cast<std::size_t>(limits.head_bytes_max);
  of.fields_max = static_cast<std::size_t>(limits.fields_max);
  return of;
}

}  // namespace

bool LogBudget::allows(std::int64_t now_ms) {
  if (second_ != now_ms / 1000) {
    second_ = now_ms / 1000;
    lines_ = 0;
  }
  if (++lines_ <= k_log_lines_per_second) return true;
  ++left_out_;
  return false;
}

Worker::Worker(Shared& shared, std::size_t index, std::size_t workers)
    : shared_(shared),
      index_(index),
      connections_max_(static_cast<std::size_t>(shared.config.limits.connections_max) / workers),
      requests_max_(std::max<std::int64_t>(
          1, shared.config.limits.requests_per_instance / static_cast<std::int64_t>(workers))),
      message_limits_(message_limits(shared.config.limits)),
      handshake_rates_(shared.config.limits.handshakes_per_address == 0
                           ? 0
                           : std::max<std::int32_t>(1, shared.config.limits.handshakes_per_address /
                                                           static_cast<std::int32_t>(workers))) {}

Result<void> Worker::start(std::vector<Fd> http, std::vector<Fd> https) {
  auto tls = make_tls_context(&certificates_, shared_.ticket_keys);
  if (!tls) return tl::unexpected(tls.error());
  tls_ = std::move(*tls);
  epoll_ = Fd(::epoll_create1(EPOLL_CLOEXEC));
  wake_fd_ = Fd(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  for (const bool with_tls : {false, true}) {
    for (Fd& socket : with_tls ? https : http) {
      const std::uint16_t port = local_port(socket);
      listeners_.push_back(std::make_unique<Listener>(std::move(socket), with_tls, port));
    }
  }
  bool watching =
      epoll_.valid() && wake_fd_.valid() && watch(wake_fd_.get(), wake_endpoint_, EPOLLIN);
  for (const auto& listener : listeners_) {
    watching = watching && watch(listener->socket.get(), *listener, EPOLLIN);
  }
  if (!watching) {
    return fail(ErrorCode::internal,
                "cannot watch the edge's sockets; is the limit on open files "
                "too low?",
                std::generic_category().message(errno));
  }
  std::random_device device;
  random_.seed((static_cast<std::uint64_t>(device()) << 32U) | device());
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

bool Worker::watch(int fd, Endpoint& endpoint, std::uint32_t events) const {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &endpoint;
  return ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) == 0;
}

void Worker::update_clock() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  now_ms_ = static_cast<std::int64_t>(now.tv_sec) * 1000 + now.tv_nsec / 1'000'000;
}

int Worker::poll_timeout_ms() const {
  if (!run_again_.empty() || !handshakes_[0].empty() || !handshakes_[1].empty()) return 0;
  std::int64_t until = INT64_MAX;
  if (!clients_.empty() || !upstreams_.empty() || !accepting_) until = next_sweep_ms_;
  for (const auto& list : held_) {
    if (!list.empty()) until = std::min(until, list.front()->exchange.retry_at_ms);
  }
  if (until == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<std::int64_t>(until - now_ms_, 0, k_sweep_ms));
}

void Worker::run() {
  pthread_setname_np(pthread_self(), ("edge-" + std::to_string(index_)).c_str());
  clock_.attach();
  std::array<epoll_event, k_events_max> events{};
  while (!stopping_.load(std::memory_order_relaxed)) {
    adopt_snapshot();
    run_commands();
    clock_.rest();
    const int count = ::epoll_wait(epoll_.get(), events.data(), k_events_max, poll_timeout_ms());
    clock_.step();
    update_clock();
    adopt_snapshot();
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      dispatch(*static_cast<Endpoint*>(event.data.ptr), event.events);
    }
    run_again();
    serve_handshakes();
    serve_held();
    if (now_ms_ >= next_sweep_ms_) sweep();
    closed_clients_.clear();
    closed_upstreams_.clear();
  }
  while (!clients_.empty()) close_idle_client(*clients_.back());
  while (!upstreams_.empty()) close_upstream(*upstreams_.back());
  closed_clients_.clear();
  closed_upstreams_.clear();
  run_commands();  // whoever waits for one gets its answer
  clock_.rest();
}

void Worker::run_again() {
  // Those that queue up meanwhile have their part in the next turn.
  for (std::size_t i = std::min(run_again_.size(), k_again_per_turn); i > 0; --i) {
    ClientConnection* client = run_again_.pop_front();
    if (client == nullptr) return;
    pump(*client);
  }
}

void Worker::adopt_snapshot() {
  const RouteSnapshot* latest = shared_.snapshot.load(std::memory_order_acquire);
  if (latest == snapshot_) return;
  snapshot_ = latest;
  certificates_ = latest->certificates.get();
  for (std::size_t i = upstreams_.size(); i-- > 0;) {
    UpstreamConnection& upstream = *upstreams_[i];
    if (upstream.client == nullptr && upstream.target.retired.load()) close_upstream(upstream);
  }
  adopted_.store(latest->serial, std::memory_order_release);
  shared_.on_adopted();
}

void Worker::run_commands() {
  std::vector<std::function<void(Worker&)>> commands;
  {
    const std::lock_guard lock(commands_mutex_);
    commands.swap(commands_);
  }
  for (const auto& command : commands) {
    clock_.step();
    command(*this);
    clock_.heed();  // there is no connection to cut
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
      accept_some(static_cast<Listener&>(endpoint));
      return;
    case Endpoint::Kind::client: {
      auto& client = static_cast<ClientConnection&>(endpoint);
      if (client.closed) return;
      client.stream.on_events(events);
      pump(client);
      return;
    }
    case Endpoint::Kind::upstream: {
      auto& upstream = static_cast<UpstreamConnection&>(endpoint);
      if (upstream.closed) return;
      upstream.stream.on_events(events);
      if (upstream.client != nullptr) {
        pump(*upstream.client);
      } else if (upstream.stream.readable()) {
        // A pooled connection has nothing to say but goodbye; bytes after a response are not
        // trusted.
        close_upstream(upstream);
      }
      return;
    }
  }
}

void Worker::sweep() {
  next_sweep_ms_ = now_ms_ + k_sweep_ms;
  if (!accepting_ && !retiring_) resume_accepting();
  if (const std::uint64_t lines = log_.left_out(); lines != 0) {
    spdlog::warn("edge=log result=shortened worker={} lines_left_out={}", index_, lines);
  }
  std::size_t expired = 0;
  for (std::size_t i = clients_.size(); i-- > 0;) {
    if (i >= clients_.size()) continue;  // an expired one took others with it
    ClientConnection& client = *clients_[i];
    if (client.deadline_ms <= now_ms_) {
      if (++expired > k_expired_per_turn) {
        next_sweep_ms_ = now_ms_;  // the others in the next turn
        break;
      }
      expire(client);
    } else if (client.wait == Wait::idle && client.parser.idle()) {
      client.parser.release_memory();
    }
  }
  for (std::size_t i = upstreams_.size(); i-- > 0;) {
    UpstreamConnection& upstream = *upstreams_[i];
    if (upstream.client == nullptr && upstream.idle_until_ms <= now_ms_) close_upstream(upstream);
  }
}

void Worker::hold(ClientConnection& client, std::size_t step) {
  Exchange& exchange = client.exchange;
  exchange.held_in = step;
  exchange.retry_at_ms = now_ms_ + k_backoff_ms[step];
  held_[step].push_back(client);
  ++held_by_host_[std::string(client.parser.head().host)];
}

void Worker::release_held(ClientConnection& client) {
  if (!held_[client.exchange.held_in].remove(client)) return;
  const auto it = held_by_host_.find(std::string(client.parser.head().host));
  if (--it->second == 0) held_by_host_.erase(it);
}

void Worker::serve_held() {
  std::size_t served = 0;
  for (auto& list : held_) {
    while (!list.empty() && served < k_held_per_turn) {
      ClientConnection& client = *list.front();
      if (client.exchange.retry_at_ms > now_ms_) break;
      ++served;
      release_held(client);
      attempt(client);
      pump(client);
    }
  }
}

std::uint64_t Worker::cut(const Target& target) {
  std::uint64_t count = 0;
  for (std::size_t i = clients_.size(); i-- > 0;) {
    ClientConnection& client = *clients_[i];
    if (client.exchange.target != &target) continue;
    ++count;
    if (client.phase == Phase::exchange && !client.exchange.response_head_sent) {
      fail_response(client,
                    {504, "drained", "The instance was replaced",
                     "The instance that served this request was replaced before it had answered."});
      pump(client);
    } else {
      close_client(client);
    }
  }
  return count;
}

std::size_t Worker::retire() {
  for (const auto& listener : listeners_) {
    // Another process may listen on the same socket: closing ours would not end the watch.
    (void)::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, listener->socket.get(), nullptr);
    listener->socket.reset();
  }
  retiring_ = true;
  return clients_.size();
}

void Worker::close_idle(Target& target) {
  auto& idle = cell(target).idle;
  while (!idle.empty()) close_upstream(*idle.back());
}

void Worker::close_client(ClientConnection& client) {
  if (client.closed) return;
  client.closed = true;
  drop_upstream(client);
  leave_target(client);
  release_held(client);
  run_again_.remove(client);
  for (auto& list : handshakes_) list.remove(client);
  for (auto& list : quiet_) list.remove(client);
  shared_.connections.leave(client.address_key);
  client.stream.close();
  client.in.clear();
  client.out.clear();
  closed_clients_.push_back(take_out(clients_, client.index));
}

// A TLS client is told, so that it knows that nothing was cut (RFC 8446 section 6.1).
void Worker::close_idle_client(ClientConnection& client) {
  const bool idle = client.phase == Phase::head && client.out.empty() && !client.closed;
  if (idle && client.stream.tls() != nullptr) client.stream.shutdown_write();
  close_client(client);
}

void Worker::close_upstream(UpstreamConnection& upstream) {
  if (upstream.closed) return;
  upstream.closed = true;
  Target::Cell& own = cell(upstream.target);
  if (pooled_.remove(upstream)) std::erase(own.idle, &upstream);
  upstream.stream.close();
  upstream.in.clear();
  closed_upstreams_.push_back(take_out(upstreams_, upstream.index));
  own.connections.fetch_sub(1);  // the last access: the target may be freed after it
}

UpstreamConnection* Worker::take_idle(Target& target) {
  auto& idle = cell(target).idle;
  while (!idle.empty()) {
    UpstreamConnection& upstream = *idle.back();
    // A look whether the upstream has just left, or has said something that nobody asked for: the
    // next request would take it for its answer. Epoll may not have told yet.
    char byte = 0;
    const bool usable = upstream.idle_until_ms > now_ms_ && !upstream.stream.hung_up() &&
                        ::recv(upstream.stream.fd(), &byte, 1, MSG_PEEK) < 0 && errno == EAGAIN;
    if (!usable) {
      close_upstream(upstream);
      continue;
    }
    idle.pop_back();
    pooled_.remove(upstream);
    return &upstream;
  }
  return nullptr;
}

UpstreamConnection* Worker::connect(Target& target) {
  if (!make_room_for_upstream()) return nullptr;
  Fd socket(::socket(target.address.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return nullptr;
  if (target.address.family() != AF_UNIX) {
    const int on = 1;
    (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  const int result = ::connect(socket.get(), target.address.get(), target.address.bytes);
  if (result != 0 && errno != EINPROGRESS) return nullptr;
  auto upstream =
      std::make_unique<UpstreamConnection>(std::move(socket), target, slabs_, message_limits_);
  upstream->connecting = result != 0;
  upstream->index = upstreams_.size();
  UpstreamConnection* made = upstream.get();
  upstreams_.push_back(std::move(upstream));
  cell(target).connections.fetch_add(1);
  made->stream.set_fresh(!made->connecting);
  if (!watch(made->stream.fd(), *made, k_edge_events)) {
    close_upstream(*made);
    return nullptr;
  }
  return made;
}

void Worker::pool_upstream(UpstreamConnection& upstream) {
  Target::Cell& own = cell(upstream.target);
  auto lifetime_ms = static_cast<std::int64_t>(shared_.config.timeouts.upstream_idle.count());
  if (const auto announced = upstream.parser.head().keep_alive_timeout_s) {
    lifetime_ms = std::min<std::int64_t>(lifetime_ms, std::int64_t{*announced} * 1000 - 1000);
  }
  // Still readable: there may be bytes after the response, which the next request must not be
  // given.
  const bool keep = lifetime_ms > 0 && own.idle.size() < k_idle_per_target_max &&
                    !upstream.target.retired.load() && !upstream.stream.hung_up() &&
                    !upstream.stream.readable();
  upstream.idle_until_ms = now_ms_ + lifetime_ms;
  upstream.reused = true;
  if (keep) {
    upstream.client = nullptr;
    own.idle.push_back(&upstream);
    pooled_.push_back(upstream);
  } else {
    close_upstream(upstream);
  }
}

}  // namespace atlasflow::edge
