// One worker: a thread with an epoll loop that gives its connections their turns. Owned by the edge
// server. start(), post(), adopted() and stop() may be called from any thread, all else runs on the
// worker's own.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include <sys/epoll.h>

#include "edge/proxy/worker_context.hpp"

namespace atlasflow::edge {

class Worker {
 public:
  // The configuration's limits are for all workers; each has its part of them.
  Worker(Shared& shared, std::size_t index, std::size_t workers)
      : context_(shared, index, workers) {}
  ~Worker() { stop(); }
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;

  [[nodiscard]] Result<void> start(std::vector<FileDescriptor> http,
                                   std::vector<FileDescriptor> https);
  void stop();

  void wake();
  // Runs on the worker's thread soon.
  void post(std::function<void(Worker&)> command);
  // The snapshot that this worker has switched to; it holds no pointer into an older one.
  [[nodiscard]] std::uint64_t adopted() const { return adopted_.load(std::memory_order_acquire); }

  // Any thread.
  [[nodiscard]] const WorkerMetrics& metrics() const { return context_.metrics; }
  [[nodiscard]] TurnClock& clock() { return context_.clock; }

  // Commands.
  // Ends what is in flight there; returns how much that was.
  [[nodiscard]] std::uint64_t cut(const Target& target);
  void close_idle(Target& target);
  // Accepts nothing more, and closes those that serve nothing if told to; returns how many clients
  // there still are.
  [[nodiscard]] std::size_t retire(bool close_idle);

 private:
  void run();
  void turn();
  void adopt_snapshot();
  void run_commands();
  void dispatch(Endpoint& endpoint, std::uint32_t events);
  void dispatch_all(std::span<const epoll_event> events);
  void serve_woken();
  void run_again();
  void serve_held();
  void sweep();
  void expire_streams(std::size_t& left);
  void expire_clients(std::size_t& left);
  void close_all();
  [[nodiscard]] int poll_timeout_ms() const;
  void update_clock();

  WorkerContext context_;
  std::thread thread_;
  FileDescriptor wake_fd_;
  Endpoint wake_endpoint_{Endpoint::Kind::wake};
  std::atomic<std::uint64_t> adopted_{0};
  std::atomic<bool> stopping_{false};
  std::int64_t next_sweep_ms_ = 0;

  std::mutex commands_mutex_;
  std::vector<std::function<void(Worker&)>> commands_;
};

}  // namespace atlasflow::edge
