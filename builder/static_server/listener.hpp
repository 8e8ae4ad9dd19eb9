// Serves a Site over HTTP/1.1: one thread, epoll, nothing kept between requests. Every wait has a
// bound, so that slow and silent clients cost a descriptor for a while and nothing else.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/file_descriptor.hpp"
#include "builder/static_server/answer.hpp"
#include "builder/static_server/site.hpp"
#include "http/parser.hpp"

namespace atlasflow::static_server {

struct ListenerOptions {
  std::uint16_t port = 3000;           // on all addresses; 0: the kernel chooses
  std::size_t connections_max = 1024;  // beyond, the one that has been silent for longest goes
  std::chrono::milliseconds head_max{10'000};   // for a whole request, from its first byte
  std::chrono::milliseconds idle_max{120'000};  // between two requests: longer than a proxy's pool
  std::chrono::milliseconds stall_max{30'000};  // without a byte taken of an answer
  std::chrono::milliseconds drain_max{25'000};  // from SIGTERM on, for answers under way
};

class Listener {
 public:
  // nullptr: the port can't be had; `why` says so.
  [[nodiscard]] static std::unique_ptr<Listener> open(const ListenerOptions& options,
                                                      std::unique_ptr<Site> site, std::string& why);
  [[nodiscard]] std::uint16_t port() const { return port_; }

  // Until SIGTERM or SIGINT, which the caller has blocked: then no connection is taken any more,
  // and answers under way are finished.
  void serve();

 private:
  using Clock = std::chrono::steady_clock;

  struct Connection {
    FileDescriptor socket;
    http::RequestParser parser;
    std::string input;  // arrived and not parsed
    Answer answer;      // what is left of it
    std::size_t head_sent = 0;
    bool answering = false;
    bool peer_ended = false;  // it sends no more; what it asked for is answered
    Clock::time_point since;  // the last change of what it waits for
  };

  Listener(const ListenerOptions& options, std::unique_ptr<Site> site)
      : options_(options), site_(std::move(site)) {}

  void accept_all();
  void turn(int fd);
  bool read_some(Connection& connection);  // false: it is to be closed
  bool parse_some(Connection& connection);
  bool write_some(Connection& connection);
  void watch(const Connection& connection, bool writable);
  void close_overdue(Clock::time_point now);
  void close_longest_idle();
  void begin_drain();

  ListenerOptions options_;
  std::unique_ptr<Site> site_;
  FileDescriptor listener_;
  FileDescriptor epoll_;
  FileDescriptor signals_;
  std::uint16_t port_ = 0;
  std::map<int, Connection> connections_;
  bool draining_ = false;
  Clock::time_point drain_until_;
};

}  // namespace atlasflow::static_server
