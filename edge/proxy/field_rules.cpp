#include "edge/proxy/field_rules.hpp"

namespace atlasflow::edge {

bool may_be_trailer(std::string_view name) {
  return !is_hop_field(name) && !is_identity_field(name) &&
         !field_name::has_prefix(name, "content-") &&
         !field_name::same_name(name, "authorization") && !field_name::same_name(name, "cookie") &&
         !field_name::same_name(name, "set-cookie") && !field_name::same_name(name, "trailer") &&
         !field_name::same_name(name, "location") && !field_name::same_name(name, "cache-control");
}

std::optional<http::HttpError> check_connection_options(
    const std::vector<std::string_view>& options) {
  for (const std::string_view option : options) {
    if (!http::is_token(option)) return http::HttpError{400, "Connection is not a list of names."};
    if (is_identity_field(option) || field_name::has_prefix(option, "content-") ||
        field_name::same_name(option, "transfer-encoding") ||
        field_name::same_name(option, "cookie") || field_name::same_name(option, "authorization")) {
      return http::HttpError{400, "Connection names a field that is not this hop's to drop."};
    }
  }
  return std::nullopt;
}

}  // namespace atlasflow::edge
