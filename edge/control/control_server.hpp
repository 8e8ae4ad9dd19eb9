// Answers the control plane in the edge's process: takes connections from the control socket and
// carries out one call on each. Owned by the edge's process; a thread accepts, and each connection
// has one of its own, as a drain may take minutes.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "edge/control/control_channel.hpp"
#include "edge/control/control_message.hpp"
#include "edge/edge.hpp"

namespace atlasflow::edge {

class ControlServer {
 public:
  struct Answers {
    std::string build_id;
    std::string config_digest;
    std::function<void()> on_retire;  // before it retires: another process is in charge
    std::function<void()> on_stop;    // the process should end; called once or more
  };
  ControlServer(LocalEdge& edge, Answers answers) : edge_(edge), answers_(std::move(answers)) {}
  ~ControlServer();  // ends waiting drains, then every connection
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  void start(FileDescriptor listener);

 private:
  struct Connection {
    FileDescriptor socket;
    std::thread thread;
    std::atomic<bool> done{false};
  };

  void accept_loop();
  void accept_one();
  void serve(const FileDescriptor& socket);
  void hand_over(const FileDescriptor& socket, Deadline deadline);
  [[nodiscard]] wire::Reply carry_out(const wire::Request& request);
  [[nodiscard]] wire::Status status(bool with_table) const;
  [[nodiscard]] wire::Given given(const std::string& after) const;

  LocalEdge& edge_;
  Answers answers_;
  FileDescriptor listener_;
  FileDescriptor wake_;
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::list<Connection> connections_;
  std::thread acceptor_;
};

}  // namespace atlasflow::edge
