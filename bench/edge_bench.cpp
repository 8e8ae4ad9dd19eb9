// What bench/edge.sh puts beside nginx and HAProxy: our edge with one worker and many routes, and
// the clients that make life hard for it.
//
//   edge_bench serve FOLDER BACKEND_PORT ROUTES [unlogged]
//                                                 runs the edge, with its access log unless that is
//                                                 said; prints its two ports, then waits
//   edge_bench probe PORT SECONDS ADDRESS [new]   times a request every few milliseconds, on kept
//                                                 connections or on a new one each; prints p50, p99
//                                                 and maximum in milliseconds, and the failures
//   edge_bench flood PORT SECONDS ADDRESS         as many ClientHellos as one core can send
//   edge_bench idle PORT SECONDS ADDRESS COUNT    so many connections that idle after an answer,
//                                                 opened anew when they are closed
#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file_descriptor.hpp"
#include "edge/edge.hpp"
#include "edge/tls/certificate.hpp"

namespace {

using atlasflow::FileDescriptor;
using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr const char* k_domain = "localhost";  // the one name that every machine resolves
constexpr std::string_view k_request = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
constexpr int k_answer_max_ms = 10'000;

int fail(const std::string& why) {
  std::fprintf(stderr, "edge_bench: %s\n", why.c_str());
  return 1;
}

int serve(const std::string& folder, std::uint16_t backend, int routes, bool logged) {
  spdlog::set_default_logger(spdlog::stderr_logger_mt("edge"));  // standard output is the ports'
  atlasflow::edge::EdgeConfig config;
  config.domain = k_domain;
  config.ca_dir = folder;
  config.redirect_http = false;
  config.workers = 1;
  if (logged) config.access_log_dir = folder + "/access";
  // wrk comes from one address, with as many connections as the others are given.
  config.limits.connections_per_address = 1 << 20;
  auto edge = atlasflow::edge::start_edge(config);
  if (!edge) return fail(to_string(edge.error()));
  atlasflow::edge::RouteTable table;
  table.generation = 1;
  for (int i = 0; i < routes; ++i) {
    const std::string name = i == 0 ? "localhost" : "app" + std::to_string(i) + ".localhost";
    table.routes.push_back({name, "bench", "bench", {{"vm", "127.0.0.1", backend}}, ""});
  }
  if (auto done = (*edge)->publish(table); !done) return fail(to_string(done.error()));
  std::printf("%d %d\n", (*edge)->http_port(), (*edge)->https_port());
  std::fflush(stdout);
  sigset_t stops;
  ::sigemptyset(&stops);
  ::sigaddset(&stops, SIGTERM);
  int number = 0;
  return ::sigwait(&stops, &number);
}

// A connection to 127.0.0.1 that comes from that loopback address.
FileDescriptor connect_from(const std::string& address, std::uint16_t port, int flags) {
  FileDescriptor fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0));
  sockaddr_in from{};
  from.sin_family = AF_INET;
  sockaddr_in to = from;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ::inet_pton(AF_INET, address.c_str(), &from.sin_addr);
  const auto* local = reinterpret_cast<const sockaddr*>(&from);
  const auto* remote = reinterpret_cast<const sockaddr*>(&to);
  if (::bind(fd.get(), local, sizeof from) != 0 ||
      (::connect(fd.get(), remote, sizeof to) != 0 && errno != EINPROGRESS)) {
    return {};
  }
  return fd;
}

// Sends a request and waits for the beginning of its answer, which the backend makes in one piece.
bool ask(int fd) {
  if (::send(fd, k_request.data(), k_request.size(), MSG_NOSIGNAL) < 0) return false;
  std::array<char, 4096> answer{};
  pollfd ready{fd, POLLIN, 0};
  if (::poll(&ready, 1, k_answer_max_ms) != 1) return false;
  const auto got = ::recv(fd, answer.data(), answer.size(), 0);
  return got > 12 && std::string_view(answer.data() + 9, 3) == "200";
}

int probe(std::uint16_t port, int seconds, const std::string& address, bool anew) {
  constexpr milliseconds k_pause{3};
  std::vector<double> times;
  int failures = 0;
  FileDescriptor kept;
  for (const auto end = Clock::now() + std::chrono::seconds(seconds); Clock::now() < end;) {
    const auto start = Clock::now();
    if (anew || !kept.valid()) kept = connect_from(address, port, 0);
    if (kept.valid() && ask(kept.get())) {
      times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
    } else {
      ++failures;
      kept = {};
    }
    std::this_thread::sleep_for(k_pause);
  }
  if (times.empty()) return fail("not one request was answered");
  std::sort(times.begin(), times.end());
  std::printf("%.2f %.2f %.2f %d\n", times[times.size() / 2], times[times.size() * 99 / 100],
              times.back(), failures);
  return 0;
}

std::string recorded_hello() {
  const atlasflow::edge::SslContextPtr context(SSL_CTX_new(TLS_client_method()));
  const atlasflow::edge::SslPtr ssl(SSL_new(context.get()));
  SSL_set_bio(ssl.get(), BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  SSL_set_tlsext_host_name(ssl.get(), k_domain);
  SSL_set_connect_state(ssl.get());
  (void)SSL_do_handshake(ssl.get());
  char* bytes = nullptr;
  const long size = BIO_get_mem_data(SSL_get_wbio(ssl.get()), &bytes);
  return {bytes, static_cast<std::size_t>(size)};
}

// Each connection says hello, hears the server's half of the handshake and is given up for the
// next: the server pays for it, the client does not.
int flood(std::uint16_t port, int seconds, const std::string& address) {
  constexpr std::size_t k_at_once = 256;
  const std::string hello = recorded_hello();
  std::vector<FileDescriptor> sockets(k_at_once);
  std::vector<pollfd> polled(k_at_once);
  long hellos = 0;
  for (const auto end = Clock::now() + std::chrono::seconds(seconds); Clock::now() < end;) {
    for (std::size_t i = 0; i < k_at_once; ++i) {
      const bool over = polled[i].revents != 0;
      if (sockets[i].valid() && !over) continue;
      sockets[i] = connect_from(address, port, 0);
      polled[i] = {sockets[i].get(), POLLIN, 0};
      if (!sockets[i].valid()) continue;
      // Without lingering: or the ports of the address would be used up within seconds.
      const linger hard{1, 0};
      (void)::setsockopt(sockets[i].get(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
      if (::send(sockets[i].get(), hello.data(), hello.size(), MSG_NOSIGNAL) > 0) ++hellos;
    }
    (void)::poll(polled.data(), polled.size(), 20);
  }
  std::printf("%ld\n", hellos / std::max(1, seconds));
  return 0;
}

int idle(std::uint16_t port, int seconds, const std::string& address, std::size_t count) {
  std::vector<FileDescriptor> sockets(count);
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  for (std::size_t i = 0; Clock::now() < end; i = (i + 1) % count) {
    if (i == 0) std::this_thread::sleep_for(milliseconds(20));
    if (sockets[i].valid()) {
      char byte = 0;
      const auto got = ::recv(sockets[i].get(), &byte, 1, MSG_DONTWAIT | MSG_PEEK);
      if (got < 0 && errno == EAGAIN) continue;
    }
    sockets[i] = connect_from(address, port, 0);
    if (!sockets[i].valid()) continue;
    // An answer that does not come is no reason to wait: the others are to be opened too.
    timeval short_time{0, 200'000};
    (void)::setsockopt(sockets[i].get(), SOL_SOCKET, SO_RCVTIMEO, &short_time, sizeof short_time);
    std::array<char, 4096> answer{};
    (void)::send(sockets[i].get(), k_request.data(), k_request.size(), MSG_NOSIGNAL);
    (void)::recv(sockets[i].get(), answer.data(), answer.size(), 0);
  }
  return 0;
}

void raise_limit_on_files() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  (void)::setrlimit(RLIMIT_NOFILE, &limit);
}

}  // namespace

int main(int argc, char** argv) {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t stops;
  ::sigemptyset(&stops);
  ::sigaddset(&stops, SIGTERM);
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto number = [&](std::size_t at) { return std::atoi(words[at].c_str()); };
  raise_limit_on_files();
  const bool unlogged = words.size() == 5 && words[4] == "unlogged";
  if ((words.size() == 4 || unlogged) && words[0] == "serve") {
    ::pthread_sigmask(SIG_BLOCK, &stops, nullptr);
    return serve(words[1], static_cast<std::uint16_t>(number(2)), number(3), !unlogged);
  }
  if (words.size() < 4) return fail("see the head of bench/edge_bench.cpp for what to say");
  const auto port = static_cast<std::uint16_t>(number(1));
  if (words[0] == "probe") return probe(port, number(2), words[3], words.size() == 5);
  if (words[0] == "flood") return flood(port, number(2), words[3]);
  if (words[0] == "idle" && words.size() == 5) {
    return idle(port, number(2), words[3], static_cast<std::size_t>(number(4)));
  }
  return fail("there is no " + words[0]);
}
