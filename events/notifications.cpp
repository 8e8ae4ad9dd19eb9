#include "events/notifications.hpp"

#include "base/probe.hpp"
#include "events/domain.hpp"
#include "events/project_history.hpp"

namespace atlasflow {
namespace {

// Why, as a sentence or a name; the log's own words, so no byte of a build or run log is in it.
std::string reason_for(DeploymentResult result, const pb::Event& event,
                       const DeploymentState& state) {
  switch (result) {
    case DeploymentResult::live:
      break;
    case DeploymentResult::failed:
      return event.deployment_failed().reason();
    case DeploymentResult::cancelled:
      return "cancelled by " + state.cancelled_by +
             (state.cancel_reason.empty() ? "" : ": " + state.cancel_reason);
    case DeploymentResult::superseded:
      return "superseded by deployment " + state.superseded_by;
    case DeploymentResult::skipped:
      return event.deployment_skipped().reason();
    case DeploymentResult::crashed:
      return "it crashed too often in a row and is not started any more";
  }
  return "";
}

}  // namespace

std::string_view name_of(DeploymentResult result) {
  switch (result) {
    case DeploymentResult::live:
      return "live";
    case DeploymentResult::failed:
      return "failed";
    case DeploymentResult::cancelled:
      return "cancelled";
    case DeploymentResult::superseded:
      return "superseded";
    case DeploymentResult::skipped:
      return "skipped";
    case DeploymentResult::crashed:
      return "crashed";
  }
  return "unknown";
}

std::optional<DeploymentResult> result_of(const pb::Event& event, DeploymentStatus before,
                                          DeploymentStatus after) {
  switch (event.kind_case()) {
    case pb::Event::kRouted:
      return DeploymentResult::live;
    case pb::Event::kDeploymentFailed:
      return DeploymentResult::failed;
    case pb::Event::kDeploymentCancelled:
      return DeploymentResult::cancelled;
    case pb::Event::kDeploymentSuperseded:
      return DeploymentResult::superseded;
    case pb::Event::kDeploymentSkipped:
      return DeploymentResult::skipped;
    default:
      break;
  }
  // One slot of several that is given up leaves the app live, so it is the status that counts.
  const bool crashed = before != DeploymentStatus::crashed && after == DeploymentStatus::crashed;
  return crashed ? std::optional(DeploymentResult::crashed) : std::nullopt;
}

std::string Notification::about() const { return expiry ? expiry->domain : deployment.str(); }

std::string Notification::outcome() const {
  constexpr std::size_t k_digits = 16;
  if (!expiry) return std::string(name_of(result));
  // With its time: who brings a certificate back is told of its end again.
  return std::string(name_of(expiry->stage)) + "-" + expiry->fingerprint.substr(0, k_digits) + "-" +
         std::to_string(at);
}

std::string Notification::delivery() const { return about() + "-" + outcome(); }

void NotificationsOwed::apply(const StreamId& stream, const pb::Event& event,
                              TimestampUs recorded_at) {
  if (const auto project = project_of(stream); !project.empty()) {
    apply_to_project(project, event);
  } else if (const auto id = deployment_of(stream); !id.empty()) {
    apply_to_deployment(id, event, recorded_at);
  } else if (const auto notified = notified_project_of(stream); !notified.empty()) {
    if (event.has_notification_sent()) {
      const auto& sent = event.notification_sent();
      settle(notified, sent.domain().empty() ? sent.deployment() : sent.domain(), sent.result());
    } else if (event.has_notification_failed()) {
      const auto& failed = event.notification_failed();
      settle(notified, failed.domain().empty() ? failed.deployment() : failed.domain(),
             failed.result());
    }
  } else if (event.has_certificate_expiring()) {
    apply_to_certificate(domain_of(stream), event.certificate_expiring(), recorded_at);
  }
}

void NotificationsOwed::apply_to_project(const ProjectId& id, const pb::Event& event) {
  auto& project = projects_[id];
  project.id = id;
  evolve(project, event);
  if (project.deleted) {
    forget(id);
    projects_.erase(id);
  } else if (project.settings.notify_url().empty()) {
    // Whoever takes the URL away wants nobody told, of what was before either.
    forget(id);
  }
}

void NotificationsOwed::apply_to_deployment(const DeploymentId& id, const pb::Event& event,
                                            TimestampUs recorded_at) {
  if (push_of(event) != nullptr) deployments_[id].state.id = id;
  const auto found = deployments_.find(id);
  if (found == deployments_.end()) return;
  auto& [state, had] = found->second;
  const auto before = state.status;
  evolve(state, event);
  const auto result = result_of(event, before, state.status);
  const auto project = projects_.find(ProjectId{state.push.project_id()});
  if (result && had.insert(*result).second && project != projects_.end() &&
      !project->second.settings.notify_url().empty()) {
    Notification owed;
    owed.project_id = project->first;
    owed.project = state.push.project_name();
    owed.deployment = id;
    owed.result = *result;
    owed.environment = state.push.environment();
    owed.commit = state.push.after();
    owed.subject = state.subject;
    owed.hostname = hostnames_of(state, domain_).front();
    owed.reason = reason_for(*result, event, state);
    if (*result == DeploymentResult::failed) {
      owed.step = name_of(event.deployment_failed().step());
    }
    owed.requested_by = state.requested_by;
    owed.at = recorded_at;
    owed.url = project->second.settings.notify_url();
    owed_[{owed.project_id, owed.url}].push_back(std::move(owed));
  }
  if (is_terminal(state.status)) deployments_.erase(found);
}

void NotificationsOwed::apply_to_certificate(const std::string& domain,
                                             const pb::CertificateExpiring& expiring,
                                             TimestampUs recorded_at) {
  const auto project = projects_.find(ProjectId{expiring.project_id()});
  if (project == projects_.end() || project->second.settings.notify_url().empty()) return;
  Notification owed;
  owed.project_id = project->first;
  owed.project = project->second.name;
  owed.hostname = domain;
  owed.reason = expiring.reason();
  owed.at = recorded_at;
  owed.url = project->second.settings.notify_url();
  owed.expiry =
      ExpiryNews{domain, expiring.stage(), expiring.fingerprint(), expiring.not_after_us()};
  owed_[{owed.project_id, owed.url}].push_back(std::move(owed));
}

void NotificationsOwed::settle(const ProjectId& id, const std::string& about,
                               const std::string& outcome) {
  for (auto& [receiver, queue] : owed_) {
    if (receiver.project != id) continue;
    std::erase_if(queue, [&](const Notification& owed) {
      return owed.about() == about && owed.outcome() == outcome;
    });
  }
  std::erase_if(owed_, [](const auto& entry) { return entry.second.empty(); });
}

void NotificationsOwed::forget(const ProjectId& id) {
  const auto forgotten =
      std::erase_if(owed_, [&](const auto& entry) { return entry.first.project == id; });
  ATLAS_PROBE(forgotten != 0, "what a receiver was to be told is owed no more");
}

std::string NotificationsOwed::secret_ref_of(const ProjectId& id) const {
  const auto found = projects_.find(id);
  return found == projects_.end() ? "" : found->second.notify_secret_ref;
}

}  // namespace atlasflow
