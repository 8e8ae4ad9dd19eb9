#include "server/config.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <initializer_list>

#include <arpa/inet.h>
#include <toml++/toml.h>

#include "base/file.hpp"
#include "builder/stack/languages.hpp"

namespace atlasflow::server {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t k_config_bytes_max = 1U << 20U;

// "10.1.0.0/16".
bool is_network(const std::string& text) {
  const auto slash = text.find('/');
  if (slash == std::string::npos) return false;
  in_addr address{};
  int bits = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + slash + 1, end, bits);
  if (error != std::errc{} || stop != end || bits < 1 || bits > 32) return false;
  if (::inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1) return false;
  return bits == 32 || (ntohl(address.s_addr) << static_cast<unsigned>(bits)) == 0;
}

// One table of the file. Every key is taken by its name; finish() refuses those that nobody took.
// The first error is kept and what follows is skipped.
class Section {
 public:
  Section(const toml::table& table, std::string name, const fs::path& file,
          std::optional<Error>& error)
      : table_(table), name_(std::move(name)), file_(file), error_(error) {}

  void take(const char* key, std::string& value) {
    if (const auto* node = find(key)) {
      if (const auto* text = node->as_string()) {
        value = text->get();
      } else {
        refuse(*node, key, "must be text in quotes");
      }
    }
  }

  void take(const char* key, bool& value) {
    if (const auto* node = find(key)) {
      if (const auto* flag = node->as_boolean()) {
        value = flag->get();
      } else {
        refuse(*node, key, "must be true or false");
      }
    }
  }

  template <typename Integer>
  void take(const char* key, Integer& value, std::int64_t low, std::int64_t high) {
    if (const auto* node = find(key)) {
      const auto* number = node->as_integer();
      if (number != nullptr && number->get() >= low && number->get() <= high) {
        value = static_cast<Integer>(number->get());
      } else {
        refuse(
            *node, key,
            "must be a whole number from " + std::to_string(low) + " to " + std::to_string(high));
      }
    }
  }

  // At least a second.
  void take_seconds(const char* key, std::chrono::milliseconds& value, std::int64_t high) {
    auto seconds = std::chrono::duration_cast<std::chrono::seconds>(value).count();
    take(key, seconds, 1, high);
    value = std::chrono::seconds(seconds);
  }

  void take(const char* key, fs::path& value) {
    std::string text;
    if (find(key) == nullptr) return;
    take(key, text);
    if (text.empty()) return;
    const fs::path named = file_.parent_path() / text;
    std::error_code error;  // the name as it was given serves where there is no working directory
    const auto absolute = fs::absolute(named, error);
    value = (error ? named : absolute).lexically_normal();
  }

  // IPv4 prefixes in quotes.
  void take_networks(const char* key, std::vector<std::string>& value) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* list = node->as_array();
    std::vector<std::string> networks;
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
      networks.push_back((*list)[i].value_or(std::string{}));
    }
    if (list != nullptr && std::all_of(networks.begin(), networks.end(), is_network)) {
      value = std::move(networks);
    } else {
      refuse(*node, key, "must be a list of IPv4 networks, as [\"10.1.0.0/16\"]");
    }
  }

  void take(const char* key, Listen& value) {
    std::string text;
    if (find(key) == nullptr) return;
    take(key, text);
    if (error_) return;
    if (auto listen = parse_listen(text)) {
      value = *listen;
    } else {
      refuse(*find(key), key, listen.error().message);
    }
  }

  void take_choice(const char* key, std::string& value,
                   std::initializer_list<std::string_view> choices) {
    take(key, value);
    if (error_ || std::find(choices.begin(), choices.end(), value) != choices.end()) return;
    std::string list;
    for (const auto choice : choices) list += (list.empty() ? "" : ", ") + std::string(choice);
    if (const auto* node = find(key)) refuse(*node, key, "must be one of " + list);
  }

  // The table of that name, an empty one when the file has none.
  Section section(const char* key) {
    static const toml::table k_empty;
    const auto* node = find(key);
    if (node != nullptr && node->as_table() == nullptr) {
      refuse(*node, key, "must be a table: write [" + std::string(key) + "]");
    }
    const bool is_table = node != nullptr && node->as_table() != nullptr;
    return {is_table ? *node->as_table() : k_empty, key, file_, error_};
  }

  // A rule over a value that was taken.
  void check(const char* key, bool holds, const std::string& rule) {
    if (const auto* node = find(key); node != nullptr && !holds) refuse(*node, key, rule);
  }

  void finish() {
    for (const auto& [key, node] : table_) {
      const std::string name(key.str());
      if (std::find(taken_.begin(), taken_.end(), name) == taken_.end()) {
        refuse(node, name, "is not known; atlasflow server --print-config lists the keys");
      }
    }
  }

 private:
  const toml::node* find(const char* key) {
    taken_.emplace_back(key);
    return error_ ? nullptr : table_.get(key);
  }

  void refuse(const toml::node& node, const std::string& key, const std::string& why) {
    if (error_) return;
    const auto line = std::to_string(node.source().begin.line);
    error_ = Error{ErrorCode::invalid_argument,
                   file_.string() + ", line " + line + ": " + (name_.empty() ? "" : name_ + ".") +
                       key + " " + why,
                   {}};
  }

  const toml::table& table_;
  std::string name_;
  const fs::path& file_;
  std::optional<Error>& error_;
  std::vector<std::string> taken_;
};

bool is_domain(const std::string& text) {
  const bool characters = std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.';
  });
  return !text.empty() && text.size() <= 190 && characters && text.front() != '.' &&
         text.front() != '-' && text.back() != '.' && text.back() != '-' &&
         text.find("..") == std::string::npos;
}

void take_edge_limits(Section& edge, edge::EdgeLimits& limits) {
  edge.take("connections_max", limits.connections_max, 0, 1 << 20);
  edge.take("connections_per_address", limits.connections_per_address, 1, 1 << 20);
  edge.take("requests_per_instance", limits.requests_per_instance, 1, 1 << 20);
  edge.take("handshakes_per_address", limits.handshakes_per_address, 0, 100'000);
  edge.take("request_body_rate_min", limits.request_body_rate_min, 0, 1 << 30);
  edge.take("url_bytes_max", limits.url_bytes_max, 1'024, 1 << 20);
  edge.take("head_bytes_max", limits.head_bytes_max, 4'096, 1 << 21);
  edge.take("fields_max", limits.fields_max, 16, 10'000);
  const bool fits = limits.url_bytes_max < limits.head_bytes_max;
  edge.check("url_bytes_max", fits, "must be below head_bytes_max, which counts it");
  edge.check("head_bytes_max", fits, "must be above url_bytes_max, which it counts");
}

void take_edge_timeouts(Section& edge, edge::EdgeTimeouts& timeouts) {
  constexpr std::int64_t k_day_s = 86'400;
  edge.take_seconds("tls_handshake_timeout_s", timeouts.tls_handshake, k_day_s);
  edge.take_seconds("request_head_timeout_s", timeouts.request_head, k_day_s);
  edge.take_seconds("request_body_timeout_s", timeouts.request_body_idle, k_day_s);
  edge.take_seconds("keep_alive_timeout_s", timeouts.keep_alive, k_day_s);
  edge.take_seconds("response_timeout_s", timeouts.response_head, k_day_s);
  edge.take_seconds("response_idle_timeout_s", timeouts.response_idle, 7 * k_day_s);
  edge.take_seconds("websocket_idle_timeout_s", timeouts.tunnel_idle, 7 * k_day_s);
  edge.take_seconds("client_write_timeout_s", timeouts.client_write_idle, k_day_s);
  edge.take_seconds("half_closed_timeout_s", timeouts.half_closed, k_day_s);
}

void take_all(Section& root, ServerConfig& config) {
  root.take("state_dir", config.state_dir);
  root.take("domain", config.domain);
  root.check("domain", is_domain(config.domain),
             "must be a hostname in lower case, like atlasflow.localhost");

  auto edge = root.section("edge");
  edge.take("http", config.edge.http);
  edge.take("https", config.edge.https);
  edge.take("redirect_http", config.edge.redirect_http);
  constexpr std::int64_t k_hsts_max_s = 2 * 365 * std::int64_t{86'400};
  edge.take("hsts_max_age_s", config.edge.hsts_max_age_s, 0, k_hsts_max_s);
  edge.check("hsts_max_age_s", config.edge.hsts_max_age_s == 0 || config.edge.redirect_http,
             "needs redirect_http: browsers that keep to https never see plain HTTP again");
  edge.take("access_log", config.edge.access_log);
  edge.take("access_log_mib", config.edge.access_log_mib, 1, 1 << 20);
  take_edge_limits(edge, config.edge.limits);
  take_edge_timeouts(edge, config.edge.timeouts);
  edge.finish();

  auto api = root.section("api");
  api.take("webhook_listen", config.api.webhook);
  api.check("webhook_listen", config.api.webhook.address.starts_with("127."),
            "must be a loopback address (127.0.0.1): the edge sends webhooks there");
  api.take("webhook_secret_file", config.api.webhook_secret_file);
  api.finish();

  auto registry = root.section("registry");
  registry.take("address", config.registry.address);
  const auto colon = config.registry.address.rfind(':');
  registry.check(
      "address",
      config.registry.address.empty() || (colon != std::string::npos && colon > 0 &&
                                          config.registry.address.find('/') == std::string::npos),
      "must be HOST:PORT without a scheme");
  registry.take("port", config.registry.port, 0, 65535);
  registry.check("port", config.registry.address.empty(),
                 "is for the server's own registry and can't stand beside registry.address");
  registry.take("plain_http", config.registry.plain_http);
  registry.finish();

  auto builder = root.section("builder");
  builder.take("count", config.builder.count, 1, 64);
  builder.take("allow_chroot_isolation", config.builder.allow_chroot_isolation);
  builder.take("network", config.builder.network);
  builder.take_networks("reachable_networks", config.builder.reachable_networks);
  builder.take("memory_limit_mib", config.builder.memory_limit_mib, 128, 1 << 20);
  builder.take("disk_limit_mib", config.builder.disk_limit_mib, 0, 1 << 30);
  builder.take("min_free_mib", config.builder.min_free_mib, 0, 1 << 30);
  auto bases = builder.section("bases");
  for (const auto& language : builder::languages()) {
    std::string image;
    bases.take(std::string(language.key).c_str(), image);
    if (!image.empty()) config.builder.bases.emplace(language.key, image);
  }
  bases.finish();
  builder.take("ca_certificate", config.builder.ca_certificate);
  builder.take("static_server", config.builder.static_server);
  builder.finish();

  auto vm = root.section("vm");
  vm.take("kernel_dir", config.vm.kernel_dir);
  vm.take("guest_init", config.vm.guest_init);
  std::string accelerator = "auto";
  vm.take_choice("accelerator", accelerator, {"auto", "kvm", "tcg"});
  config.vm.accelerator = accelerator == "kvm"   ? AcceleratorChoice::kvm
                          : accelerator == "tcg" ? AcceleratorChoice::tcg
                                                 : AcceleratorChoice::automatic;
  vm.take("memory_mib", config.vm.memory_mib, 0, 1 << 24);
  vm.finish();

  auto keep = root.section("keep");
  keep.take("rollbacks", config.keep.rollbacks, 0, 1000);
  keep.take("run_log_mib", config.keep.run_log_mib, 1, 1 << 20);
  keep.take("logs_mib", config.keep.logs_mib, 1, 1 << 30);
  keep.take("build_cache_mib", config.keep.build_cache_mib, 0, 1 << 30);
  keep.take("reserve_mib", config.keep.reserve_mib, 0, 1 << 20);
  keep.finish();

  auto log = root.section("log");
  log.take_choice("level", config.log_level, {"debug", "info", "warn", "error"});
  log.finish();
  root.finish();
}

}  // namespace

Result<Listen> parse_listen(const std::string& text) {
  const auto wrong =
      fail(ErrorCode::invalid_argument, "must be an IPv4 address and a port, like 127.0.0.1:8080");
  const auto colon = text.rfind(':');
  if (colon == std::string::npos) return wrong;
  Listen listen{text.substr(0, colon), 0};
  in_addr address{};
  if (::inet_pton(AF_INET, listen.address.c_str(), &address) != 1) return wrong;
  const char* const end = text.data() + text.size();
  const auto parsed = std::from_chars(text.data() + colon + 1, end, listen.port);
  if (parsed.ec != std::errc{} || parsed.ptr != end) return wrong;
  return listen;
}

Result<ServerConfig> parse_config(std::string_view text, const fs::path& file) {
  toml::table parsed;
  try {
    parsed = toml::parse(text, file.string());
  } catch (const toml::parse_error& error) {
    return fail(ErrorCode::invalid_argument,
                file.string() + ", line " + std::to_string(error.source().begin.line) +
                    " is not TOML: " + std::string(error.description()));
  }
  ServerConfig config;
  std::optional<Error> error;
  Section root(parsed, "", file, error);
  take_all(root, config);
  if (error) return tl::unexpected(*error);
  return config;
}

Result<ServerConfig> load_config(const fs::path& file) {
  const auto text = read_file(file, k_config_bytes_max);
  if (!text) {
    return fail(
        ErrorCode::invalid_argument,
        "can't read " + file.string() + "; name a readable file by --config",
        text.error().code == ErrorCode::too_large ? text.error().message : text.error().cause);
  }
  std::error_code error;  // the name as it was given serves where there is no working directory
  const auto absolute = fs::absolute(file, error);
  return parse_config(*text, error ? file : absolute);
}

std::string example_config() {
  return 1 + R"(
# atlasflow.toml: the server's configuration. Every key is optional; these are the defaults.

# All that the server keeps. --state-dir and ATLASFLOW_STATE_DIR win over it.
state_dir = "/var/lib/atlasflow"
# Projects answer at https://<project>.<domain>, a deployment also at
# https://<deployment>-<project>.<domain>.
domain = "atlasflow.localhost"

[edge]
# Where visitors come in. 0.0.0.0:80 and 0.0.0.0:443 make it a public server.
http = "127.0.0.1:8080"
https = "127.0.0.1:8443"
# Plain HTTP answers with a redirect to https.
redirect_http = true
# For how many seconds browsers are told to ask the domain's hosts over https only, unless an app
# says it itself; 0: not at all. They do not forget it before: begin with 300, and go up to a year.
hsts_max_age_s = 0
# A line for each request, in a file for each project, which atlasflow logs NAME --http shows; kept
# of each, in MiB. Addresses of visitors are in it, and paths without their queries.
access_log = true
access_log_mib = 16
# Connections of visitors and to the apps together; 0: as many as the limit on open files allows.
# Near it those that idle longest are closed.
connections_max = 0
# Of one IPv4 address or IPv6 /64, and never more than half of all.
connections_per_address = 1024
# Unanswered requests and websockets at one instance, and never more than a quarter of all
# connections. Beyond it visitors get a 503 that says when to come back.
requests_per_instance = 2048
# New TLS handshakes of one address per second, with bursts of four seconds' worth; more wait until
# those of others are done. 0: no limit.
handshakes_per_address = 50
# Of a request's or an answer's head: the URL, all of it, and how many fields.
url_bytes_max = 16384
head_bytes_max = 32768
fields_max = 200
# How long what comes in may take, in seconds: a TLS handshake, a request's head, and the next piece
# of its body, which must also arrive with so many bytes per second (0: no such limit).
tls_handshake_timeout_s = 10
request_head_timeout_s = 10
request_body_timeout_s = 30
request_body_rate_min = 256
# How long a visitor's connection is kept for its next request.
keep_alive_timeout_s = 60
# How long an app may take until its answer begins, be silent within one (event streams are), and
# leave a websocket silent.
response_timeout_s = 60
response_idle_timeout_s = 3600
websocket_idle_timeout_s = 3600
# How long a visitor may take for the next piece of an answer.
client_write_timeout_s = 60
# A visitor that has ended its sending side may still listen, or have left: how long it is served
# without a byte for it.
half_closed_timeout_s = 10

[api]
# The webhook's listener behind the edge; loopback only.
webhook_listen = "127.0.0.1:7070"
# The secret of webhooks for projects that bring none of their own. Mode 0600.
# webhook_secret_file = "/etc/atlasflow/webhook-secret"

[registry]
# A registry elsewhere, HOST:PORT. Without it the server runs its own on loopback.
# address = "registry.example.com:5000"
# The registry elsewhere speaks plain HTTP.
# plain_http = false
# The port of the server's own registry; 0: a free one.
port = 0

[builder]
# Builds at the same time.
count = 1
# Build even where only chroot works: build steps then see the machine's processes and network.
allow_chroot_isolation = false
# Build steps may reach the internet.
network = true
# They never reach this machine, nor private networks but these; nor do pulls of base images. For a
# mirror or a registry of one's own.
reachable_networks = []
# Memory of one build, in MiB.
memory_limit_mib = 2048
# What one build may write to the disk, in MiB: its layers, and by what its cache mounts grow.
# 0: no limit.
disk_limit_mib = 10240
# Free space of the state folder's disk below which nothing is fetched or built, in MiB. What serves
# goes on.
min_free_mib = 1024
# Certificate authorities for the build steps of apps without a Dockerfile, in PEM, where a proxy
# signs with one of its own.
# ca_certificate = "/etc/ssl/certs/proxy-ca.pem"
# What static sites without a Dockerfile run; the one beside the executable unless set.
# static_server = "/usr/lib/atlasflow/atlasflow-static-server"
# What apps without a Dockerfile start from, by language, instead of the builder's own choice.
# bases = { python = "docker.io/library/python:3.12-slim" }

[vm]
# Kernel and modules of the microVMs, as script/bootstrap lays them out.
kernel_dir = "/usr/lib/atlasflow/kernel"
# The guest's PID 1; the one beside the executable unless set.
# guest_init = "/usr/lib/atlasflow/atlasflow-guest-init"
# auto, kvm or tcg. auto tries KVM and falls back to emulation (tcg).
accelerator = "auto"
# Memory of all VMs together, in MiB; 0: three quarters of the machine's.
memory_mib = 0

[keep]
# Versions of each project that can be rolled back to without a build, beside the live one: their
# images and disks stay. Everything else that no deployment needs is removed.
rollbacks = 5
# Of each microVM's log, in MiB: its head goes when it is longer.
run_log_mib = 64
# Of all build and run logs, in MiB: beyond that those of old deployments go, oldest first.
logs_mib = 2048
# Of the builder's layers and the base images that it pulled, in MiB: beyond that go base images
# that nothing is built upon, those used longest ago first, and then its cache, oldest first.
build_cache_mib = 10240
# Of the state folder's disk, in MiB: held back by a file beside the event log, which is given back
# when the disk is full, so that the log can go on; 0: none.
reserve_mib = 64

[log]
# debug, info, warn or error.
level = "info"
)";
}

}  // namespace atlasflow::server
