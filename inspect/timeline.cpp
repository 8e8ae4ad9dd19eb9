#include "inspect/timeline.hpp"

#include <algorithm>
#include <array>
#include <string_view>

#include "storage/readmodel/catalog.hpp"

namespace atlasflow::inspect {
namespace {

// Which events begin a step and which end it.
struct StepRule {
  std::string_view step;
  std::string_view begins;  // separated by spaces
  std::string_view succeeds;
  std::string_view fails;
};
constexpr std::array k_steps = {
    StepRule{"wait", "PushReceived RollbackRequested RedeployRequested",
             "CloneStarted VMPlacementRequested ReleaseStarted",
             "DeploymentSuperseded DeploymentCancelled DeploymentSkipped"},
    StepRule{"clone", "CloneStarted", "Cloned", "CloneFailed"},
    StepRule{"build", "BuildStarted", "Built",
             "BuildFailed BuildTimedOut BuildAbandoned BuilderLost"},
    StepRule{"push image", "ImagePushStarted", "ImagePushed", "ImagePushFailed"},
    StepRule{"release", "ReleaseStarted", "ReleaseSucceeded", "ReleaseFailed"},
    StepRule{"place VM", "VMPlacementRequested", "VMPlaced", "CapacityExhausted"},
    StepRule{"start VM", "VMStartRequested", "VMStarted", "VMStartFailed VMHostLost"},
    StepRule{"health", "VMStarted", "Healthy", "HealthDeadlineExceeded VMExited VMHostLost"},
    StepRule{"route", "RouteChangeRequested", "Routed", "RouteFailed"},
    StepRule{"retry", "RetryScheduled", "TimerFired", ""},
    StepRule{"serve", "Routed", "RetirementRequested StopRequested", "CrashLoopDetected"},
    StepRule{"drain", "DrainRequested RetirementRequested", "Drained", ""},
    StepRule{"stop VM", "VMStopRequested", "VMStopped", ""},
};

bool lists(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    const auto end = list.find(' ');
    if (list.substr(0, end) == word) return true;
    if (end == std::string_view::npos) return false;
    list.remove_prefix(end + 1);
  }
  return false;
}

bool ends_deployment(std::string_view type) {
  return lists(
      "DeploymentFailed DeploymentRetired DeploymentCancelled DeploymentSuperseded "
      "DeploymentSkipped",
      type);
}

}  // namespace

std::vector<Span> timeline_of(const std::vector<storage::Record>& records) {
  std::vector<Span> spans;
  for (const auto& record : records) {
    const auto type = storage::event_name(record.event);
    for (const auto& rule : k_steps) {
      const bool succeeded = lists(rule.succeeds, type);
      const bool failed = lists(rule.fails, type);
      if (!succeeded && !failed) continue;
      // The oldest that is open: replicas go through their steps side by side.
      const auto open = std::ranges::find_if(
          spans, [&](const Span& span) { return span.step == rule.step && !span.finished; });
      if (open == spans.end()) continue;
      open->end = record.recorded_at;
      open->finished = true;
      open->failed = failed;
      open->outcome = type;
    }
    if (ends_deployment(type)) {
      for (auto& span : spans) {
        if (span.finished) continue;
        span.end = record.recorded_at;
        span.finished = true;
        span.outcome = type;
      }
    }
    for (const auto& rule : k_steps) {
      // A rollback of one that serves again waits for nobody.
      if (!lists(rule.begins, type)) continue;
      spans.push_back({std::string(rule.step), record.recorded_at, record.recorded_at, false, false,
                       "", record.position});
    }
  }
  for (auto& span : spans) {
    if (!span.finished) span.end = records.back().recorded_at;
  }
  return spans;
}

std::vector<StepTotal> totals_of(const std::vector<Span>& spans) {
  std::vector<StepTotal> totals;
  for (const auto& span : spans) {
    auto total = std::ranges::find(totals, span.step, &StepTotal::step);
    if (total == totals.end()) total = totals.insert(total, {span.step, 0, 0});
    total->us += span.end - span.begin;
    ++total->times;
  }
  return totals;
}

}  // namespace atlasflow::inspect
