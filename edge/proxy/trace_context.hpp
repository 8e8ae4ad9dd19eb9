// Which trace a request belongs to (W3C Trace Context, level 1): what its traceparent says, when
// that is one and the only one. The edge begins none, as it writes no spans: its word on sampling
// would take the place of the application's. Pure; any thread.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "edge/proxy/field_rules.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

inline constexpr std::size_t k_traceparent_bytes = 55;  // 00-<32 digits>-<16 digits>-<2 digits>

// The trace's id in a traceparent (section 3.2); empty: it is none.
[[nodiscard]] std::string_view trace_id_of(std::string_view parent);

// The one that the request brings; empty: it brings none, one that is none, or several.
[[nodiscard]] std::string_view traceparent_of(const std::vector<http::Field>& fields);

// Of the fields that are not passed on: without a parent a malformed traceparent, and tracestate,
// which says nothing then (section 3.3).
[[nodiscard]] inline bool is_vain_trace_field(std::string_view name, std::string_view parent) {
  if (!parent.empty()) return false;
  if (name.size() < 10 || field_name::fold(name.front()) != 't') return false;
  return field_name::same_name(name, "traceparent") || field_name::same_name(name, "tracestate");
}

}  // namespace atlasflow::edge
