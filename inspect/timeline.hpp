// A deployment's steps with their times: how long each took, what was waited for, what was tried
// again. A fold of its records; pure.
#pragma once

#include <string>
#include <vector>

#include "storage/log/event_log.hpp"

namespace atlasflow::inspect {

struct Span {
  std::string step;  // "clone", "build", "wait", "health", …
  TimestampUs begin = 0;
  TimestampUs end = 0;  // of an unfinished one: of the newest event
  bool finished = false;
  bool failed = false;
  std::string outcome;  // the event that ended it; empty while it goes on
  Position position;    // of the event that began it
};

// In the order of their begins.
[[nodiscard]] std::vector<Span> timeline_of(const std::vector<storage::Record>& records);

// The time that all spans of each step took together, in the order of their first begins.
struct StepTotal {
  std::string step;
  std::int64_t us = 0;
  std::int32_t times = 0;
};
[[nodiscard]] std::vector<StepTotal> totals_of(const std::vector<Span>& spans);

}  // namespace atlasflow::inspect
