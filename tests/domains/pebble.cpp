#include "tests/domains/pebble.hpp"

#include <chrono>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <unistd.h>

#include "base/http_client.hpp"
#include "tests/base/http_peer.hpp"

namespace atlasflow::domains_test {
namespace {

using namespace std::chrono_literals;

constexpr auto k_start_max = 60s;

// Free for TCP and UDP a moment ago.
std::uint16_t free_port() {
  for (int tries = 0; tries < 50; ++tries) {
    const FileDescriptor tcp(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const FileDescriptor udp(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* any = reinterpret_cast<sockaddr*>(&address);
    if (::bind(tcp.get(), any, size) == 0 && ::getsockname(tcp.get(), any, &size) == 0 &&
        ::bind(udp.get(), any, size) == 0) {
      return ntohs(address.sin_port);
    }
  }
  throw std::runtime_error("no free port");
}

std::string local(std::uint16_t port) { return "127.0.0.1:" + std::to_string(port); }

Process spawn(std::vector<std::string> argv, std::vector<std::string> environment,
              const std::filesystem::path& log) {
  const FileDescriptor output(::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  auto spawned = spawn_process({.argv = argv,
                                .program = find_program(argv.front()),
                                .environment = std::move(environment),
                                .output = output.get(),
                                .dies_with_parent = true});
  if (!spawned) throw std::runtime_error(to_string(spawned.error()));
  return std::move(*spawned);
}

}  // namespace

bool Pebble::installed() {
  return !find_program("pebble").empty() && !find_program("pebble-challtestsrv").empty();
}

Pebble::Pebble(const PebbleWish& wish) : wish_(wish) {
  std::string pattern = (std::filesystem::temp_directory_path() / "pebble-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder");
  folder_ = pattern;
  const auto identity = base_test::make_peer_identity();
  std::ofstream(ca_bundle()) << identity.certificate;
  std::ofstream(folder_ / "pebble.key") << identity.key;

  // A port that was free may be somebody else's by the time that it is wanted.
  constexpr int k_tries = 3;
  for (int tries = 1;; ++tries) {
    try {
      choose_ports();
      start_name_server();
      start();
      return;
    } catch (const std::runtime_error&) {
      if (tries == k_tries) throw;
    }
  }
}

void Pebble::choose_ports() {
  acme_port_ = free_port();
  management_port_ = free_port();
  dns_port_ = free_port();
  dns_management_port_ = free_port();
  nlohmann::json config;
  auto& own = config["pebble"];
  own["listenAddress"] = local(acme_port_);
  own["managementListenAddress"] = local(management_port_);
  own["certificate"] = ca_bundle();
  own["privateKey"] = folder_ / "pebble.key";
  own["httpPort"] = wish_.http_port;
  own["tlsPort"] = wish_.tls_port;
  own["ocspResponderURL"] = "";
  own["externalAccountBindingRequired"] = !wish_.external_key_id.empty();
  own["externalAccountMACKeys"] = nlohmann::json::object();
  if (!wish_.external_key_id.empty()) {
    own["externalAccountMACKeys"][wish_.external_key_id] = wish_.external_mac_key;
  }
  own["domainBlocklist"] = wish_.blocked;
  own["certificateValidityPeriod"] = wish_.certificate_seconds;
  std::ofstream(folder_ / "config.json") << config.dump(1);
}

// Every name leads here by IPv4: a second address would be one more to answer at.
void Pebble::start_name_server() {
  name_server_ = spawn({"pebble-challtestsrv", "-dns01", local(dns_port_), "-management",
                        local(dns_management_port_), "-http01", "", "-https01", "", "-tlsalpn01",
                        "", "-defaultIPv4", "127.0.0.1", "-defaultIPv6", ""},
                       {}, folder_ / "name-server.log");
  const auto until = std::chrono::steady_clock::now() + k_start_max;
  while (true) {
    try {
      tell_name_server("/clear-txt", R"({"host":"nobody.example."})");
      return;
    } catch (const std::runtime_error&) {
      if (!name_server_->running() || std::chrono::steady_clock::now() > until) throw;
      std::this_thread::sleep_for(50ms);
    }
  }
}

Pebble::~Pebble() {
  if (pebble_) pebble_->kill();
  if (name_server_) name_server_->kill();
  std::filesystem::remove_all(folder_);
}

void Pebble::start() {
  pebble_ = spawn(
      {"pebble", "-config", folder_ / "config.json", "-dnsserver", name_server(),
       std::string("-strict=") + (wish_.strict ? "true" : "false")},
      {"PEBBLE_VA_NOSLEEP=1", "PEBBLE_ALTERNATE_ROOTS=" + std::to_string(wish_.alternate_roots),
       "PEBBLE_WFE_NONCEREJECT=" + std::to_string(wish_.nonces_refused),
       "PEBBLE_AUTHZREUSE=" + std::to_string(wish_.authorizations_reused)},
      folder_ / "pebble.log");
  const auto until = std::chrono::steady_clock::now() + k_start_max;
  HttpRequest request;
  request.url = directory();
  request.ca_file = ca_bundle();
  while (!send_http(request)) {
    if (!pebble_->running() || std::chrono::steady_clock::now() > until) {
      throw std::runtime_error("pebble does not start; see " + (folder_ / "pebble.log").string());
    }
    std::this_thread::sleep_for(50ms);
  }
}

void Pebble::restart() {
  stop();
  start();
}

void Pebble::stop() {
  if (pebble_) pebble_->kill();
  pebble_.reset();
}

// Its certificate is for that name.
std::string Pebble::directory() const {
  return "https://localhost:" + std::to_string(acme_port_) + "/dir";
}

std::string Pebble::root(int number) const {
  HttpRequest request;
  request.url =
      "https://localhost:" + std::to_string(management_port_) + "/roots/" + std::to_string(number);
  request.ca_file = ca_bundle();
  const auto response = send_http(request);
  return response && response->status == 200 ? response->body : std::string();
}

void Pebble::tell_name_server(const std::string& path, const std::string& json) const {
  HttpRequest request;
  request.method = "POST";
  request.url = "http://" + local(dns_management_port_) + path;
  request.body = json;
  const auto response = send_http(request);
  if (!response || response->status != 200) {
    throw std::runtime_error("pebble-challtestsrv refused " + path);
  }
}

}  // namespace atlasflow::domains_test
