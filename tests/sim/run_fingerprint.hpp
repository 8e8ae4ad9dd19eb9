// What a run is recognised by: every choice in it, and every byte of its log. Free function.
#pragma once

#include <string>

#include <fmt/format.h>

#include "sim/run/run.hpp"

namespace atlasflow::sim {

inline std::string fingerprint_of(const RunReport& report) {
  auto text = fmt::format("trace={:016x} steps={} events=", report.trace, report.steps);
  for (const auto byte : report.chain) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace atlasflow::sim
