// What the tests of the edge share: a recording upstream, a blocking client (plain or TLS) and an
// edge on loopback with short time-outs. Real sockets throughout.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "edge/edge.hpp"
#include "edge/proxy/socket.hpp"
#include "edge/tls/certificate.hpp"
#include "http/parser.hpp"

namespace atlasflow::edge {

using namespace std::chrono_literals;

// Generous: a failing test waits this long, a passing one never does.
inline constexpr std::chrono::seconds k_patience{20};

// One accepted connection of the upstream, driven by the test's handler on its own thread.
class UpstreamSession {
 public:
  explicit UpstreamSession(FileDescriptor socket) : socket_(std::move(socket)) {}

  struct Request {
    std::string raw_head;  // as the edge sent it
    std::string method;
    std::string path;
    std::map<std::string, std::string> fields;  // names in lower case; the last value wins
    std::string body;
  };

  // False at the end of the connection.
  [[nodiscard]] bool read_request(Request& request);
  // Reads only the head; read_body() gets the rest.
  [[nodiscard]] bool read_head(Request& request);
  [[nodiscard]] bool read_body(Request& request);
  bool write(std::string_view bytes);
  [[nodiscard]] std::string read_some();  // what arrives next; "" at the end
  void reset();                           // closes with RST
  void shutdown();
  [[nodiscard]] const std::string& received() const { return received_; }

 private:
  [[nodiscard]] bool receive();
  FileDescriptor socket_;
  http::RequestParser parser_;
  std::string input_;
  std::string received_;  // every byte that ever arrived
};

class RecordingUpstream {
 public:
  using Handler = std::function<void(UpstreamSession&)>;
  explicit RecordingUpstream(Handler handler, const std::string& unix_path = {});
  ~RecordingUpstream() { stop(); }

  void stop();  // closes the listener and every connection at once, then joins
  [[nodiscard]] std::uint16_t port() const { return port_; }
  [[nodiscard]] int connections() const { return connections_.load(); }
  [[nodiscard]] std::string received();  // all bytes of all connections that have ended

 private:
  void accept_loop();
  Handler handler_;
  FileDescriptor listener_;
  std::uint16_t port_ = 0;
  std::atomic<bool> stopping_{false};
  std::atomic<int> connections_{0};
  std::mutex mutex_;
  std::vector<std::shared_ptr<UpstreamSession>> sessions_;
  std::vector<std::thread> threads_;
  std::string received_;
  std::thread acceptor_;
};

// A handler that answers every request with 200 and that body until the connection ends.
[[nodiscard]] RecordingUpstream::Handler answer_with(std::string body);

struct ClientResponse {
  int status = 0;  // 0: none came
  std::map<std::string, std::string> fields;
  std::string body;
  bool complete = false;  // ended as its framing says
  std::vector<int> interim;

  [[nodiscard]] std::string field(const std::string& name) const {
    const auto it = fields.find(name);
    return it == fields.end() ? std::string{} : it->second;
  }
};

class Client {
 public:
  Client() = default;
  // `from`: the address that it comes from, one of loopback's.
  [[nodiscard]] bool connect(std::uint16_t port, const std::string& from = {});
  // Verifies the chain and the name against the CA file unless it is empty.
  [[nodiscard]] bool start_tls(const std::string& server_name, const std::string& ca_file,
                               int version_max = 0);
  // By ALPN, with the next start_tls(): one, or several with commas in between.
  void offer_protocol(std::string name) { protocol_ = std::move(name); }
  [[nodiscard]] std::string tls_error() const { return tls_error_; }
  [[nodiscard]] SSL* tls() const { return ssl_.get(); }

  bool send(std::string_view bytes);
  [[nodiscard]] ClientResponse receive(bool to_head = false);
  [[nodiscard]] ClientResponse get(const std::string& host, const std::string& path = "/",
                                   const std::string& fields = "");
  [[nodiscard]] std::string read_some();  // "" at the end
  [[nodiscard]] bool ended();             // waits for the end of the connection
  void set_patience(std::chrono::milliseconds patience);
  void close();
  [[nodiscard]] int fd() const { return socket_.get(); }

 private:
  FileDescriptor socket_;
  SslContextPtr context_;
  SslPtr ssl_;
  std::string tls_error_;
  std::string protocol_;
  std::string input_;
};

class EdgeTest : public testing::Test {
 protected:
  EdgeTest();
  ~EdgeTest() override;

  void start(std::function<void(EdgeConfig&)> change = {});
  void route(const std::string& host, std::vector<Upstream> upstreams, std::string reason = {});
  void publish();  // under the next generation
  [[nodiscard]] static Upstream at(const RecordingUpstream& upstream,
                                   const std::string& vm_id = "vm-1");

  std::string directory_;
  RouteTable table_;
  std::unique_ptr<Edge> edge_;
};

// Waits until it holds; false when patience ran out.
[[nodiscard]] bool eventually(const std::function<bool()>& holds);

}  // namespace atlasflow::edge
