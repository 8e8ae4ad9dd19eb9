// A small HTTP/1.1 server: an accept thread per listener and a thread per connection, both owned by
// the HttpServer and joined by its end. Handlers run on connection threads, so a handler may block.
// For few, trusted or short-lived clients; the edge is the server for everybody else.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <thread>

#include "api/listener.hpp"
#include "api/router.hpp"

namespace atlasflow::api {

struct HttpServerLimits {
  std::size_t connections_max = 128;                      // one more is answered with 503
  std::uint64_t body_bytes_in_memory_max = 256ULL << 20;  // over all connections; beyond it 503
  std::chrono::milliseconds head_timeout{10'000};         // from a head's first byte to its end
  std::chrono::milliseconds body_idle_timeout{30'000};    // between two reads of a body
  std::chrono::milliseconds body_timeout{300'000};        // for a whole body
  std::chrono::milliseconds keep_alive_timeout{30'000};   // between two requests
  std::chrono::milliseconds write_idle_timeout{30'000};   // a client that takes nothing is cut
  std::chrono::milliseconds stop_grace{1'000};            // for the answers under way at a stop
};

// What the connections of one server share.
struct ServerState {
  ServerState(const Router& routes, HttpServerLimits server_limits, std::string server_name);

  [[nodiscard]] bool stopping() const { return stopping_flag.load(std::memory_order_acquire); }

  const Router& router;
  const HttpServerLimits limits;
  const std::string name;
  FileDescriptor stop_event;  // readable for ever once the server stops
  std::atomic<bool> stopping_flag = false;
  std::atomic<std::uint64_t> body_bytes_in_memory = 0;
};

class HttpServer {
 public:
  // The router must outlive the server.
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(Listener listener,
                                                                 const Router& router,
                                                                 HttpServerLimits limits = {});
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // Ends streams and idle connections at once, lets handlers that run finish, and joins everything.
  // Not from a handler. May be called twice.
  void stop();

  [[nodiscard]] std::uint16_t port() const { return listener_.port(); }

 private:
  struct Worker {
    std::atomic<bool> done = false;
    std::thread thread;
  };

  HttpServer(Listener listener, const Router& router, HttpServerLimits limits);
  void accept_loop();
  void accept_one();
  void serve(FileDescriptor client);
  void join_finished_workers();

  Listener listener_;
  ServerState state_;
  FileDescriptor worker_done_;  // counts ends of workers, so that they are joined soon
  std::list<Worker> workers_;   // the accept thread's; stop() takes it over after joining that
  std::thread accept_thread_;
};

}  // namespace atlasflow::api
