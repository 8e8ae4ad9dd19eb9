#include "edge/control/control_message.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include <openssl/sha.h>

namespace atlasflow::edge {
namespace {

using std::chrono::milliseconds;

// The one list of the timeouts: their place in it is their place on the wire.
constexpr std::array k_timeouts = {
    &EdgeTimeouts::tls_handshake,     &EdgeTimeouts::request_head,
    &EdgeTimeouts::keep_alive,        &EdgeTimeouts::request_body_idle,
    &EdgeTimeouts::client_write_idle, &EdgeTimeouts::connect,
    &EdgeTimeouts::connect_retry,     &EdgeTimeouts::response_head,
    &EdgeTimeouts::response_idle,     &EdgeTimeouts::tunnel_idle,
    &EdgeTimeouts::upstream_idle,     &EdgeTimeouts::half_closed,
    &EdgeTimeouts::farewell};
static_assert(sizeof(EdgeTimeouts) == k_timeouts.size() * sizeof(milliseconds),
              "a timeout that is not in the list would be lost on the way to the edge's process");

constexpr std::size_t k_digest_digits = 12;

}  // namespace

wire::Route to_wire(const Route& route) {
  wire::Route message;
  message.set_host(route.host);
  message.set_project(route.project);
  message.set_deployment(route.deployment);
  message.set_unavailable_reason(route.unavailable_reason);
  message.set_redirect_to(route.redirect_to);
  message.set_request_rate(route.limits.request_rate);
  message.set_concurrent_requests_max(route.limits.concurrent_requests_max);
  message.set_unavailable_message(route.unavailable_message);
  message.set_h2c(route.protocol == AppProtocol::h2c);
  for (const Upstream& upstream : route.upstreams) {
    auto* to = message.add_upstreams();
    to->set_vm_id(upstream.vm_id);
    to->set_address(upstream.address);
    to->set_port(upstream.port);
  }
  return message;
}

wire::RouteTable to_wire(const RouteTable& table) {
  wire::RouteTable message;
  message.set_generation(table.generation);
  for (const Route& route : table.routes) *message.add_routes() = to_wire(route);
  return message;
}

wire::HostCertificate to_wire(const HostCertificate& certificate) {
  wire::HostCertificate message;
  message.set_host(certificate.host);
  message.set_fingerprint(certificate.fingerprint);
  message.set_chain_pem(certificate.chain_pem);
  message.set_key_pem(certificate.key_pem);
  return message;
}

wire::TicketSecret to_wire(const TicketSecret& secret) {
  wire::TicketSecret message;
  message.set_secret(secret.bytes.data(), secret.bytes.size());
  message.set_period(secret.period);
  return message;
}

wire::Challenge to_wire(const Challenge& challenge) {
  wire::Challenge message;
  message.set_host(challenge.host);
  message.set_token(challenge.token);
  message.set_key_authorization(challenge.key_authorization);
  message.set_in_tls(challenge.in_tls);
  return message;
}

wire::Config to_wire(const EdgeConfig& config) {
  wire::Config message;
  message.set_http_address(config.http_address);
  message.set_http_port(config.http_port);
  message.set_https_address(config.https_address);
  message.set_https_port(config.https_port);
  message.set_domain(config.domain);
  message.set_ca_dir(config.ca_dir.string());
  message.set_redirect_http(config.redirect_http);
  message.set_hsts_max_age_s(config.hsts_max_age_s);
  message.set_access_log_dir(config.access_log_dir.string());
  message.set_access_log_bytes(config.access_log_bytes);
  message.set_workers(config.workers);
  message.set_connections_max(config.limits.connections_max);
  message.set_connections_per_address(config.limits.connections_per_address);
  message.set_requests_per_instance(config.limits.requests_per_instance);
  message.set_handshakes_per_address(config.limits.handshakes_per_address);
  message.set_request_body_rate_min(config.limits.request_body_rate_min);
  message.set_url_bytes_max(config.limits.url_bytes_max);
  message.set_head_bytes_max(config.limits.head_bytes_max);
  message.set_fields_max(config.limits.fields_max);
  message.set_memory_max(config.limits.memory_max);
  for (const auto member : k_timeouts) {
    message.add_timeouts_ms(static_cast<std::int64_t>((config.timeouts.*member).count()));
  }
  return message;
}

wire::Failure to_wire(const Error& error) {
  wire::Failure message;
  message.set_code(static_cast<std::uint32_t>(error.code));
  message.set_message(error.message);
  message.set_cause(error.cause);
  return message;
}

Route from_wire(const wire::Route& message) {
  Route route{message.host(), message.project(), message.deployment(), {}, {}};
  route.unavailable_reason = message.unavailable_reason();
  route.redirect_to = message.redirect_to();
  route.limits = {message.request_rate(), message.concurrent_requests_max()};
  route.unavailable_message = message.unavailable_message();
  route.protocol = message.h2c() ? AppProtocol::h2c : AppProtocol::http1;
  for (const auto& upstream : message.upstreams()) {
    route.upstreams.push_back(
        {upstream.vm_id(), upstream.address(), static_cast<std::uint16_t>(upstream.port())});
  }
  return route;
}

RouteTable from_wire(const wire::RouteTable& message) {
  RouteTable table;
  table.generation = message.generation();
  table.routes.reserve(static_cast<std::size_t>(message.routes_size()));
  for (const auto& route : message.routes()) table.routes.push_back(from_wire(route));
  return table;
}

HostCertificate from_wire(const wire::HostCertificate& message) {
  return {message.host(), message.fingerprint(), message.chain_pem(), message.key_pem()};
}

std::optional<TicketSecret> from_wire(const wire::TicketSecret& message) {
  TicketSecret secret;
  if (message.secret().size() != secret.bytes.size()) return std::nullopt;
  std::copy(message.secret().begin(), message.secret().end(), secret.bytes.begin());
  secret.period = message.period();
  return secret;
}

Challenge from_wire(const wire::Challenge& message) {
  return {message.host(), message.token(), message.key_authorization(), message.in_tls()};
}

EdgeConfig from_wire(const wire::Config& message) {
  EdgeConfig config;
  config.http_address = message.http_address();
  config.http_port = static_cast<std::uint16_t>(message.http_port());
  config.https_address = message.https_address();
  config.https_port = static_cast<std::uint16_t>(message.https_port());
  config.domain = message.domain();
  config.ca_dir = message.ca_dir();
  config.redirect_http = message.redirect_http();
  config.hsts_max_age_s = message.hsts_max_age_s();
  config.access_log_dir = message.access_log_dir();
  config.access_log_bytes = message.access_log_bytes();
  config.workers = message.workers();
  config.limits = {message.connections_max(),
                   message.connections_per_address(),
                   message.requests_per_instance(),
                   message.handshakes_per_address(),
                   message.request_body_rate_min(),
                   message.url_bytes_max(),
                   message.head_bytes_max(),
                   message.fields_max(),
                   message.memory_max()};
  for (int i = 0; i < message.timeouts_ms_size(); ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (at < k_timeouts.size()) {
      config.timeouts.*k_timeouts[at] = milliseconds(message.timeouts_ms(i));
    }
  }
  return config;
}

Error from_wire(const wire::Failure& message) {
  const bool known = message.code() <= static_cast<std::uint32_t>(ErrorCode::internal);
  return {known ? static_cast<ErrorCode>(message.code()) : ErrorCode::internal, message.message(),
          message.cause()};
}

std::string config_digest(const EdgeConfig& config) {
  const std::string bytes = to_wire(config).SerializeAsString();
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  ::SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  constexpr std::string_view k_hex = "0123456789abcdef";
  std::string text;
  for (const unsigned char byte : digest) {
    text += {k_hex[byte >> 4U], k_hex[byte & 15U]};
    if (text.size() >= k_digest_digits) break;
  }
  return text;
}

Result<wire::Reply> call(const FileDescriptor& socket, const wire::Request& request,
                         Deadline deadline) {
  ATLAS_TRYV(exchange_hello(socket, deadline));
  ATLAS_TRYV(send_message(socket, request, deadline));
  wire::Reply reply;
  ATLAS_TRYV(receive_message(socket, reply, deadline));
  if (reply.has_failure()) return tl::unexpected(from_wire(reply.failure()));
  return reply;
}

}  // namespace atlasflow::edge
