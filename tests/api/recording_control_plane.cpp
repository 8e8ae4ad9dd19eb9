// Long because: one visitor must answer every command, and most are a few lines.
#include "tests/api/recording_control_plane.hpp"

#include "base/assert.hpp"
#include "events/environment.hpp"
#include "events/settings.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::api::testing {
namespace {

constexpr const char* k_sha = "1111111111111111111111111111111111111111";
constexpr const char* k_chosen = "bbbbbbb2";  // where a command names no deployment

class FragileLog final : public storage::ForwardingEventLog {
 public:
  explicit FragileLog(const std::atomic<bool>& index_is_damaged)
      : ForwardingEventLog(storage::open_memory_event_log()), index_is_damaged_(index_is_damaged) {}

  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    if (index_is_damaged_) return fail(ErrorCode::corrupt, "an index is damaged");
    return ForwardingEventLog::read_stream(stream, first, visit);
  }

 private:
  const std::atomic<bool>& index_is_damaged_;
};

}  // namespace

RecordingControlPlane::RecordingControlPlane()
    : receipts(std::vector<actors::PushReceipt>{}),
      log_(std::make_unique<FragileLog>(index_is_damaged)) {
  ATLAS_ASSERT(log_->begin_epoch().has_value(), "a log in memory takes an epoch");
  catalog_.read_finished_from(*log_);
}

void RecordingControlPlane::append(const StreamId& stream, const std::vector<pb::Event>& events) {
  const std::lock_guard lock(mutex_);
  storage::AppendRequest request;
  request.stream = stream;
  request.expected_version = log_->version_of(stream).value();
  request.events = events;
  request.correlation_id = "delivery-1";
  request.actor = Principal::system("test");
  now_ += k_second_us;
  const auto outcomes = log_->append({request}, now_);
  ATLAS_ASSERT(outcomes.has_value(), "a log in memory takes what it is given");
  for (const auto& record : std::get<storage::Appended>(outcomes->front()).records) {
    catalog_.apply(record);
  }
}

void RecordingControlPlane::add_project(const std::string& name, const std::string& webhook_secret,
                                        const std::string& repository_url) {
  pb::Event created;
  created.mutable_project_created()->set_name(name);
  *created.mutable_project_created()->mutable_settings() = default_settings();
  pb::Event connected;
  connected.mutable_repository_connected()->set_url(
      repository_url.empty() ? "https://example.test/acme/" + name : repository_url);
  connected.mutable_repository_connected()->set_branch("main");
  if (!webhook_secret.empty()) {
    connected.mutable_repository_connected()->set_webhook_secret_ref("sealed-" + name);
    const std::lock_guard lock(mutex_);
    webhook_secrets_.emplace_back(name, webhook_secret);
  }
  append(project_stream(ProjectId(name)), {created, connected});
}

void RecordingControlPlane::add_domain(const std::string& domain, const std::string& project) {
  pb::Event event;
  auto* added = event.mutable_domain_added();
  added->set_project_id(project);
  added->set_project_name(project);
  added->set_display_name(domain);
  added->set_token("0123456789abcdef0123456789abcdef");
  added->set_by("user");
  append_to_domain(domain, {event});
}

void RecordingControlPlane::append_to_domain(const std::string& domain,
                                             const std::vector<pb::Event>& events) {
  append(domain_stream(domain), events);
}

// As the real one does of names in ASCII.
std::string RecordingControlPlane::domain_named(const std::string& typed) const {
  std::string name = typed;
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return name;
}

actors::DomainOutlook RecordingControlPlane::outlook_of(const DomainState& state) const {
  return actors::outlook_of(
      state, nullptr, "apps.test",
      {.rules = {.directory = "https://ca.test/dir"}, .addresses = {"192.0.2.7"}}, /*now=*/0,
      held_order);
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

void RecordingControlPlane::add_pull_request(const std::string& id, const std::string& project,
                                             std::int64_t number) {
  pb::Event event;
  auto& push = *event.mutable_push_received();
  push = push_to(project);
  push.set_environment(pull_request_environment(number));
  push.set_ref("refs/pull/" + std::to_string(number) + "/head");
  auto& of = *push.mutable_pull_request();
  of.set_number(number);
  of.set_repository("mallory/shop");
  of.set_branch("topic");
  of.set_from_fork(true);
  of.set_approved_by("user");
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

void RecordingControlPlane::add_own_project(const std::string& name) {
  CreateProject create;
  create.name = name;
  create.repository_url = k_own_repository;
  create.settings = default_settings();
  ProjectState fresh;
  fresh.id = ProjectId(name);
  append(project_stream(fresh.id), decide(fresh, create).value());
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

std::vector<RecordingControlPlane::Call> RecordingControlPlane::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

// What a command does to the log, as far as tests look at it, and its answer.
struct RecordingControlPlane::Effect {
  RecordingControlPlane& plane;

  Result<std::vector<actors::PushReceipt>> operator()(const commands::TakePush&) const {
    return plane.receipts;
  }
  Result<std::vector<actors::PushReceipt>> operator()(const commands::TakeProjectPush&) const {
    const std::lock_guard lock(plane.mutex_);
    return plane.receipts;
  }
  Result<ProjectId> operator()(const commands::CreateProject& command) const {
    if (plane.catalog_.project_named(command.project)) {
      return fail(ErrorCode::already_exists, "There is a project of that name.");
    }
    if (command.repository_url == k_own_repository) {
      plane.add_own_project(command.project);
    } else {
      plane.add_project(command.project, command.webhook_secret.value_or(""));
    }
    return ProjectId(command.project);
  }
  Result<commands::Done> operator()(const commands::DeleteProject& command) const {
    if (!plane.catalog_.project_named(command.project)) {
      return fail(ErrorCode::not_found, "There is no such project.");
    }
    pb::Event event;
    event.mutable_project_deleted();
    return recorded(command.project, {event});
  }
  Result<commands::Done> operator()(const commands::ChangeSettings&) const {
    return commands::Done{};
  }
  Result<commands::Done> operator()(const commands::SetEnv& command) const {
    if (!plane.env_outcome) return plane.env_outcome;
    std::vector<pb::Event> events;
    for (const auto& [name, value] : command.variables) {
      auto* set = events.emplace_back().mutable_env_set();
      set->set_name(name);
      set->set_digest("0123456789ab");
      set->set_sealed_ref("ref");
    }
    return recorded(command.project, events);
  }
  Result<commands::Done> operator()(const commands::UnsetEnv& command) const {
    std::vector<pb::Event> events;
    for (const auto& name : command.names) {
      events.emplace_back().mutable_env_unset()->set_name(name);
    }
    return recorded(command.project, events);
  }
  Result<commands::Done> operator()(const commands::SetBuildSecrets& command) const {
    std::vector<pb::Event> events;
    for (const auto& [name, value] : command.secrets) {
      auto* set = events.emplace_back().mutable_build_secret_set();
      set->set_name(name);
      set->set_digest("0123456789ab");
      set->set_sealed_ref("ref");
    }
    return recorded(command.project, events);
  }
  Result<commands::Done> operator()(const commands::UnsetBuildSecrets& command) const {
    std::vector<pb::Event> events;
    for (const auto& name : command.names) {
      events.emplace_back().mutable_build_secret_unset()->set_name(name);
    }
    return recorded(command.project, events);
  }
  Result<commands::Done> operator()(const commands::SetNotifySecret& command) const {
    if (!plane.life_outcome) return plane.life_outcome;
    pb::Event event;
    event.mutable_notify_secret_set()->set_sealed_ref("ref");
    return recorded(command.project, {event});
  }
  Result<commands::Done> operator()(const commands::SetWebhookSecret& command) const {
    return decided(command.project, SetWebhookSecret{command.secret ? "ref" : ""});
  }
  Result<commands::Done> operator()(const commands::MakeDeployKey& command) const {
    const auto view = plane.catalog_.project_named(command.project);
    if (view && !view->state.deploy_key_ref.empty() && !command.replace) return commands::Done{};
    const auto number = std::to_string(plane.log_->last_position().value());
    return decided(command.project,
                   SetDeployKey{"ssh-ed25519 AAAA" + number + " atlasflow-" + command.project,
                                "SHA256:" + std::string(43, 'a'), "ref"});
  }
  Result<commands::Done> operator()(const commands::RemoveDeployKey& command) const {
    return decided(command.project, RemoveDeployKey{});
  }
  Result<commands::Done> operator()(const commands::PinHostKey& command) const {
    return decided(command.project, PinHostKey{"git.test", command.fingerprint, command.accepted});
  }
  Result<commands::Done> operator()(const commands::SetRepositoryLogin& command) const {
    return decided(command.project, SetRepositoryLogin{"ref"});
  }
  Result<commands::Done> operator()(const commands::RemoveRepositoryLogin& command) const {
    return decided(command.project, RemoveRepositoryLogin{});
  }
  Result<commands::Done> operator()(const commands::SetPushToken& command) const {
    return decided(command.project, SetPushToken{command.digest});
  }
  Result<commands::Done> operator()(const commands::RevokePushToken& command) const {
    return decided(command.project, RevokePushToken{});
  }
  Result<commands::Done> operator()(const commands::ConnectGitHubApp& command) const {
    if (!plane.app_is_recorded) return plane.app_outcome;
    pb::Event event;
    auto& app = *event.mutable_github_app_connected();
    app.set_app_id(command.app_id);
    app.set_slug(command.slug);
    app.set_base_url(command.base_url);
    app.set_key_fingerprint(command.key_fingerprint);
    plane.append(github_stream(), {event});
    const std::lock_guard lock(plane.mutex_);
    plane.github_webhook_secret_ = command.webhook_secret;
    plane.github_private_key_ = command.private_key;
    return plane.app_outcome;
  }
  Result<commands::Done> operator()(const commands::DisconnectGitHubApp&) const {
    if (!plane.catalog_.github_app().state.is_connected()) {
      return fail(ErrorCode::conflict, "no GitHub App is connected");
    }
    pb::Event event;
    event.mutable_github_app_disconnected();
    plane.append(github_stream(), {event});
    const std::lock_guard lock(plane.mutex_);
    plane.github_webhook_secret_ = {};
    return plane.app_outcome;
  }
  Result<commands::Done> operator()(const commands::RecordGitHubReport& command) const {
    if (!plane.report_outcome) return plane.report_outcome;
    pb::Event event;
    if (command.refused.empty()) {
      event.mutable_github_told()->set_deployment(command.deployment.str());
      event.mutable_github_told()->set_status(command.status);
      event.mutable_github_told()->set_github_deployment(command.github_deployment);
      event.mutable_github_told()->set_comment(command.comment);
      for (const auto& sentence : command.left_out)
        event.mutable_github_told()->add_left_out(sentence);
    } else {
      event.mutable_github_not_told()->set_deployment(command.deployment.str());
      event.mutable_github_not_told()->set_status(command.status);
      event.mutable_github_not_told()->set_reason(command.refused);
      event.mutable_github_not_told()->set_comment_goes_on(true);
      event.mutable_github_not_told()->set_comment(command.comment);
    }
    plane.append(github_reports_stream(command.project), {event});
    return commands::Done{};
  }
  Result<commands::Done> operator()(const commands::FollowRepository& command) const {
    return decided(command.project, FollowRepository{command.repository_id, command.url});
  }
  Result<commands::Done> operator()(const commands::RecordRepositoryDeletion& command) const {
    return decided(command.project, RecordRepositoryDeletion{command.repository_id});
  }
  Result<DeploymentId> operator()(const commands::Deploy& command) const {
    if (plane.deployed) plane.add_deployment(plane.deployed->str(), command.project);
    return plane.deployed;
  }
  Result<DeploymentId> operator()(const commands::Rollback& command) const {
    const auto to = command.to ? command.to->str() : k_chosen;
    if (plane.made) plane.add_rollback(plane.made->str(), command.project, to);
    return plane.made;
  }
  Result<DeploymentId> operator()(const commands::Redeploy& command) const {
    return made(command.project, command.of ? command.of->str() : k_chosen,
                pb::REDEPLOYMENT_REDEPLOY);
  }
  Result<DeploymentId> operator()(const commands::Promote& command) const {
    return made("shop", command.deployment.str(), pb::REDEPLOYMENT_PROMOTE);
  }
  Result<DeploymentId> operator()(const commands::ApprovePullRequest& command) const {
    if (plane.made) plane.add_pull_request(plane.made->str(), command.project, command.number);
    return plane.made;
  }
  Result<DeploymentId> operator()(const commands::Restart& command) const {
    return made(command.project, k_chosen, pb::REDEPLOYMENT_RESTART);
  }
  Result<commands::Done> operator()(const commands::Cancel&) const { return plane.life_outcome; }
  Result<commands::Done> operator()(const commands::StopApp&) const { return plane.life_outcome; }
  Result<commands::Done> operator()(const commands::StartApp&) const { return plane.life_outcome; }
  Result<bool> operator()(const commands::Scale&) const { return plane.scaled; }

  [[nodiscard]] Result<std::string> answered(const std::string& domain) const {
    if (plane.domain_error) return tl::unexpected(*plane.domain_error);
    return plane.domain_named(domain);
  }
  Result<std::string> operator()(const commands::AddDomain& command) const {
    if (!plane.domain_error) {
      plane.add_domain(plane.domain_named(command.domain), command.project);
    }
    return answered(command.domain);
  }
  Result<std::string> operator()(const commands::RemoveDomain& command) const {
    if (!plane.domain_error) {
      pb::Event event;
      event.mutable_domain_removed()->set_by("user");
      plane.append_to_domain(plane.domain_named(command.domain), {event});
    }
    return answered(command.domain);
  }
  Result<std::string> operator()(const commands::CheckDomain& command) const {
    return answered(command.domain);
  }
  Result<std::string> operator()(const commands::ChangeAccountKey& command) const {
    if (plane.domain_error) return tl::unexpected(*plane.domain_error);
    return std::string(command.at_fallback ? "second" : "first") + "-thumbprint";
  }
  Result<std::string> operator()(const commands::RetryDomain& command) const {
    return answered(command.domain);
  }
  Result<std::string> operator()(const commands::RedirectDomain& command) const {
    pb::Event event;
    event.mutable_domain_redirect_set()->set_to(command.to);
    return domain_recorded(command.domain, event);
  }
  // The key is wherever the engine puts it, the real one being tested by itself.
  Result<std::string> operator()(const commands::UploadCertificate& command) const {
    pb::Event event;
    auto& certificate = *event.mutable_certificate_uploaded()->mutable_certificate();
    certificate.set_fingerprint("fp-of-" + command.chain + "-with-" +
                                std::to_string(command.key.size()));
    certificate.set_issuer("Shop CA");
    certificate.set_not_before_us(-2);  // before the time that outlook_of() takes for now
    certificate.set_not_after_us(-1);
    return domain_recorded(command.domain, event);
  }
  Result<std::string> operator()(const commands::ReleaseCertificate& command) const {
    pb::Event event;
    event.mutable_certificate_released()->set_by("user");
    return domain_recorded(command.domain, event);
  }
  [[nodiscard]] Result<std::string> domain_recorded(const std::string& domain,
                                                    const pb::Event& event) const {
    if (!plane.domain_error) plane.append_to_domain(plane.domain_named(domain), {event});
    return answered(domain);
  }

  [[nodiscard]] Result<commands::Done> decided(const std::string& project,
                                               const ProjectCommand& command) const {
    const auto view = plane.catalog_.project_named(project);
    if (!view) return fail(ErrorCode::not_found, "There is no such project.");
    ATLAS_TRY(const auto events, decide(view->state, command));
    if (events.empty()) return commands::Done{};
    return recorded(project, events);
  }
  [[nodiscard]] Result<commands::Done> recorded(const std::string& project,
                                                const std::vector<pb::Event>& events) const {
    plane.append(project_stream(ProjectId(project)), events);
    return commands::Done{};
  }
  [[nodiscard]] Result<DeploymentId> made(const std::string& project, const std::string& of,
                                          pb::Redeployment kind) const {
    if (plane.made) plane.add_redeployment(plane.made->str(), project, of, kind);
    return plane.made;
  }
};

Result<commands::Answer> RecordingControlPlane::carry_out(const Principal& by,
                                                          commands::Command command) {
  {
    const std::lock_guard lock(mutex_);
    calls_.push_back({by, command});
  }
  return std::visit(
      [this](const auto& asked) -> Result<commands::Answer> {
        auto answer = Effect{*this}(asked);
        if (const auto next = then.find(std::string(asked.name)); next != then.end()) {
          next->second();
        }
        if (!answer) return tl::unexpected(answer.error());
        return *std::move(answer);
      },
      command);
}

std::vector<std::pair<std::string, std::string>> RecordingControlPlane::webhook_secrets() {
  const std::lock_guard lock(mutex_);
  return webhook_secrets_;
}

Secret RecordingControlPlane::github_webhook_secret() {
  const std::lock_guard lock(mutex_);
  return github_webhook_secret_;
}

Secret RecordingControlPlane::github_private_key() const {
  const std::lock_guard lock(mutex_);
  return github_private_key_;
}

std::vector<actors::ControlPlane::PartStatus> RecordingControlPlane::parts() {
  return {{"edge", "ok", "4 routes"}};
}

}  // namespace atlasflow::api::testing
