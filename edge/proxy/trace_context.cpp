#include "edge/proxy/trace_context.hpp"

namespace atlasflow::edge {
namespace {

bool is_hex(std::string_view text) {
  return text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string_view trace_id_of(std::string_view parent) {
  if (parent.size() < k_traceparent_bytes || parent[2] != '-' || parent[35] != '-' ||
      parent[52] != '-') {
    return {};
  }
  // A later version may say more, behind one more hyphen.
  if (parent.size() > k_traceparent_bytes &&
      (parent.starts_with("00") || parent[k_traceparent_bytes] != '-')) {
    return {};
  }
  const std::string_view trace = parent.substr(3, 32);
  const std::string_view span = parent.substr(36, 16);
  const bool valid = is_hex(parent.substr(0, 2)) && !parent.starts_with("ff") && is_hex(trace) &&
                     is_hex(span) && is_hex(parent.substr(53, 2)) &&
                     trace.find_first_not_of('0') != std::string_view::npos &&
                     span.find_first_not_of('0') != std::string_view::npos;
  return valid ? trace : std::string_view{};
}

std::string_view traceparent_of(const std::vector<http::Field>& fields) {
  constexpr std::string_view k_name = "traceparent";
  std::string_view found;
  for (const http::Field& field : fields) {
    if (field.name.size() != k_name.size() || !field_name::same_name(field.name, k_name)) continue;
    if (!found.empty() || trace_id_of(field.value).empty()) return {};
    found = field.value;
  }
  return found;
}

}  // namespace atlasflow::edge
