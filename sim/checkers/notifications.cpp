#include "sim/checkers/notifications.hpp"

#include <algorithm>

#include "events/domain.hpp"
#include "events/ids.hpp"
#include "events/project_history.hpp"

namespace atlasflow::sim {

void Notifications::take(const storage::Record& record) {
  if (const auto project = project_of(record.stream); !project.empty()) {
    take_of_project(project.str(), record.event);
  } else if (const auto id = deployment_of(record.stream); !id.empty()) {
    take_of_deployment(id.str(), record.event);
  } else if (const auto notified = notified_project_of(record.stream); !notified.empty()) {
    take_news(notified.str(), record.event);
  } else if (record.event.has_certificate_expiring()) {
    const auto& expiring = record.event.certificate_expiring();
    const auto url = urls_.find(expiring.project_id());
    if (url == urls_.end() || url->second.empty()) return;
    owed_[expiring.project_id()].insert(
        domain_of(record.stream) + "-" + std::string(name_of(expiring.stage())) + "-" +
        expiring.fingerprint().substr(0, 16) + "-" + std::to_string(record.recorded_at));
  }
}

void Notifications::take_of_project(const std::string& id, const pb::Event& event) {
  if (event.has_project_created()) {
    urls_[id] = event.project_created().settings().notify_url();
  } else if (event.has_settings_changed()) {
    urls_[id] = event.settings_changed().settings().notify_url();
  } else if (event.has_project_deleted()) {
    urls_.erase(id);
  }
  // Without an address nobody is to be told, of what was before either.
  const auto url = urls_.find(id);
  if (url == urls_.end() || url->second.empty()) owed_.erase(id);
}

void Notifications::take_of_deployment(const std::string& id, const pb::Event& event) {
  auto& deployment = deployments_[id];
  if (const auto* push = push_of(event)) {
    deployment.project = push->project_id();
    deployment.replicas = std::max(push->settings().replicas(), 1);
  }
  std::string result;
  if (event.has_cloned() && event.cloned().has_settings()) {
    deployment.replicas = std::max(event.cloned().settings().replicas(), 1);
  } else if (event.has_scale_requested()) {
    deployment.replicas = event.scale_requested().replicas();
    std::erase_if(deployment.given_up, [&](auto slot) { return slot >= deployment.replicas; });
  } else if (event.has_start_requested()) {
    deployment.given_up.clear();
  } else if (event.has_routed()) {
    deployment.routed = true;
    result = "live";
  } else if (event.has_deployment_failed()) {
    result = "failed";
  } else if (event.has_deployment_cancelled()) {
    result = "cancelled";
  } else if (event.has_deployment_superseded()) {
    result = "superseded";
  } else if (event.has_deployment_skipped()) {
    result = "skipped";
  } else if (event.has_crash_loop_detected()) {
    deployment.given_up.insert(event.crash_loop_detected().slot());
  }
  // It has crashed when no slot is left that could serve.
  if (deployment.routed && result.empty() &&
      static_cast<std::int32_t>(deployment.given_up.size()) >= deployment.replicas) {
    result = "crashed";
  }
  if (result.empty() || !deployment.results.insert(result).second) return;
  const auto url = urls_.find(deployment.project);
  if (url == urls_.end() || url->second.empty()) return;
  owed_[deployment.project].insert(id + "-" + result);
}

void Notifications::take_news(const std::string& project, const pb::Event& event) {
  const auto settled = [&](const auto& news) {
    // One of them is empty.
    owed_[project].erase(news.deployment() + news.domain() + "-" + news.result());
  };
  if (event.has_notification_sent()) settled(event.notification_sent());
  if (event.has_notification_failed()) settled(event.notification_failed());
}

std::string Notifications::unsettled() const {
  for (const auto& [project, news] : owed_) {
    if (!news.empty()) return urls_.at(project) + " is still to be told of " + *news.begin();
  }
  return "";
}

}  // namespace atlasflow::sim
