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
#include "domains/acme/acme_client.hpp"
#include "domains/dns/dns_client.hpp"
#include "domains/dns/lookup.hpp"
#include "domains/domain_name.hpp"

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

  // Texts in quotes, all of which are what `rule` says.
  template <typename IsRight>
  void take_list(const char* key, std::vector<std::string>& value, IsRight is_right,
                 const char* rule) {
    const auto* node = find(key);
    if (node == nullptr) return;
    const auto* list = node->as_array();
    std::vector<std::string> texts;
    for (std::size_t i = 0; list != nullptr && i < list->size(); ++i) {
      texts.push_back((*list)[i].value_or(std::string{}));
    }
    if (list != nullptr && std::all_of(texts.begin(), texts.end(), is_right)) {
      value = std::move(texts);
    } else {
      refuse(*node, key, rule);
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
  constexpr std::int64_t k_mib = 1 << 20;
  std::int64_t memory_mib = limits.memory_max / k_mib;
  edge.take("memory_mib", memory_mib, 0, 1 << 30);
  edge.check("memory_mib", memory_mib == 0 || memory_mib >= 16, "must be 0 or at least 16");
  limits.memory_max = memory_mib * k_mib;
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

// Of 0.0.0.0 nobody can say that it leads here.
bool is_public_address(const std::string& text) {
  const auto address = canonical_address(text);
  return !address.empty() && address != "0.0.0.0" && address != "::";
}

bool is_challenge_choice(const std::string& text) {
  return domains::challenge_choice(text).has_value();
}

bool is_resolver(const std::string& text) { return domains::parse_dns_server(text).has_value(); }

// The server's own domain is one that an authority can look up.
std::string why_not_public(const std::string& domain) {
  if (domain == "localhost" || domain.ends_with(".localhost")) {
    return "'" + domain + "' is a name of this machine only";
  }
  const auto name = domains::parse_domain_name(domain);
  return name ? std::string() : name.error().message;
}

void take_dns01(Section& section, ServerConfig& config) {
  auto& domains = config.domains;
  section.take("dns01_hook", domains.dns01_hook);
  section.take("dns01_server", domains.dns01_server);
  section.check("dns01_server", domains.dns01_server.empty() || is_resolver(domains.dns01_server),
                "must be a name server's address, like 192.0.2.53 or 192.0.2.53:5353");
  section.take("dns01_tsig_key_file", domains.dns01_tsig_key_file);
  const bool is_whole = domains.dns01_server.empty() == domains.dns01_tsig_key_file.empty();
  section.check("dns01_server", is_whole, "needs domains.dns01_tsig_key_file, too");
  section.check("dns01_tsig_key_file", is_whole, "needs domains.dns01_server, too");
  section.check("dns01_hook", domains.dns01_hook.empty() || domains.dns01_server.empty(),
                "can't be set beside domains.dns01_server: choose one of both");
  if (!domains.orders_own()) return;
  for (const char* key : {"dns01_hook", "dns01_server"}) {
    section.check(key, !domains.acme_directory.empty(),
                  "needs domains.acme_directory: the authority that it is proved to");
    section.check(key, why_not_public(config.domain).empty(),
                  "proves to an authority whose `domain` is, and " + why_not_public(config.domain) +
                      "; set `domain` to a name of yours whose wildcard record leads here");
  }
}

// Empty: none is given.
bool is_contact(const std::string& text) {
  const auto at = text.find('@');
  return text.empty() || (at != std::string::npos && at > 0 && at + 1 < text.size() &&
                          text.find_first_of(" :,<>") == std::string::npos);
}

void take_acme_fallback(Section& section, ServerConfig& config) {
  auto& second = config.domains.acme_fallback;
  section.take("acme_fallback_directory", second.directory);
  section.check("acme_fallback_directory",
                second.directory.empty() || second.directory.starts_with("https://"),
                "must be an https URL, like https://acme.zerossl.com/v2/DV90");
  section.check("acme_fallback_directory",
                second.directory.empty() || !config.domains.acme_directory.empty(),
                "needs domains.acme_directory: the authority that it stands in for");
  section.check("acme_fallback_directory",
                second.directory.empty() || second.directory != config.domains.acme_directory,
                "must be another authority than domains.acme_directory");
  section.take("acme_fallback_terms_agreed", second.terms_agreed);
  section.check("acme_fallback_directory", second.directory.empty() || second.terms_agreed,
                "needs domains.acme_fallback_terms_agreed = true: read the terms of that "
                "certificate authority first");
  section.take("acme_fallback_contact", second.contact);
  section.check("acme_fallback_contact", is_contact(second.contact),
                "must be an e-mail address, like ops@example.com");
  section.take("acme_fallback_external_key_id", second.external_key_id);
  section.take("acme_fallback_external_mac_key_file", second.external_mac_key_file);
  const bool is_whole = second.external_key_id.empty() == second.external_mac_key_file.empty();
  section.check("acme_fallback_external_key_id", is_whole,
                "needs domains.acme_fallback_external_mac_key_file, too");
  section.check("acme_fallback_external_mac_key_file", is_whole,
                "needs domains.acme_fallback_external_key_id, too");
  section.take("acme_fallback_ca_certificate", second.ca_certificate);
  section.take("acme_fallback_profile", second.profile);
  for (const char* key : {"acme_fallback_contact", "acme_fallback_terms_agreed",
                          "acme_fallback_external_key_id", "acme_fallback_external_mac_key_file",
                          "acme_fallback_ca_certificate", "acme_fallback_profile"}) {
    section.check(key, !second.directory.empty(), "needs domains.acme_fallback_directory, too");
  }
}

void take_domains(Section& section, ServerConfig& config) {
  auto& domains = config.domains;
  section.take("acme_directory", domains.acme_directory);
  section.check("acme_directory",
                domains.acme_directory.empty() || domains.acme_directory.starts_with("https://"),
                "must be an https URL, like https://acme-v02.api.letsencrypt.org/directory");
  section.take("acme_contact", domains.acme_contact);
  section.check("acme_contact", is_contact(domains.acme_contact),
                "must be an e-mail address, like ops@example.com");
  section.take("acme_terms_agreed", domains.acme_terms_agreed);
  section.check("acme_directory", domains.acme_directory.empty() || domains.acme_terms_agreed,
                "needs domains.acme_terms_agreed = true: read the terms of that certificate "
                "authority first");
  section.take("acme_external_key_id", domains.acme_external_key_id);
  section.take("acme_external_mac_key_file", domains.acme_external_mac_key_file);
  const bool is_whole =
      domains.acme_external_key_id.empty() == domains.acme_external_mac_key_file.empty();
  section.check("acme_external_key_id", is_whole, "needs domains.acme_external_mac_key_file, too");
  section.check("acme_external_mac_key_file", is_whole, "needs domains.acme_external_key_id, too");
  section.take("acme_ca_certificate", domains.acme_ca_certificate);
  section.take("acme_challenge", domains.acme_challenge);
  section.check("acme_challenge", is_challenge_choice(domains.acme_challenge),
                "must be auto, http-01 or tls-alpn-01");
  section.take("acme_profile", domains.acme_profile);
  section.take("acme_preferred_chain", domains.acme_preferred_chain);
  take_acme_fallback(section, config);
  section.take_list("public_addresses", domains.public_addresses, is_public_address,
                    "must be a list of this server's IP addresses, as [\"192.0.2.7\"]");
  for (auto& address : domains.public_addresses) address = canonical_address(address);
  section.take_list("resolvers", domains.resolvers, is_resolver,
                    "must be a list of name servers, as [\"192.0.2.53\", \"192.0.2.54:5353\"]");
  section.check("resolvers", domains.resolvers.size() <= domains::k_resolvers_max,
                "must be at most " + std::to_string(domains::k_resolvers_max) +
                    " name servers: no more are asked");
  section.take("certificates_per_week", domains.certificates_per_week, 0, 16);
  section.take("new_certificates_per_week", domains.new_certificates_per_week, 0, 1'000'000);
  take_dns01(section, config);
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
  builder.take_list("reachable_networks", config.builder.reachable_networks, is_network,
                    "must be a list of IPv4 networks, as [\"10.1.0.0/16\"]");
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

  auto domains = root.section("domains");
  take_domains(domains, config);
  domains.finish();

  auto keep = root.section("keep");
  keep.take("rollbacks", config.keep.rollbacks, 0, 1000);
  keep.take("run_log_mib", config.keep.run_log_mib, 1, 1 << 20);
  keep.take("logs_mib", config.keep.logs_mib, 1, 1 << 30);
  keep.take("build_cache_mib", config.keep.build_cache_mib, 0, 1 << 30);
  keep.take("clones_mib", config.keep.clones_mib, 0, 1 << 30);
  keep.take("reserve_mib", config.keep.reserve_mib, 0, 1 << 20);
  keep.finish();

  auto log = root.section("log");
  log.take_choice("level", config.log_level, {"debug", "info", "warn", "error"});
  log.finish();
  root.finish();
}

}  // namespace

std::string canonical_address(const std::string& text) {
  in6_addr bytes{};
  std::array<char, INET6_ADDRSTRLEN> written{};
  for (const int family : {AF_INET, AF_INET6}) {
    if (::inet_pton(family, text.c_str(), &bytes) != 1) continue;
    if (::inet_ntop(family, &bytes, written.data(), written.size()) != nullptr) {
      return written.data();
    }
  }
  return {};
}

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

}  // namespace atlasflow::server
