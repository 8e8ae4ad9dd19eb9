// The root: starts the actors in order, replays, supervises the parts, stops in order, and stands
// between them and the threads outside.
// Long because: one function per thing that can be asked of a control plane, each a few lines.
#include "actors/runtime/control_plane.hpp"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include <caf/all.hpp>
#include <spdlog/spdlog.h>

#include "actors/projects/sealed_env.hpp"
#include "actors/runtime/part_status.hpp"
#include "actors/runtime/parts.hpp"
#include "events/environment.hpp"
#include "events/settings.hpp"
#include "storage/secrets/github_app.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_catalog_timeout = std::chrono::seconds(10);

// The log's failure ends the process, and nobody starts it again from within: after a failed sync
// nobody knows what the disk has. The next start reads what is there.
[[noreturn]] void end_process(const std::string& why) {
  spdlog::critical("part=root event=stopping_after_failure reason=\"{}\"", why);
  spdlog::shutdown();
  std::_Exit(70);
}

caf::actor_system_config make_actor_config() {
  caf::actor_system_config config;
  // Fair between mailboxes: CAF's default lets one actor run until its mailbox is empty.
  config.set("scheduler.max-throughput", std::size_t{50});
  config.set("scheduler.max-threads", std::size_t{4});
  return config;
}

class LocalControlPlane final : public ControlPlane {
 public:
  LocalControlPlane(ControlPlaneConfig config, storage::EventLog& log,
                    storage::SecretStore& secrets, const Engines& engines)
      : config_(std::move(config)),
        log_(log),
        secrets_(secrets),
        engines_(engines),
        actor_config_(make_actor_config()),
        system_(actor_config_) {}

  ~LocalControlPlane() override { stop(); }

  Result<void> start();

  Result<std::vector<PushReceipt>> receive_push(const Push& push) override;
  Result<ProjectId> create_project(const NewProject& project) override;
  Result<void> delete_project(const std::string& name) override;
  Result<void> change_settings(
      const std::string& project,
      const std::vector<std::pair<std::string, std::string>>& settings) override;
  Result<void> set_env(const std::string& project,
                       const std::vector<std::pair<std::string, std::string>>& entries) override;
  Result<void> unset_env(const std::string& project,
                         const std::vector<std::string>& names) override;
  Result<DeploymentId> deploy(const std::string& project, const std::optional<std::string>& sha,
                              const std::string& command_id) override;
  Result<DeploymentId> rollback(const std::string& project, const std::optional<DeploymentId>& to,
                                const std::string& command_id) override;
  Result<DeploymentId> redeploy(const std::string& project, const std::optional<DeploymentId>& of,
                                const std::string& command_id) override;
  Result<DeploymentId> promote(const DeploymentId& deployment,
                               const std::string& command_id) override;
  Result<DeploymentId> restart(const std::string& project, const std::string& command_id) override;
  Result<void> cancel(const DeploymentId& deployment) override;
  Result<void> stop_app(const std::string& project) override;
  Result<void> start_app(const std::string& project) override;
  Result<bool> scale(const std::string& project, std::int32_t replicas) override;
  Result<void> set_notify_secret(const std::string& project, const std::string& secret) override;
  std::vector<std::pair<std::string, std::string>> webhook_secrets() override;
  Result<void> connect_github_app(const NewGitHubApp& app) override;
  Result<void> disconnect_github_app() override;
  Secret github_webhook_secret() override;
  const storage::Catalog& catalog() const override { return catalog_; }
  const storage::EventLog& log() const override { return log_; }
  std::vector<PartStatus> parts() override;

 private:
  Result<storage::ProjectView> known_project(const std::string& name) const;
  Result<void> append_to_node(std::vector<pb::Event> events);
  Result<Position> append_to(const StreamId& stream, std::vector<pb::Event> events);
  PartsConfig parts_config();
  Result<void> reap_orphans();
  void stop();
  Result<void> command(const std::string& project, ProjectCommand command);
  Result<void> command(const DeploymentId& deployment, DeploymentCommand command);
  Result<DeploymentId> reuse(ReuseNow message, const std::optional<DeploymentId>& of);
  Result<storage::DeploymentView> known_deployment(const DeploymentId& id) const;
  // What serves production now; nothing when nothing does.
  std::optional<DeploymentId> serving_now(const storage::ProjectView& view) const;
  std::optional<DeploymentId> newest_in_production(const storage::ProjectView& view) const;
  // Asks an actor and waits; the answer's position is in the catalog when this returns.
  template <typename Reply, typename Handle, typename Message>
  Result<Reply> ask(const Handle& handle, Message message);
  Result<void> wait_for_catalog(Position position);

  ControlPlaneConfig config_;
  storage::EventLog& log_;
  storage::SecretStore& secrets_;
  Engines engines_;
  storage::Catalog catalog_;
  Epoch epoch_;
  bool started_ = false;
  PartFaults faults_;
  caf::actor_system_config actor_config_;
  caf::actor_system system_;
  Parts parts_;
  std::mutex env_mutex_;
  std::mutex github_mutex_;
};

template <typename Reply, typename Handle, typename Message>
Result<Reply> LocalControlPlane::ask(const Handle& handle, Message message) {
  // At once, and whatever the actor that is asked waits for.
  if (auto room = log_.has_room(); !room) return tl::unexpected(std::move(room.error()));
  caf::scoped_actor self{system_};
  Result<Reply> result = fail(ErrorCode::internal, "no answer");
  self->request(handle, k_request_timeout, std::move(message))
      .receive([&](Reply& reply) { result = std::move(reply); },
               [&](const caf::error& error) { result = tl::unexpected(from_caf(error)); });
  return result;
}

Result<void> LocalControlPlane::wait_for_catalog(Position position) {
  if (catalog_.wait_for(position, k_catalog_timeout)) return {};
  return fail(ErrorCode::timed_out, "recorded, but the read model is late; look again shortly");
}

Result<void> LocalControlPlane::append_to_node(std::vector<pb::Event> events) {
  ATLAS_TRYV(append_to(node_stream(), std::move(events)));
  return {};
}

Result<Position> LocalControlPlane::append_to(const StreamId& stream,
                                              std::vector<pb::Event> events) {
  const auto version = log_.version_of(stream);
  if (!version) return tl::unexpected(version.error());
  Append append;
  append.request.stream = stream;
  append.request.expected_version = *version;
  append.request.events = std::move(events);
  append.request.actor = "root";
  append.patient = false;
  auto reply = ask<AppendReply>(parts_.log_writer, std::move(append));
  if (!reply) return tl::unexpected(reply.error());
  const auto* appended = std::get_if<storage::Appended>(&reply->outcome);
  if (appended == nullptr) {
    return fail(ErrorCode::conflict, "another control plane writes to this log");
  }
  return appended->records.back().position;
}

PartsConfig LocalControlPlane::parts_config() {
  PartsConfig config;
  config.log = &log_;
  config.catalog = &catalog_;
  config.secrets = &secrets_;
  config.engines = engines_;
  config.domain = config_.domain;
  config.builders = config_.builders;
  config.rollbacks = config_.rollbacks;
  config.crash_after = config_.crash_after;
  config.throw_after = config_.throw_after;
  config.fatal = [](const Error& error) { end_process(to_string(error)); };
  config.part_died = config_.part_died ? config_.part_died : config.fatal;
  config.faults = &faults_;
  return config;
}

// What the world has and no intent explains: builds of a process that is gone, VMs that no
// deployment knows. Runs before any deployment goes on, so nothing that is wanted can be taken for
// an orphan.
Result<void> LocalControlPlane::reap_orphans() {
  std::vector<pb::Event> events;
  for (const auto& thing : unexplained(engines_, catalog_, false)) {
    if (auto event = reap(engines_, thing)) events.push_back(*std::move(event));
  }
  if (events.empty()) return {};
  return append_to_node(std::move(events));
}

Result<void> LocalControlPlane::start() {
  ATLAS_TRY(const auto folds, fold_log(log_, config_.domain, catalog_));
  const auto epoch = log_.begin_epoch();
  if (!epoch) return tl::unexpected(epoch.error());
  epoch_ = *epoch;
  parts_ = spawn_parts(system_, parts_config());
  started_ = true;
  std::vector<pb::Event> events(1);
  events[0].mutable_node_started()->set_epoch(epoch_.value());
  events[0].mutable_node_started()->set_build_id(config_.build_id);
  if (auto done = append_to_node(std::move(events)); !done) return done;
  if (auto done = reap_orphans(); !done) return done;
  resume(parts_, catalog_, folds);
  spdlog::info("part=root event=started epoch={} position={}", epoch_.value(),
               log_.last_position().value());
  return {};
}

void LocalControlPlane::stop() {
  if (!started_) return;
  started_ = false;
  std::vector<pb::Event> events(1);
  events[0].mutable_node_stopped()->set_epoch(epoch_.value());
  static_cast<void>(append_to_node(std::move(events)));
  // Intake first, the log last: what still happens in between is recorded.
  for (const auto& part : parts_.in_stop_order()) {
    caf::scoped_actor self{system_};
    self->send_exit(part, caf::exit_reason::user_shutdown);
    self->wait_for(part);
  }
  parts_ = Parts{};
}

Result<std::vector<PushReceipt>> LocalControlPlane::receive_push(const Push& push) {
  auto reply = ask<PushReply>(parts_.projects, ReceivePushNow{push});
  if (!reply) return tl::unexpected(reply.error());
  if (auto seen = wait_for_catalog(reply->position); !seen) return tl::unexpected(seen.error());
  return std::move(reply->receipts);
}

Result<ProjectId> LocalControlPlane::create_project(const NewProject& project) {
  CreateProject create;
  create.name = project.name;
  create.repository_url = project.repository_url;
  create.branch = project.branch;
  create.settings = default_settings();
  // Checked before a secret is sealed for a project that can't be.
  if (auto possible = decide(ProjectState{}, create); !possible) {
    return tl::unexpected(possible.error());
  }
  if (catalog_.project_named(project.name)) {
    return fail(ErrorCode::already_exists,
                "project '" + project.name + "' exists already; choose another name");
  }
  // Nor is one sealed that nobody could record.
  if (auto room = log_.has_room(); !room) return tl::unexpected(std::move(room.error()));
  if (project.webhook_secret) {
    if (project.webhook_secret->empty()) {
      return fail(ErrorCode::invalid_argument, "the webhook secret is empty");
    }
    auto sealed = secrets_.seal("webhook/" + project.name, *project.webhook_secret);
    if (!sealed) return tl::unexpected(sealed.error());
    create.webhook_secret_ref = sealed->ref;
  }
  auto reply = ask<ProjectReply>(parts_.projects, CreateProjectNow{create});
  if (!reply) {
    // One that may still be recorded (no answer in time, a full disk) keeps its secret: if it never
    // is, the janitor of the next process removes that.
    const auto refused = reply.error().code == ErrorCode::already_exists ||
                         reply.error().code == ErrorCode::invalid_argument;
    if (refused && !create.webhook_secret_ref.empty()) {
      if (auto removed = secrets_.remove({create.webhook_secret_ref}); !removed) {
        spdlog::warn("part=root event=secret_not_removed error=\"{}\"", to_string(removed.error()));
      }
    }
    return tl::unexpected(reply.error());
  }
  if (auto seen = wait_for_catalog(reply->position); !seen) return tl::unexpected(seen.error());
  return reply->id;
}

Result<void> LocalControlPlane::command(const std::string& project, ProjectCommand command) {
  auto reply = ask<ProjectReply>(parts_.projects, CommandProject{project, std::move(command)});
  if (!reply) return tl::unexpected(reply.error());
  return wait_for_catalog(reply->position);
}

Result<void> LocalControlPlane::delete_project(const std::string& name) {
  return command(name, DeleteProject{});
}

Result<storage::ProjectView> LocalControlPlane::known_project(const std::string& name) const {
  auto view = catalog_.project_named(name);
  if (view) return *std::move(view);
  return fail(ErrorCode::not_found, "there is no project '" + name.substr(0, 60) +
                                        "'; atlasflow project list shows those that are");
}

Result<void> LocalControlPlane::change_settings(
    const std::string& project, const std::vector<std::pair<std::string, std::string>>& settings) {
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  ChangeSettings change{view->state.settings};
  for (const auto& [name, value] : settings) {
    if (auto set = set_by_name(change.settings, name, value); !set) return set;
  }
  return command(project, std::move(change));
}

Result<void> LocalControlPlane::set_env(
    const std::string& project, const std::vector<std::pair<std::string, std::string>>& entries) {
  // Until it is recorded, so that two at once do not both find room.
  const std::lock_guard guard(env_mutex_);
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  if (auto room = log_.has_room(); !room) return room;
  auto set = sealed_env(view->state, entries, secrets_);
  if (!set) return tl::unexpected(set.error());
  return command(project, *std::move(set));
}

Result<void> LocalControlPlane::unset_env(const std::string& project,
                                          const std::vector<std::string>& names) {
  return command(project, UnsetEnv{names});
}

Result<DeploymentId> LocalControlPlane::deploy(const std::string& project,
                                               const std::optional<std::string>& sha,
                                               const std::string& command_id) {
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  Push push{.trigger = pb::TRIGGER_COMMAND, .delivery_id = command_id, .pusher = "command"};
  if (sha) {
    push.after = *sha;
    push.ref = view->state.branch.empty() ? "" : "refs/heads/" + view->state.branch;
  } else {
    auto head = engines_.build->resolve(view->state.repository_url, view->state.branch);
    if (!head) return tl::unexpected(head.error());
    push.after = head->sha;
    push.ref = head->ref;
  }
  auto reply = ask<PushReply>(parts_.projects, DeployNow{project, std::move(push)});
  if (!reply) return tl::unexpected(reply.error());
  if (auto seen = wait_for_catalog(reply->position); !seen) return tl::unexpected(seen.error());
  return reply->receipts.front().deployment;
}

Result<storage::DeploymentView> LocalControlPlane::known_deployment(const DeploymentId& id) const {
  auto view = catalog_.deployment(id);
  if (view) return *std::move(view);
  return fail(ErrorCode::not_found, "there is no deployment '" + id.str().substr(0, 60) +
                                        "'; atlasflow deployments NAME shows a project's");
}

Result<DeploymentId> LocalControlPlane::reuse(ReuseNow message,
                                              const std::optional<DeploymentId>& of) {
  const auto project = known_project(message.project);
  if (!project) return tl::unexpected(project.error());
  if (of) {
    auto view = known_deployment(*of);
    if (!view) return tl::unexpected(view.error());
    if (view->state.push.project_id() != project->state.id.str()) {
      return fail(ErrorCode::not_found, "deployment '" + of->str() + "' is none of project '" +
                                            message.project + "'; atlasflow deployments " +
                                            message.project + " shows them");
    }
    message.of = std::make_shared<DeploymentState>(std::move(view->state));
  }
  message.by = "user";
  auto reply = ask<IntakeReply>(parts_.projects, std::move(message));
  if (!reply) return tl::unexpected(reply.error());
  if (auto seen = wait_for_catalog(reply->position); !seen) return tl::unexpected(seen.error());
  return reply->receipt.deployment;
}

Result<DeploymentId> LocalControlPlane::rollback(const std::string& project,
                                                 const std::optional<DeploymentId>& to,
                                                 const std::string& command_id) {
  return reuse({project, ReuseKind::rollback, nullptr, "", command_id}, to);
}

Result<DeploymentId> LocalControlPlane::redeploy(const std::string& project,
                                                 const std::optional<DeploymentId>& of,
                                                 const std::string& command_id) {
  auto source = of;
  if (!source) {
    const auto view = known_project(project);
    if (!view) return tl::unexpected(view.error());
    source = serving_now(*view);
    // What failed or was skipped can be deployed again as well.
    if (!source) source = newest_in_production(*view);
  }
  return reuse({project, ReuseKind::redeploy, nullptr, "", command_id}, source);
}

std::optional<DeploymentId> LocalControlPlane::newest_in_production(
    const storage::ProjectView& view) const {
  for (auto id = view.deployments.rbegin(); id != view.deployments.rend(); ++id) {
    const auto deployment = catalog_.deployment(*id);
    if (deployment && deployment->state.push.environment() == k_production) return *id;
  }
  return std::nullopt;
}

Result<DeploymentId> LocalControlPlane::promote(const DeploymentId& deployment,
                                                const std::string& command_id) {
  const auto view = known_deployment(deployment);
  if (!view) return tl::unexpected(view.error());
  return reuse({view->state.push.project_name(), ReuseKind::promote, nullptr, "", command_id},
               deployment);
}

Result<DeploymentId> LocalControlPlane::restart(const std::string& project,
                                                const std::string& command_id) {
  return reuse({project, ReuseKind::restart, nullptr, "", command_id}, std::nullopt);
}

Result<void> LocalControlPlane::command(const DeploymentId& deployment,
                                        DeploymentCommand command_for) {
  auto reply = ask<DeploymentReply>(parts_.deployments,
                                    CommandDeployment{deployment, std::move(command_for)});
  if (!reply) return tl::unexpected(reply.error());
  return wait_for_catalog(reply->position);
}

Result<void> LocalControlPlane::cancel(const DeploymentId& deployment) {
  const auto view = known_deployment(deployment);
  if (!view) return tl::unexpected(view.error());
  return command(deployment, Cancel{"user"});
}

std::optional<DeploymentId> LocalControlPlane::serving_now(const storage::ProjectView& view) const {
  const auto active = catalog_.active_deployments();
  const DeploymentState* newest = nullptr;
  for (const auto& deployment : active) {
    const auto& state = deployment.state;
    if (state.push.project_id() != view.state.id.str() || !is_serving(state.status) ||
        state.push.environment() != k_production) {
      continue;
    }
    if (newest == nullptr || newest->generation < state.generation) newest = &state;
  }
  if (newest == nullptr) return std::nullopt;
  return newest->id;
}

Result<void> LocalControlPlane::stop_app(const std::string& project) {
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  const auto serving = serving_now(*view);
  if (!serving) {
    return fail(ErrorCode::conflict, "project '" + project +
                                         "' has nothing live to stop; atlasflow cancel " + project +
                                         " ends what is under way");
  }
  return command(*serving, StopApp{"user"});
}

Result<void> LocalControlPlane::start_app(const std::string& project) {
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  const auto serving = serving_now(*view);
  if (!serving) {
    return fail(ErrorCode::conflict, "project '" + project +
                                         "' has nothing to start; atlasflow deploy " + project +
                                         " deploys it");
  }
  return command(*serving, StartApp{"user"});
}

Result<bool> LocalControlPlane::scale(const std::string& project, std::int32_t replicas) {
  if (auto set = change_settings(project, {{"replicas", std::to_string(replicas)}}); !set) {
    return tl::unexpected(set.error());
  }
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  const auto serving = serving_now(*view);
  if (!serving) return false;
  if (auto scaled = command(*serving, Scale{replicas, "user"}); !scaled) {
    return tl::unexpected(scaled.error());
  }
  return true;
}

Result<void> LocalControlPlane::set_notify_secret(const std::string& project,
                                                  const std::string& secret) {
  const auto view = known_project(project);
  if (!view) return tl::unexpected(view.error());
  if (secret.empty()) return fail(ErrorCode::invalid_argument, "the notification secret is empty");
  if (auto room = log_.has_room(); !room) return room;
  auto sealed = secrets_.seal("notify/" + view->state.id.str(), secret);
  if (!sealed) return tl::unexpected(sealed.error());
  return command(project, SetNotifySecret{sealed->ref});
}

std::vector<std::pair<std::string, std::string>> LocalControlPlane::webhook_secrets() {
  std::vector<std::pair<std::string, std::string>> secrets;
  for (const auto& view : catalog_.projects()) {
    if (view.state.webhook_secret_ref.empty()) continue;
    auto secret = secrets_.open("webhook/" + view.state.name, view.state.webhook_secret_ref);
    if (!secret) {
      spdlog::error("part=root event=secret_unreadable project={} error=\"{}\"", view.state.name,
                    to_string(secret.error()));
      continue;
    }
    secrets.emplace_back(view.state.name, std::move(*secret));
  }
  return secrets;
}

Result<void> LocalControlPlane::connect_github_app(const NewGitHubApp& app) {
  const std::lock_guard guard(github_mutex_);
  ATLAS_TRYV(log_.has_room());
  ATLAS_TRY(const auto sealed,
            storage::seal_github_app(secrets_, app.private_key, app.webhook_secret));
  std::vector<pb::Event> events(1);
  auto& connected = *events[0].mutable_github_app_connected();
  connected.set_app_id(app.app_id);
  connected.set_slug(app.slug);
  connected.set_base_url(app.base_url);
  connected.set_key_fingerprint(app.key_fingerprint);
  connected.set_private_key_ref(sealed.private_key_ref);
  connected.set_webhook_secret_ref(sealed.webhook_secret_ref);
  ATLAS_TRY(const auto position, append_to(github_stream(), std::move(events)));
  return wait_for_catalog(position);
}

Result<void> LocalControlPlane::disconnect_github_app() {
  const std::lock_guard guard(github_mutex_);
  const auto app = catalog_.github_app().state;
  if (!app.is_connected()) {
    return fail(ErrorCode::conflict, "no GitHub App is connected");
  }
  std::vector<pb::Event> events(1);
  events[0].mutable_github_app_disconnected()->set_app_id(app.app_id);
  ATLAS_TRY(const auto position, append_to(github_stream(), std::move(events)));
  return wait_for_catalog(position);
}

Secret LocalControlPlane::github_webhook_secret() {
  const auto app = catalog_.github_app().state;
  if (!app.is_connected()) return {};
  auto secret = storage::open_webhook_secret(secrets_, app);
  if (secret) return *std::move(secret);
  spdlog::error("part=root event=secret_unreadable of=github_app error=\"{}\"",
                to_string(secret.error()));
  return {};
}

std::vector<ControlPlane::PartStatus> LocalControlPlane::parts() {
  auto parts = part_statuses(log_, epoch_, engines_, catalog_);
  for (auto& told : restarts_told(config_.earlier_restarts, faults_, engines_.clock->now())) {
    parts.push_back(std::move(told));
  }
  return parts;
}

}  // namespace

Result<std::unique_ptr<ControlPlane>> start_control_plane(const ControlPlaneConfig& config,
                                                          storage::EventLog& log,
                                                          storage::SecretStore& secrets,
                                                          const Engines& engines) {
  auto plane = std::make_unique<LocalControlPlane>(config, log, secrets, engines);
  if (auto started = plane->start(); !started) return tl::unexpected(started.error());
  return plane;
}

}  // namespace atlasflow::actors
