// A server for one test: on a loopback port or a unix socket, with TLS or without, one request
// after the other on a thread of its own. It hands each request to the test whole and sends the
// bytes that the test gives for it, however wrong they are.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/file_descriptor.hpp"

namespace atlasflow::base_test {

// A certificate for "localhost", signed by itself, as PEM.
struct PeerIdentity {
  std::string certificate;
  std::string key;
};
[[nodiscard]] PeerIdentity make_peer_identity();

class HttpPeer {
 public:
  // Called on the peer's thread. Empty bytes: the connection is closed without an answer.
  using Answer = std::function<std::string(const std::string& request)>;

  // Empty socket: 127.0.0.1, any port. With an identity the peer speaks TLS.
  explicit HttpPeer(Answer answer, std::filesystem::path socket = {}, PeerIdentity identity = {});
  ~HttpPeer();
  HttpPeer(const HttpPeer&) = delete;
  HttpPeer& operator=(const HttpPeer&) = delete;

  [[nodiscard]] std::string authority() const { return "127.0.0.1:" + std::to_string(port_); }
  [[nodiscard]] int port() const { return port_; }
  [[nodiscard]] std::vector<std::string> requests() const;
  [[nodiscard]] int connections() const { return connections_.load(); }

 private:
  void run();
  void serve(int client);

  Answer answer_;
  PeerIdentity identity_;
  int port_ = 0;  // set by what opens the listener
  FileDescriptor listener_;
  FileDescriptor stop_;
  std::atomic<int> connections_ = 0;
  mutable std::mutex mutex_;
  std::vector<std::string> requests_;
  std::thread thread_;
};

// "HTTP/1.1 200 OK" with that body.
[[nodiscard]] std::string ok(std::string_view body);

}  // namespace atlasflow::base_test
