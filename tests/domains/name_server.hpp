// A name server of one test, on UDP and TCP of one loopback port: it says what the test wants, also
// what no server should say.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/file_descriptor.hpp"
#include "domains/dns/dns_client.hpp"

namespace atlasflow::domains_test {

struct NameServerReply {
  std::vector<domains::DnsRecord> answers = {};
  int response_code = 0;
  bool authoritative = false;
  bool truncated = false;  // by UDP: an empty answer that says so
  bool silent = false;
  bool other_question = false;
  std::string raw = {};  // after the id, in place of everything
};

class NameServer {
 public:
  struct Question {
    std::string name;
    int type = 0;
    bool recursive = false;
    bool tcp = false;
  };
  using Say = std::function<NameServerReply(const Question&)>;

  // What is answered to an update (RFC 2136), its bytes and whole; empty: nothing.
  using TakeUpdate = std::function<std::string(const std::string& request, bool tcp)>;
  // Before the first one comes.
  void take_updates(TakeUpdate take) {
    const std::lock_guard lock(mutex_);
    take_update_ = std::move(take);
  }

  // IPv4 or IPv6. port 0: any.
  explicit NameServer(Say say, const std::string& address = "127.0.0.1", std::uint16_t port = 0);
  ~NameServer();
  NameServer(const NameServer&) = delete;
  NameServer& operator=(const NameServer&) = delete;

  [[nodiscard]] std::string server() const { return domains::server_at(address_, port_); }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] std::vector<Question> questions() const;

 private:
  void run();
  void serve_tcp(int client);
  [[nodiscard]] std::string reply_to(const std::string& query, bool tcp);

  Say say_;
  TakeUpdate take_update_;
  std::string address_;
  std::uint16_t port_ = 0;
  FileDescriptor udp_;
  FileDescriptor tcp_;
  FileDescriptor stop_;
  mutable std::mutex mutex_;
  std::vector<Question> questions_;
  std::thread thread_;
};

// Data of a record as on the wire; for A, AAAA, CNAME, NS, TXT, and CAA as `0 issue "x"`.
[[nodiscard]] std::string wire_data(const domains::DnsRecord& record);
[[nodiscard]] std::string wire_name(const std::string& name);

}  // namespace atlasflow::domains_test
