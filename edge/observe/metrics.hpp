// What the workers count, and how it is said in Prometheus' text format (version 0.0.4). A worker
// adds to its own counters only: no lock, no allocation, no atomic read-modify-write. Any thread
// may read them and sum them up.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace atlasflow::edge {

// Written by one thread.
class Counter {
 public:
  void add(std::uint64_t count = 1) {
    value_.store(value_.load(std::memory_order_relaxed) + count, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t get() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// Projects as the counters know them, so that labels are bounded: whoever is met after so many has
// no number of its own. A number means one project for as long as the process lives. Hosts have
// none: what clients ask for makes no label. Any thread.
class ProjectNumbers {
 public:
  static constexpr std::size_t k_max = 1024;
  static constexpr std::uint16_t k_none = 0;   // no route named a project
  static constexpr std::uint16_t k_other = 1;  // beyond the bound

  ProjectNumbers();
  [[nodiscard]] std::uint16_t number_of(const std::string& project);
  // By number. The two that are no project's begin with '_', which no project's name does.
  [[nodiscard]] std::vector<std::string> names() const;

 private:
  mutable std::mutex mutex_;
  std::unordered_map<std::string, std::uint16_t> numbers_;
  std::vector<std::string> names_;
};

// Upper bounds, in microseconds: OpenTelemetry's from 5 ms on, and two below.
inline constexpr std::array<std::uint64_t, 13> k_duration_bounds_us = {
    1'000,   2'500,   5'000,     10'000,    25'000,    50'000,    100'000,
    250'000, 500'000, 1'000'000, 2'500'000, 5'000'000, 10'000'000};

// What the edge answers by itself with X-Atlas-Error, or how an exchange ended early. The last
// stands for all that is not here.
inline constexpr std::array<std::string_view, 24> k_error_codes = {
    "bad_request",          "unknown_host",     "no_instance",
    "overloaded",           "misdirected",      "request_timeout",
    "plain_http",           "bad_response",     "upstream_closed",
    "upstream_cut",         "upstream_timeout", "upstream_idle",
    "upstream_unreachable", "drained",          "client_left",
    "client_timeout",       "protocol_error",   "refused_stream",
    "tunnel_idle",          "edge_stopped",     "watchdog",
    "too_many_requests",    "no_websocket",     "other"};

inline constexpr std::string_view k_client_left = "client_left";

// By AccessRecord::protocol.
inline constexpr std::array<std::string_view, 4> k_protocols = {"HTTP/1.0", "HTTP/1.1", "HTTP/2",
                                                                "websocket"};
inline constexpr std::uint8_t k_websocket = 3;

struct Histogram {
  void add(std::uint64_t us);

  std::array<Counter, k_duration_bounds_us.size() + 1> buckets;  // the last: beyond all bounds
  Counter us_sum;
};

struct WorkerMetrics {
  // "none": the client had left before it had an answer. "other": a status beyond 599.
  static constexpr std::array<std::string_view, 7> k_classes = {"none", "1xx", "2xx",  "3xx",
                                                                "4xx",  "5xx", "other"};

  // A websocket's life is no duration of an answer.
  void count_request(std::uint16_t project, int status, std::uint8_t protocol,
                     std::uint64_t duration_us, std::string_view error);

  Counter requests_begun;
  std::array<std::array<Counter, k_classes.size()>, ProjectNumbers::k_max> requests;
  std::array<Counter, k_protocols.size()> protocols;
  Histogram durations;
  Histogram first_bytes;   // of applications, since the request's head
  Counter request_bytes;   // of bodies
  Counter response_bytes;  // of applications' bodies
  std::array<Counter, k_error_codes.size()> errors;
  Counter retries;

  std::array<Counter, 2> clients_accepted;  // plain, TLS
  std::array<Counter, 2> clients_closed;
  Counter clients_refused;  // their address had its share
  Counter clients_shed;     // closed for another one
  Counter accept_pauses;    // no room at all

  Counter handshakes_failed;

  Counter upstreams_opened;
  Counter upstreams_closed;
  Counter upstream_connect_failures;
};

struct EdgeFigures {
  std::vector<const WorkerMetrics*> workers;
  std::vector<std::string> projects;  // by number
  std::uint64_t generation = 0;
  std::size_t hosts = 0;
  std::vector<std::int64_t>
      certificates_end_at_s;  // of those that hosts were given, in s since 1970
  std::int64_t now_s = 0;
  std::uint64_t access_lines_lost = 0;
};

[[nodiscard]] std::string prometheus_text(const EdgeFigures& figures);

}  // namespace atlasflow::edge
