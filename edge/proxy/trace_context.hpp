// Which trace a request belongs to (W3C Trace Context, level 1): what its traceparent says, when
// that is one and the only one, else one that begins here. Pure; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "edge/proxy/field_rules.hpp"
#include "http/message.hpp"

namespace atlasflow::edge {

inline constexpr std::size_t k_traceparent_bytes = 55;  // 00-<32 digits>-<16 digits>-<2 digits>

struct TraceContext {
  std::string_view parent;  // the field's value as the application gets it
  bool begins_here = false;
};

// The trace's id in a traceparent (section 3.2); empty: it is none.
[[nodiscard]] std::string_view trace_id_of(std::string_view parent);

// The one that the request brings; empty: it brings none, one that is none, or several.
[[nodiscard]] std::string_view traceparent_of(const std::vector<http::Field>& fields);

// One of a trace that begins here, of three random numbers. It asks whoever follows to record it:
// an application that goes by its parent's word would otherwise never record anything.
void write_traceparent(const std::array<std::uint64_t, 3>& random,
                       std::array<char, k_traceparent_bytes>& out);

// Of the fields that are not passed on as they came: traceparent, which is written anew, and
// tracestate, which says nothing without its parent (section 3.3).
[[nodiscard]] inline bool is_trace_field(std::string_view name, const TraceContext& trace) {
  if (name.size() < 10 || field_name::fold(name.front()) != 't') return false;
  return field_name::same_name(name, "traceparent") ||
         (trace.begins_here && field_name::same_name(name, "tracestate"));
}

}  // namespace atlasflow::edge
