#include "events/push.hpp"

#include "events/environment.hpp"

namespace atlasflow {

PushTarget target_of(const ProjectState& project, const Push& push) {
  if (push.trigger == pb::TRIGGER_COMMAND) return {.environment = k_production};
  constexpr std::string_view k_heads = "refs/heads/";
  const auto ignored = [](std::string reason) { return PushTarget{.reason = std::move(reason)}; };
  if (push.ref.starts_with("refs/tags/")) {
    return ignored("tags are not deployed: " + push.ref.substr(10));
  }
  if (!push.ref.starts_with(k_heads)) return ignored("'" + push.ref + "' is no branch");
  const auto branch = push.ref.substr(k_heads.size());
  const auto& wanted = project.branch.empty() ? push.default_branch : project.branch;
  if (branch != wanted && project.settings.previews()) {
    if (push.deleted) return {.ends_preview = true};
    return {.environment = preview_environment(branch)};
  }
  if (push.deleted) return ignored("branch '" + branch + "' was deleted");
  if (branch == wanted) return {.environment = k_production};
  return ignored("branch '" + branch + "' is not deployed; the project deploys '" + wanted + "'");
}

pb::PushReceived push_received(const Push& push, const ProjectState& project,
                               const std::string& environment) {
  pb::PushReceived event;
  event.set_project_id(project.id.str());
  event.set_project_name(project.name);
  event.set_environment(environment);
  event.set_repository_url(project.repository_url);
  event.set_ref(push.ref);
  event.set_before(push.before);
  event.set_after(push.after);
  event.set_delivery_id(push.delivery_id);
  event.set_pusher(push.pusher);
  event.set_trigger(push.trigger);
  event.set_forced(push.forced);
  event.set_no_cache(push.no_cache);
  event.set_pushed_at_s(push.pushed_at_s);
  event.set_inferred_at_s(push.inferred_at_s);
  event.set_settings_version(project.version.value());
  *event.mutable_settings() = project.settings;
  if (push.pull_request) *event.mutable_pull_request() = push.pull_request->head;
  return event;
}

pb::PushIgnored push_ignored(const Push& push, const std::string& reason) {
  pb::PushIgnored event;
  event.set_ref(push.ref);
  event.set_after(push.after);
  event.set_delivery_id(push.delivery_id);
  event.set_reason(reason);
  if (push.pull_request) *event.mutable_pull_request() = push.pull_request->head;
  return event;
}

pb::PullRequestClosed pull_request_closed(const Push& push) {
  pb::PullRequestClosed event;
  *event.mutable_pull_request() = push.pull_request->head;
  event.set_head(push.after);
  event.set_merged(push.pull_request->merged);
  event.set_delivery_id(push.delivery_id);
  event.set_by(push.by.str());
  return event;
}

pb::PullRequestHeld pull_request_held(const Push& push) {
  pb::PullRequestHeld event;
  *event.mutable_pull_request() = push.pull_request->head;
  event.set_head(push.after);
  event.set_before(push.before);
  event.set_delivery_id(push.delivery_id);
  event.set_pusher(push.pusher);
  return event;
}

pb::BranchDeleted branch_deleted(const Push& push) {
  pb::BranchDeleted event;
  event.set_ref(push.ref);
  event.set_before(push.before);
  event.set_delivery_id(push.delivery_id);
  event.set_by(push.by.str());
  return event;
}

}  // namespace atlasflow
