#include "tests/builder/silent_peer.hpp"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

namespace atlasflow::builder {

SilentPeer::SilentPeer(Talk talk)
    : talk_(std::move(talk)), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(listener_.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_EQ(::listen(listener_.get(), 64), 0);
  port_ = ntohs(address.sin_port);
  thread_ = std::jthread([this](const std::stop_token& stop) { serve(stop); });
}

SilentPeer::~SilentPeer() {
  thread_.request_stop();
  thread_.join();
}

void SilentPeer::serve(const std::stop_token& stop) {
  std::list<FileDescriptor> connections;
  std::list<std::jthread> talks;
  while (!stop.stop_requested()) {
    pollfd waits{listener_.get(), POLLIN, 0};
    if (::poll(&waits, 1, 20) <= 0) continue;
    auto& connection =
        connections.emplace_back(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
    if (!talk_) continue;
    talks.emplace_back(
        [this, fd = connection.get()](const std::stop_token& over) { talk_(fd, over); });
  }
  for (auto& talk : talks) talk.request_stop();
  for (auto& connection : connections) ::shutdown(connection.get(), SHUT_RDWR);
  talks.clear();
}

}  // namespace atlasflow::builder
