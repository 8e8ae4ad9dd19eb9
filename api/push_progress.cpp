#include "api/push_progress.hpp"

#include <algorithm>
#include <array>

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;
using storage::DeploymentView;

constexpr auto k_between_looks = 300ms;

// What is told of each of the seven events but the first.
constexpr std::array<std::pair<std::string_view, std::string_view>, 6> k_steps = {{
    {"Cloned", "the commit is checked out"},
    {"Built", "it is built"},
    {"ImagePushed", "the image is in the registry"},
    {"VMStarted", "a microVM is started"},
    {"Healthy", "it is healthy"},
    {"Routed", "it has the traffic"},
}};

std::string seconds_of(TimestampUs span) {
  const auto tenths = std::max<TimestampUs>(span, 0) / 100'000;
  return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

// Which of its logs tells more.
std::string log_of(const DeploymentView& view) {
  const auto& id = view.state.id.str();
  switch (view.state.failure->step) {
    case pb::STEP_BUILD:
      return "'atlasflow logs " + id + " --build' shows its log";
    case pb::STEP_RELEASE:
      return "'atlasflow logs " + id + " --release' shows its log";
    case pb::STEP_START_VM:
    case pb::STEP_HEALTH:
    case pb::STEP_ROUTE:
      return "'atlasflow logs " + id + "' shows what the app said";
    default:
      return "'atlasflow timeline " + id + "' shows its steps";
  }
}

std::string end_of(const DeploymentView& view) {
  const auto& state = view.state;
  const auto& id = state.id.str();
  if (state.failure) {
    return "deployment " + id + " failed at the " + std::string(name_of(state.failure->step)) +
           ": " + state.failure->reason + "; " + log_of(view);
  }
  if (state.status == DeploymentStatus::skipped) {
    return "deployment " + id + " was skipped: " + state.skip_reason;
  }
  if (!state.superseded_by.empty()) {
    return "deployment " + id + " gave way to " + state.superseded_by + ", which is newer";
  }
  return "deployment " + id + " was " + std::string(name_of(state.status)) +
         (state.cancel_reason.empty() ? "" : ": " + state.cancel_reason);
}

}  // namespace

void tell_progress(const Context& context, const DeploymentId& id,
                   std::chrono::milliseconds at_most,
                   const std::function<void(const std::string&)>& tell,
                   const std::function<bool(std::chrono::milliseconds)>& pause) {
  const auto until = std::chrono::steady_clock::now() + at_most;
  std::size_t told = 0;
  while (true) {
    const auto view = context.control.catalog().deployment(id);
    if (!view && view.error().code != ErrorCode::not_found) return tell(view.error().message);
    if (view) {
      for (; told < view->milestones.size(); ++told) {
        const auto& milestone = view->milestones[told];
        const auto step = std::ranges::find(k_steps, std::string_view(milestone.name),
                                            [](const auto& each) { return each.first; });
        if (step == k_steps.end()) continue;
        tell(std::string(step->second) + ", after " + seconds_of(milestone.at - view->created_at));
      }
      if (view->state.routed) {
        const auto hostnames = hostnames_of(view->state, context.address.domain);
        return tell("live at " + context.address.url_of_host(hostnames.front()));
      }
      if (is_terminal(view->state.status)) return tell(end_of(*view));
    }
    if (std::chrono::steady_clock::now() >= until) {
      return tell("it goes on; 'atlasflow logs " + id.str() + " --build -f' follows it");
    }
    if (!pause(k_between_looks)) return;
  }
}

}  // namespace atlasflow::api
