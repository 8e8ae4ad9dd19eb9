#include "storage/readmodel/deployment_view.hpp"

#include "base/assert.hpp"
#include "events/deployment_events.hpp"

namespace atlasflow::storage {
namespace {

bool is_milestone(const pb::Event& event) {
  switch (event.kind_case()) {
    case pb::Event::kPushReceived:
    case pb::Event::kRollbackRequested:
    case pb::Event::kRedeployRequested:
    case pb::Event::kReleaseSucceeded:
    case pb::Event::kCloned:
    case pb::Event::kBuilt:
    case pb::Event::kImagePushed:
    case pb::Event::kVmStarted:
    case pb::Event::kHealthy:
    case pb::Event::kRouted:
      return true;
    default:
      return ends_deployment(event);
  }
}

}  // namespace

std::string event_name(const pb::Event& event) {
  const auto* field =
      pb::Event::descriptor()->FindFieldByNumber(static_cast<int>(event.kind_case()));
  return field == nullptr ? "Unknown" : field->message_type()->name();
}

void take(DeploymentView& view, const Record& record) {
  if (is_terminal(view.state.status)) return;
  if (view.first_position == Position{}) {
    view.state.id = deployment_of(record.stream);
    view.created_at = record.recorded_at;
    view.first_position = record.position;
  }
  evolve(view.state, record.event);
  ATLAS_ASSERT_EQ(view.state.version, record.stream_version);
  view.updated_at = record.recorded_at;
  if (is_milestone(record.event)) {
    view.milestones.push_back({event_name(record.event), record.recorded_at, record.position});
  }
}

Result<std::optional<DeploymentView>> finished_in(const EventLog& log, const DeploymentId& id) {
  DeploymentView view;
  ATLAS_TRYV(
      log.read_stream(deployment_stream(id), StreamVersion(1), [&view](const Record& record) {
        take(view, record);
        return !is_terminal(view.state.status);
      }));
  if (!is_terminal(view.state.status)) return std::nullopt;
  return view;
}

}  // namespace atlasflow::storage
