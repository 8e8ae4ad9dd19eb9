// Debian's pebble, a real ACME server for tests, and pebble-challtestsrv, the name server that it
// asks: two processes on loopback that end with the object. Throws when they can't be started.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "base/process.hpp"

namespace atlasflow::domains_test {

struct PebbleWish {
  std::uint16_t http_port =
      0;  // where it looks for HTTP-01 challenges; every name leads to 127.0.0.1
  std::uint16_t tls_port = 1;     // the same of TLS-ALPN-01
  int nonces_refused = 0;         // of a hundred good ones
  int authorizations_reused = 0;  // of a hundred orders
  int certificate_seconds = 90 * 24 * 3600;
  bool strict = true;
  int alternate_roots = 0;
  std::string external_key_id = {};       // an external account is required then
  std::string external_mac_key = {};      // base64url
  std::vector<std::string> blocked = {};  // domains that its policy refuses
};

class Pebble {
 public:
  explicit Pebble(const PebbleWish& wish);
  ~Pebble();
  Pebble(const Pebble&) = delete;
  Pebble& operator=(const Pebble&) = delete;

  static bool installed();

  [[nodiscard]] std::string directory() const;
  // Whom its TLS is trusted by.
  [[nodiscard]] std::filesystem::path ca_bundle() const { return folder_ / "pebble.pem"; }
  // The root of what it issues, PEM; another one with each start.
  [[nodiscard]] std::string root(int number = 0) const;
  // "127.0.0.1:port" of the name server.
  [[nodiscard]] std::string name_server() const { return "127.0.0.1:" + std::to_string(dns_port_); }
  // Where its management interface listens, as above.
  [[nodiscard]] std::string name_server_management() const {
    return "127.0.0.1:" + std::to_string(dns_management_port_);
  }
  // The name server's management interface: POST /set-txt and the like, with names that end in ".".
  void tell_name_server(const std::string& path, const std::string& json) const;
  // As if it had been set up anew: it forgets accounts, orders and its root.
  void restart();
  // Until restart() nobody answers; its name server goes on.
  void stop();

 private:
  void choose_ports();
  void start_name_server();
  void start();

  std::filesystem::path folder_;
  PebbleWish wish_;
  std::uint16_t acme_port_ = 0;
  std::uint16_t management_port_ = 0;
  std::uint16_t dns_port_ = 0;
  std::uint16_t dns_management_port_ = 0;
  std::optional<Process> name_server_;
  std::optional<Process> pebble_;
};

}  // namespace atlasflow::domains_test
