#include "api/http_server.hpp"

#include <array>
#include <cerrno>
#include <system_error>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "api/connection.hpp"
#include "base/log.hpp"

namespace atlasflow::api {
namespace {

constexpr int k_accept_pause_ms = 100;  // after EMFILE and its like, which would otherwise spin

// Signals belong to the main thread; a worker that took SIGTERM would die with a request half done.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &previous_);
  }
  ~SignalsBlocked() { ::pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t previous_{};
};

void add_one(const FileDescriptor& event) {
  const std::uint64_t one = 1;
  // It fails only when the counter is full, and then the reader is awake anyway.
  [[maybe_unused]] const auto written = ::write(event.get(), &one, sizeof(one));
}

}  // namespace

ServerState::ServerState(const Router& routes, HttpServerLimits server_limits,
                         std::string server_name)
    : router(routes),
      limits(server_limits),
      name(std::move(server_name)),
      stop_event(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

HttpServer::HttpServer(Listener listener, const Router& router, HttpServerLimits limits)
    : listener_(std::move(listener)),
      state_(router, limits, listener_.name()),
      worker_done_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(Listener listener, const Router& router,
                                                      HttpServerLimits limits) {
  // New because: the constructor is private, so that a server that does not listen cannot exist.
  std::unique_ptr<HttpServer> server(new HttpServer(std::move(listener), router, limits));
  if (!server->state_.stop_event.valid() || !server->worker_done_.valid()) {
    return fail(ErrorCode::internal,
                "The API server has no file descriptors left; raise the limit.",
                std::generic_category().message(errno));
  }
  try {
    const SignalsBlocked blocked;
    server->accept_thread_ = std::thread([raw = server.get()] { raw->accept_loop(); });
  } catch (const std::system_error& error) {
    return fail(ErrorCode::internal, "The API server cannot start a thread.", error.what());
  }
  log_event("api", "listening", {{"on", server->state_.name}});
  return server;
}

HttpServer::~HttpServer() { stop(); }

void HttpServer::stop() {
  state_.stopping_flag.store(true, std::memory_order_release);
  add_one(state_.stop_event);
  if (accept_thread_.joinable()) accept_thread_.join();
  for (auto& worker : workers_) worker.thread.join();
  workers_.clear();
}

void HttpServer::accept_loop() {
  while (!state_.stopping()) {
    std::array<pollfd, 3> watched{{{listener_.fd(), POLLIN, 0},
                                   {state_.stop_event.get(), POLLIN, 0},
                                   {worker_done_.get(), POLLIN, 0}}};
    if (::poll(watched.data(), watched.size(), -1) < 0) continue;
    if (watched[2].revents != 0) join_finished_workers();
    if (watched[0].revents != 0 && !state_.stopping()) accept_one();
  }
}

void HttpServer::accept_one() {
  FileDescriptor client(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!client.valid()) {
    if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED) return;
    log_event(LogLevel::warn, "api", "accept_failed",
              {{"on", state_.name}, {"cause", std::generic_category().message(errno)}});
    pollfd stop{state_.stop_event.get(), POLLIN, 0};
    ::poll(&stop, 1, k_accept_pause_ms);
    return;
  }
  if (listener_.port() != 0) {
    const int on = 1;
    ::setsockopt(client.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  }
  join_finished_workers();
  if (workers_.size() >= state_.limits.connections_max) {
    refuse_connection(client.get());
    return;
  }
  auto& worker = workers_.emplace_back();
  try {
    worker.thread = std::thread([this, &worker, fd = std::move(client)]() mutable {
      serve(std::move(fd));
      worker.done.store(true, std::memory_order_release);
      add_one(worker_done_);
    });
  } catch (const std::system_error& error) {
    log_event(LogLevel::error, "api", "thread_failed",
              {{"on", state_.name}, {"cause", error.what()}});
    workers_.pop_back();
  }
}

void HttpServer::serve(FileDescriptor client) {
  try {
    Connection(std::move(client), state_).run();
  } catch (const std::exception& error) {
    // Out of memory, in practice: this connection ends, the others go on.
    log_event(LogLevel::error, "api", "connection_failed",
              {{"on", state_.name}, {"cause", error.what()}});
  }
}

void HttpServer::join_finished_workers() {
  std::uint64_t ended = 0;
  [[maybe_unused]] const auto size = ::read(worker_done_.get(), &ended, sizeof(ended));
  for (auto worker = workers_.begin(); worker != workers_.end();) {
    if (worker->done.load(std::memory_order_acquire)) {
      worker->thread.join();
      worker = workers_.erase(worker);
    } else {
      ++worker;
    }
  }
}

}  // namespace atlasflow::api
