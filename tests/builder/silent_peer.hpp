// A host on loopback that takes every connection and then does what a test says, to all of them.
// Owned by the test's thread.
#pragma once

#include <cstdint>
#include <functional>
#include <list>
#include <stop_token>
#include <thread>

#include "base/file_descriptor.hpp"

namespace atlasflow::builder {

class SilentPeer {
 public:
  // Called once for each connection, by a thread of its own; stop: the peer goes.
  using Talk = std::function<void(int connection, const std::stop_token& stop)>;

  explicit SilentPeer(Talk talk = {});  // says nothing
  ~SilentPeer();
  SilentPeer(const SilentPeer&) = delete;
  SilentPeer& operator=(const SilentPeer&) = delete;
  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void serve(const std::stop_token& stop);

  Talk talk_;
  FileDescriptor listener_;
  std::uint16_t port_ = 0;
  std::jthread thread_;
};

}  // namespace atlasflow::builder
