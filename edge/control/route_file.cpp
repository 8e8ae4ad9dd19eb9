#include "edge/control/route_file.hpp"

#include <algorithm>
#include <charconv>
#include <set>
#include <string>

#include <nlohmann/json.hpp>

#include "base/file.hpp"
#include "base/x509.hpp"

namespace atlasflow::edge {
namespace {

using Json = nlohmann::json;

constexpr std::uintmax_t k_file_bytes_max = std::uintmax_t{64} * 1024 * 1024;
constexpr std::int32_t k_limit_max = 1'000'000;

tl::unexpected<Error> wrong(std::size_t number, const std::string& what) {
  return fail(ErrorCode::invalid_argument, "route " + std::to_string(number) + ": " + what);
}

Result<Upstream> parse_target(const std::string& text) {
  if (text.starts_with("unix:/")) return Upstream{text, text, 0};
  const auto target = parse_host_and_port(text, false);
  if (target) return Upstream{text, target->address, target->port};
  return fail(target.error().code,
              "'" + text.substr(0, 80) + "' is no target; write 10.0.0.7:3000 or unix:/path");
}

Result<std::string> text_of(const Json& value, const std::string& name) {
  if (value.is_string()) return value.get<std::string>();
  return fail(ErrorCode::invalid_argument, name + " must be a text");
}

Result<std::int32_t> limit_of(const Json& value, const std::string& name) {
  if (value.is_number_integer() && value >= 0 && value <= k_limit_max) {
    return value.get<std::int32_t>();
  }
  return fail(ErrorCode::invalid_argument,
              name + " must be a whole number from 0 to " + std::to_string(k_limit_max));
}

Result<std::vector<Upstream>> targets_of(const Json& value) {
  if (!value.is_array()) {
    return fail(ErrorCode::invalid_argument, "targets must be a list, like [\"10.0.0.7:3000\"]");
  }
  std::vector<Upstream> upstreams;
  for (const Json& each : value) {
    ATLAS_TRY(const auto text, text_of(each, "a target"));
    ATLAS_TRY(auto upstream, parse_target(text));
    upstreams.push_back(std::move(upstream));
  }
  return upstreams;
}

Result<AppProtocol> protocol_of(const Json& value) {
  if (value == "http1") return AppProtocol::http1;
  if (value == "h2c") return AppProtocol::h2c;
  return fail(ErrorCode::invalid_argument, "app_protocol must be \"http1\" or \"h2c\"");
}

Result<void> take_member(const std::string& name, const Json& value, Route& route) {
  if (name == "host") {
    ATLAS_TRY(route.host, text_of(value, name));
  } else if (name == "targets") {
    ATLAS_TRY(route.upstreams, targets_of(value));
  } else if (name == "redirect_to") {
    ATLAS_TRY(route.redirect_to, text_of(value, name));
  } else if (name == "unavailable_message") {
    ATLAS_TRY(route.unavailable_message, text_of(value, name));
  } else if (name == "request_rate") {
    ATLAS_TRY(route.limits.request_rate, limit_of(value, name));
  } else if (name == "max_concurrent_requests") {
    ATLAS_TRY(route.limits.concurrent_requests_max, limit_of(value, name));
  } else if (name == "app_protocol") {
    ATLAS_TRY(route.protocol, protocol_of(value));
  } else {
    return fail(ErrorCode::invalid_argument,
                "'" + name.substr(0, 80) +
                    "' is not known; there are host, targets, redirect_to, unavailable_message, "
                    "request_rate, max_concurrent_requests and app_protocol");
  }
  return {};
}

}  // namespace

Result<HostAndPort> parse_host_and_port(const std::string& text, bool any_port) {
  const std::size_t colon = text.rfind(':');
  unsigned port = 0;
  bool right = colon != std::string::npos && colon != 0;
  if (right) {
    const char* end = text.data() + text.size();
    const auto [at, code] = std::from_chars(text.data() + colon + 1, end, port);
    right = code == std::errc{} && at == end && port <= 65535 && (any_port || port != 0);
  }
  if (!right) {
    return fail(ErrorCode::invalid_argument,
                "'" + text.substr(0, 80) + "' is no address and port; write 127.0.0.1:8080");
  }
  std::string address = text.substr(0, colon);
  if (address.front() == '[' && address.back() == ']') {
    address = address.substr(1, address.size() - 2);
  }
  return HostAndPort{std::move(address), static_cast<std::uint16_t>(port)};
}

Result<std::vector<Route>> parse_routes(std::string_view json) {
  const Json file = Json::parse(json, nullptr, false);
  if (file.is_discarded()) {
    return fail(ErrorCode::invalid_argument, "the file is no JSON; 'jq . FILE' says where");
  }
  if (!file.is_object() || file.size() != 1 || !file.contains("routes") ||
      !file.at("routes").is_array()) {
    return fail(ErrorCode::invalid_argument,
                "the file must be an object with one member, {\"routes\": [...]}");
  }
  std::vector<Route> routes;
  for (const Json& each : file.at("routes")) {
    const std::size_t number = routes.size() + 1;
    if (!each.is_object()) return wrong(number, "it must be an object");
    Route route;
    for (const auto& [name, value] : each.items()) {
      if (auto taken = take_member(name, value, route); !taken) {
        return wrong(number, taken.error().message);
      }
    }
    if (route.host.empty()) return wrong(number, "it has no host");
    route.project = route.host;
    route.unavailable_reason = "it has no target";
    routes.push_back(std::move(route));
  }
  return routes;
}

Result<std::vector<Route>> load_routes(const std::filesystem::path& file) {
  const auto text = read_file(file, k_file_bytes_max);
  if (!text) {
    return fail(ErrorCode::invalid_argument, "can't read the routes in " + file.string(),
                to_string(text.error()));
  }
  auto routes = parse_routes(*text);
  if (!routes) {
    return fail(routes.error().code, file.string() + ": " + routes.error().message);
  }
  return routes;
}

Result<std::vector<HostCertificate>> load_certificates(const std::filesystem::path& folder) {
  std::error_code code;
  std::set<std::filesystem::path> chains;  // in an order that is the same each time
  for (std::filesystem::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code)) {
    if (entry->path().extension() == ".pem") chains.insert(entry->path());
  }
  if (code) {
    return fail(ErrorCode::invalid_argument, "can't read the folder " + folder.string(),
                code.message());
  }
  std::vector<HostCertificate> certificates;
  for (const auto& path : chains) {
    HostCertificate certificate;
    certificate.host = path.stem().string();
    ATLAS_TRY(certificate.chain_pem, read_file(path, k_file_bytes_max));
    auto key_path = path;
    key_path.replace_extension(".key");
    ATLAS_TRY(certificate.key_pem, read_file(key_path, k_file_bytes_max));
    auto chain = parse_certificates(certificate.chain_pem);
    if (!chain) {
      return fail(chain.error().code, path.string() + ": " + chain.error().message);
    }
    certificate.fingerprint = certificate_fingerprint(chain->front().get());
    certificates.push_back(std::move(certificate));
  }
  return certificates;
}

}  // namespace atlasflow::edge
