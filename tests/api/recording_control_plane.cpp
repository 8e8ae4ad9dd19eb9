#include "tests/api/recording_control_plane.hpp"

#include "base/assert.hpp"
#include "events/environment.hpp"
#include "events/settings.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::api::testing {
namespace {

constexpr const char* k_sha = "1111111111111111111111111111111111111111";

}  // namespace

RecordingControlPlane::RecordingControlPlane()
    : receipts(std::vector<actors::PushReceipt>{}), log_(storage::open_memory_event_log()) {
  ATLAS_ASSERT(log_->begin_epoch().has_value(), "a log in memory takes an epoch");
}

void RecordingControlPlane::append(const StreamId& stream, const std::vector<pb::Event>& events) {
  const std::lock_guard lock(mutex_);
  storage::AppendRequest request;
  request.stream = stream;
  request.expected_version = log_->version_of(stream).value();
  request.events = events;
  request.correlation_id = "delivery-1";
  request.actor = "test";
  now_ += k_second_us;
  const auto outcomes = log_->append({request}, now_);
  ATLAS_ASSERT(outcomes.has_value(), "a log in memory takes what it is given");
  for (const auto& record : std::get<storage::Appended>(outcomes->front()).records) {
    catalog_.apply(record);
  }
}

void RecordingControlPlane::add_project(const std::string& name,
                                        const std::string& webhook_secret) {
  pb::Event created;
  created.mutable_project_created()->set_name(name);
  *created.mutable_project_created()->mutable_settings() = default_settings();
  pb::Event connected;
  connected.mutable_repository_connected()->set_url("https://example.test/acme/" + name);
  connected.mutable_repository_connected()->set_branch("main");
  if (!webhook_secret.empty()) {
    connected.mutable_repository_connected()->set_webhook_secret_ref("sealed-" + name);
    const std::lock_guard lock(mutex_);
    webhook_secrets_.emplace_back(name, webhook_secret);
  }
  append(project_stream(ProjectId(name)), {created, connected});
}

pb::PushReceived RecordingControlPlane::push_to(const std::string& project) {
  pb::PushReceived push;
  push.set_project_id(project);
  push.set_project_name(project);
  push.set_environment("production");
  push.set_repository_url("https://example.test/acme/" + project);
  push.set_ref("refs/heads/main");
  push.set_after(k_sha);
  push.set_delivery_id("delivery-1");
  push.set_trigger(pb::TRIGGER_WEBHOOK);
  *push.mutable_settings() = default_settings();
  return push;
}

void RecordingControlPlane::add_deployment(const std::string& id, const std::string& project) {
  pb::Event event;
  *event.mutable_push_received() = push_to(project);
  append(deployment_stream(DeploymentId(id)), {event});
}

void RecordingControlPlane::add_preview(const std::string& id, const std::string& project,
                                        const std::string& branch) {
  pb::Event event;
  *event.mutable_push_received() = push_to(project);
  event.mutable_push_received()->set_environment(preview_environment(branch));
  event.mutable_push_received()->set_ref("refs/heads/" + branch);
  append(deployment_stream(DeploymentId(id)), {event});
}

void RecordingControlPlane::add_rollback(const std::string& id, const std::string& project,
                                         const std::string& to, const std::string& by) {
  pb::Event event;
  auto& request = *event.mutable_rollback_requested();
  *request.mutable_push() = push_to(project);
  request.set_to(to);
  request.set_by(by);
  request.mutable_built()->set_reference("registry/" + project + "@sha256:00");
  append(deployment_stream(DeploymentId(id)), {event});
}

void RecordingControlPlane::add_redeployment(const std::string& id, const std::string& project,
                                             const std::string& of, pb::Redeployment kind) {
  pb::Event event;
  auto& request = *event.mutable_redeploy_requested();
  *request.mutable_push() = push_to(project);
  request.set_of(of);
  request.set_by("user");
  request.set_kind(kind);
  append(deployment_stream(DeploymentId(id)), {event});
}

void RecordingControlPlane::append_to(const std::string& deployment, const pb::Event& event) {
  append(deployment_stream(DeploymentId(deployment)), {event});
}

std::string RecordingControlPlane::start_vm(const std::string& deployment) {
  return start_vm(deployment, 0);
}

std::string RecordingControlPlane::start_vm(const std::string& deployment, std::int32_t slot) {
  pb::Event requested;
  requested.mutable_vm_start_requested()->set_slot(slot);
  requested.mutable_vm_start_requested()->set_attempt(1);
  requested.mutable_vm_start_requested()->set_host("local");
  append_to(deployment, requested);
  const auto version = catalog_.deployment(DeploymentId(deployment))->state.version;
  const auto vm_id = effect_id(DeploymentId(deployment), version).str();
  pb::Event started;
  started.mutable_vm_started()->set_vm_id(vm_id);
  started.mutable_vm_started()->set_host("local");
  started.mutable_vm_started()->set_address("10.0.0.2");
  started.mutable_vm_started()->set_port(3000);
  started.mutable_vm_started()->set_slot(slot);
  append_to(deployment, started);
  return vm_id;
}

std::string RecordingControlPlane::start_build(const std::string& deployment) {
  pb::Event started;
  started.mutable_build_started()->set_attempt(1);
  append_to(deployment, started);
  return catalog_.deployment(DeploymentId(deployment))->state.build.str();
}

void RecordingControlPlane::fail_deployment(const std::string& deployment) {
  pb::Event failed;
  failed.mutable_deployment_failed()->set_step(pb::STEP_BUILD);
  failed.mutable_deployment_failed()->set_fault(pb::FAULT_USER);
  failed.mutable_deployment_failed()->set_reason("exit code 1");
  append_to(deployment, failed);
}

void RecordingControlPlane::make_live(const std::string& deployment) {
  pb::Event healthy;
  healthy.mutable_healthy()->set_vm_id(start_vm(deployment));
  healthy.mutable_healthy()->set_status(200);
  append_to(deployment, healthy);
  pb::Event claim;
  claim.mutable_route_change_requested()->set_generation(log_->last_position().value());
  claim.mutable_route_change_requested()->add_hostnames("shop.atlasflow.localhost");
  append_to(deployment, claim);
  pb::Event routed;
  routed.mutable_routed()->set_generation(1);
  append_to(deployment, routed);
}

RecordingControlPlane::Calls RecordingControlPlane::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

Result<std::vector<actors::PushReceipt>> RecordingControlPlane::receive_push(const Push& push) {
  const std::lock_guard lock(mutex_);
  calls_.pushes.push_back(push);
  return receipts;
}

Result<ProjectId> RecordingControlPlane::create_project(const actors::NewProject& project) {
  {
    const std::lock_guard lock(mutex_);
    calls_.projects.push_back(project);
  }
  if (catalog_.project_named(project.name)) {
    return fail(ErrorCode::already_exists, "There is a project of that name.");
  }
  add_project(project.name, project.webhook_secret.value_or(""));
  return ProjectId(project.name);
}

Result<void> RecordingControlPlane::delete_project(const std::string& name) {
  if (!catalog_.project_named(name)) return fail(ErrorCode::not_found, "There is no such project.");
  pb::Event event;
  event.mutable_project_deleted();
  append(project_stream(ProjectId(name)), {event});
  const std::lock_guard lock(mutex_);
  calls_.deleted.push_back(name);
  return {};
}

Result<void> RecordingControlPlane::change_settings(
    const std::string& project, const std::vector<std::pair<std::string, std::string>>& settings) {
  const std::lock_guard lock(mutex_);
  calls_.settings.emplace_back(project, settings);
  return {};
}

Result<void> RecordingControlPlane::set_env(
    const std::string& project, const std::vector<std::pair<std::string, std::string>>& entries) {
  {
    const std::lock_guard lock(mutex_);
    calls_.env_sets.emplace_back(project, entries);
  }
  if (!env_outcome) return env_outcome;
  for (const auto& [name, value] : entries) {
    pb::Event event;
    event.mutable_env_set()->set_name(name);
    event.mutable_env_set()->set_digest("0123456789ab");
    event.mutable_env_set()->set_sealed_ref("ref");
    append(project_stream(ProjectId(project)), {event});
  }
  return {};
}

Result<void> RecordingControlPlane::unset_env(const std::string& project,
                                              const std::vector<std::string>& names) {
  {
    const std::lock_guard lock(mutex_);
    calls_.env_unsets.emplace_back(project, names);
  }
  for (const auto& name : names) {
    pb::Event event;
    event.mutable_env_unset()->set_name(name);
    append(project_stream(ProjectId(project)), {event});
  }
  return {};
}

Result<DeploymentId> RecordingControlPlane::deploy(const std::string& project,
                                                   const std::optional<std::string>& sha,
                                                   const std::string& command_id) {
  {
    const std::lock_guard lock(mutex_);
    calls_.deploys.push_back({project, sha, command_id});
  }
  if (deployed) add_deployment(deployed->str(), project);
  return deployed;
}

void RecordingControlPlane::record(const std::string& verb, const std::string& rest) {
  {
    const std::lock_guard lock(mutex_);
    calls_.life.push_back(verb + " " + rest);
  }
  if (const auto next = then.find(verb); next != then.end()) next->second();
}

Result<DeploymentId> RecordingControlPlane::rollback(const std::string& project,
                                                     const std::optional<DeploymentId>& to,
                                                     const std::string& command_id) {
  if (made) add_rollback(made->str(), project, to ? to->str() : "bbbbbbb2");
  record("rollback", project + " " + (to ? to->str() : "-") + " " + command_id);
  return made;
}

Result<DeploymentId> RecordingControlPlane::redeploy(const std::string& project,
                                                     const std::optional<DeploymentId>& of,
                                                     const std::string& command_id) {
  if (made) {
    add_redeployment(made->str(), project, of ? of->str() : "bbbbbbb2", pb::REDEPLOYMENT_REDEPLOY);
  }
  record("redeploy", project + " " + (of ? of->str() : "-") + " " + command_id);
  return made;
}

Result<DeploymentId> RecordingControlPlane::promote(const DeploymentId& deployment,
                                                    const std::string& command_id) {
  if (made) add_redeployment(made->str(), "shop", deployment.str(), pb::REDEPLOYMENT_PROMOTE);
  record("promote", deployment.str() + " " + command_id);
  return made;
}

Result<DeploymentId> RecordingControlPlane::restart(const std::string& project,
                                                    const std::string& command_id) {
  if (made) add_redeployment(made->str(), project, "bbbbbbb2", pb::REDEPLOYMENT_RESTART);
  record("restart", project + " " + command_id);
  return made;
}

Result<void> RecordingControlPlane::cancel(const DeploymentId& deployment) {
  record("cancel", deployment.str());
  return life_outcome;
}

Result<void> RecordingControlPlane::stop_app(const std::string& project) {
  record("stop_app", project);
  return life_outcome;
}

Result<void> RecordingControlPlane::start_app(const std::string& project) {
  record("start_app", project);
  return life_outcome;
}

Result<bool> RecordingControlPlane::scale(const std::string& project, std::int32_t replicas) {
  record("scale", project + " " + std::to_string(replicas));
  return scaled;
}

Result<void> RecordingControlPlane::set_notify_secret(const std::string& project,
                                                      const std::string& secret) {
  pb::Event event;
  event.mutable_notify_secret_set()->set_sealed_ref("ref");
  append(project_stream(ProjectId(project)), {event});
  const std::lock_guard lock(mutex_);
  calls_.notify_secrets.emplace_back(project, secret);
  return life_outcome;
}

std::vector<std::pair<std::string, std::string>> RecordingControlPlane::webhook_secrets() {
  const std::lock_guard lock(mutex_);
  return webhook_secrets_;
}

Result<void> RecordingControlPlane::connect_github_app(const actors::NewGitHubApp& app) {
  pb::Event event;
  event.mutable_github_app_connected()->set_app_id(app.app_id);
  event.mutable_github_app_connected()->set_slug(app.slug);
  event.mutable_github_app_connected()->set_base_url(app.base_url);
  event.mutable_github_app_connected()->set_key_fingerprint(app.key_fingerprint);
  append(github_stream(), {event});
  const std::lock_guard lock(mutex_);
  github_webhook_secret_ = app.webhook_secret;
  return life_outcome;
}

Result<void> RecordingControlPlane::disconnect_github_app() {
  pb::Event event;
  event.mutable_github_app_disconnected();
  append(github_stream(), {event});
  const std::lock_guard lock(mutex_);
  github_webhook_secret_ = {};
  return life_outcome;
}

Secret RecordingControlPlane::github_webhook_secret() {
  const std::lock_guard lock(mutex_);
  return github_webhook_secret_;
}

std::vector<actors::ControlPlane::PartStatus> RecordingControlPlane::parts() {
  return {{"edge", "ok", "4 routes"}};
}

}  // namespace atlasflow::api::testing
