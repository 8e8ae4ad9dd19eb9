// The server's configuration file, atlasflow.toml: every key is checked, a key that is not known is
// an error, and everything has a default. Pure but for reading the file; any thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.hpp"
#include "edge/edge.hpp"

namespace atlasflow::server {

inline constexpr const char* k_default_state_dir = "/var/lib/atlasflow";

// An IPv4 address and a TCP port; port 0: the kernel chooses.
struct Listen {
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
};

enum class AcceleratorChoice : std::uint8_t { automatic, kvm, tcg };

struct ServerConfig {
  std::filesystem::path state_dir = k_default_state_dir;
  bool accept_loss = false;      // of the command line only: of acknowledged events
  bool accept_new_fold = false;  // likewise: of a build that folds the log otherwise
  std::string domain = "atlasflow.localhost";

  struct {
    Listen http{"127.0.0.1", 8080};
    Listen https{"127.0.0.1", 8443};
    bool redirect_http = true;
    std::int64_t hsts_max_age_s = 0;
    bool access_log = true;
    std::int64_t access_log_mib = 16;  // kept of each project's
    edge::EdgeLimits limits;
    edge::EdgeTimeouts timeouts;
  } edge;
  struct {
    Listen webhook{"127.0.0.1", 7070};          // loopback only: the edge sends it there
    std::filesystem::path webhook_secret_file;  // empty: projects bring their own
  } api;
  struct {
    std::string address;      // "host:port" of a registry elsewhere; empty: the server runs its own
    std::uint16_t port = 0;   // of its own; 0: a free one
    bool plain_http = false;  // of a registry elsewhere
  } registry;
  struct {
    int count = 1;
    bool allow_chroot_isolation = false;
    bool network = true;
    std::vector<std::string> reachable_networks;  // private ones that builds reach: "10.1.0.0/16"
    std::int64_t memory_limit_mib = 2048;
    std::int64_t disk_limit_mib = 10240;  // of what one build writes
    std::int64_t min_free_mib = 1024;     // on the state folder's disk; with less nothing is built
    // By language: what its apps without a Dockerfile start from, instead of the builder's choice.
    std::map<std::string, std::string> bases;
    // Authorities that build steps trust beside the usual ones, in PEM; empty: none.
    std::filesystem::path ca_certificate;
    std::filesystem::path static_server;  // empty: the one beside the executable
  } builder;
  struct {
    std::filesystem::path kernel_dir = "/usr/lib/atlasflow/kernel";
    std::filesystem::path guest_init;  // empty: the one beside the executable
    AcceleratorChoice accelerator = AcceleratorChoice::automatic;
    std::int64_t memory_mib = 0;  // for all VMs; 0: three quarters of the machine's
  } vm;
  struct {
    std::string acme_directory;  // of a certificate authority; empty: there are no such domains
    std::string acme_contact;    // an e-mail address that it may write to; empty: none
    bool acme_terms_agreed = false;
    std::string acme_external_key_id;  // of an account that the authority gave; empty: none
    std::filesystem::path acme_external_mac_key_file;  // its secret
    std::filesystem::path acme_ca_certificate;  // whom its https is signed by; empty: the usual
    std::string acme_challenge = "auto";        // how names are proved: also http-01, tls-alpn-01
    std::string acme_profile;                   // of its certificates; empty: its usual one
    std::string acme_preferred_chain;           // which issuer its chains are to end at; empty: any
    // A second authority, asked while the first keeps failing; without a directory there is none.
    struct {
      std::string directory;
      std::string contact;
      bool terms_agreed = false;
      std::string external_key_id;
      std::filesystem::path external_mac_key_file;
      std::filesystem::path ca_certificate;
      std::string profile;
    } acme_fallback;
    std::vector<std::string> public_addresses;  // ours, as A and AAAA records have them
    std::vector<std::string> resolvers;         // "192.0.2.53:53"; empty: the system's
    std::int64_t certificates_per_week = 4;     // of one domain; 0: no limit
    // New ones, of all names of one registered domain; 0: no limit.
    std::int64_t new_certificates_per_week = 45;
    // Who proves by DNS that `domain` is ours, at most one of both; none: it gets no certificate.
    std::filesystem::path dns01_hook;           // a program
    std::string dns01_server;                   // "192.0.2.53:53", a primary name server
    std::filesystem::path dns01_tsig_key_file;  // its secret
    [[nodiscard]] bool orders_own() const { return !dns01_hook.empty() || !dns01_server.empty(); }
  } domains;
  struct {
    std::int64_t rollbacks = 5;  // versions of a project beside the live one
    std::int64_t run_log_mib = 64;
    std::int64_t logs_mib = 2048;
    std::int64_t build_cache_mib = 10240;
    std::int64_t clones_mib = 5120;
    std::int64_t reserve_mib = 64;  // of the disk, for the event log on a full one
  } keep;
  std::string log_level = "info";
};

// invalid_argument names the file, the line and the key, and says what would be right. Relative
// paths are taken from the file's folder.
[[nodiscard]] Result<ServerConfig> parse_config(std::string_view text,
                                                const std::filesystem::path& file);
[[nodiscard]] Result<ServerConfig> load_config(const std::filesystem::path& file);

// "127.0.0.1:8080".
[[nodiscard]] Result<Listen> parse_listen(const std::string& text);

// "192.0.2.1" or "2001:db8::1", as inet_ntop(3) writes it; empty: it is no address.
[[nodiscard]] std::string canonical_address(const std::string& text);

// A commented file with every key at its default; parse_config takes it.
[[nodiscard]] std::string example_config();

}  // namespace atlasflow::server
