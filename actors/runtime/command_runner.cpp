// Long because: one visitor must take every command, and most are a few lines.
#include "actors/runtime/command_runner.hpp"

#include "actors/projects/sealed_env.hpp"
#include "base/digest.hpp"
#include "base/log.hpp"
#include "events/github_app.hpp"
#include "events/settings.hpp"
#include "events/ssh_address.hpp"
#include "storage/secrets/github_app.hpp"
#include "storage/secrets/repository_access.hpp"

namespace atlasflow::actors {
namespace {

constexpr auto k_catalog_timeout = std::chrono::seconds(10);

}  // namespace

Result<void> CommandRunner::wait_for_catalog(Position position) const {
  if (catalog_.wait_for(position, k_catalog_timeout)) return {};
  return fail(ErrorCode::timed_out, "recorded, but the read model is late; look again shortly");
}

Result<storage::ProjectView> CommandRunner::known_project(const std::string& name) const {
  auto view = catalog_.project_named(name);
  if (view) return *std::move(view);
  return fail(ErrorCode::not_found, "there is no project '" + name.substr(0, 60) +
                                        "'; atlasflow project list shows those that are");
}

Result<storage::DeploymentView> CommandRunner::known_deployment(const DeploymentId& id) const {
  auto view = catalog_.deployment(id);
  if (view || view.error().code != ErrorCode::not_found) return view;
  return fail(ErrorCode::not_found, "there is no deployment '" + id.str().substr(0, 60) +
                                        "'; atlasflow deployments NAME shows a project's");
}

Result<void> CommandRunner::record(const StreamId& stream, const Principal& by, pb::Event event) {
  ATLAS_TRY(const auto version, log_.version_of(stream));
  Append append;
  append.request.stream = stream;
  append.request.expected_version = version;
  append.request.events.push_back(std::move(event));
  append.request.actor = by;
  append.patient = false;
  ATLAS_TRY(const auto reply,
            ask<AppendReply>(system_, log_, parts_.log_writer, std::move(append)));
  const auto* appended = std::get_if<storage::Appended>(&reply.outcome);
  if (appended == nullptr) {
    return fail(ErrorCode::conflict, "another control plane writes to this log");
  }
  return wait_for_catalog(appended->records.back().position);
}

Result<DomainName> CommandRunner::domain_name(const std::string& typed) const {
  if (engines_.domains == nullptr) {
    return fail(ErrorCode::conflict, "this server has no domains of users' own");
  }
  return engines_.domains->name_of(typed);
}

// One command, by whom it is asked for.
struct CommandRunner::Run {
  CommandRunner& runner;
  const Principal& by;

  // ---- pushes ----

  Result<std::vector<PushReceipt>> operator()(commands::TakePush command) const {
    command.push.by = by;
    ATLAS_TRY(auto reply, runner.answered<PushReply>(runner.parts_.projects,
                                                     ReceivePushNow{std::move(command.push)}));
    return std::move(reply.receipts);
  }

  Result<std::vector<PushReceipt>> operator()(commands::TakeProjectPush command) const {
    auto& push = command.push;
    push.by = by;
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    if (push.ref.empty() && !view.state.branch.empty()) {
      push.ref = "refs/heads/" + view.state.branch;
    }
    std::optional<BranchLooks::Turn> turn;  // until it is recorded
    std::string default_branch;
    if (needs_look(view.state, push)) {
      const bool is_asked_for_head = push.after.empty();
      ATLAS_TRY(auto taken, runner.looks_.take(command.project));
      turn.emplace(std::move(taken));
      ATLAS_TRY(const auto reason,
                look_at_branch(view.state, runner.catalog_, *runner.engines_.build, push));
      default_branch = push.default_branch;
      if (!reason.empty()) {
        return std::vector{PushReceipt{
            PushReceipt::Verdict::ignored, command.project, {}, reason, default_branch}};
      }
      // Each look is news of its own, and what it says again has been found to be known.
      if (is_asked_for_head) {
        push.delivery_id += "@" + std::to_string(runner.log_.last_position().value());
      }
    }
    ATLAS_TRY(auto reply, runner.answered<PushReply>(runner.parts_.projects,
                                                     DeployNow{command.project, std::move(push)}));
    for (auto& receipt : reply.receipts) receipt.default_branch = default_branch;
    return std::move(reply.receipts);
  }

  // ---- projects ----

  [[nodiscard]] Result<commands::Done> tell_project(const std::string& project,
                                                    ProjectCommand command) const {
    ATLAS_TRYV(runner.answered<ProjectReply>(runner.parts_.projects,
                                             CommandProject{project, std::move(command), by}));
    return commands::Done{};
  }

  Result<ProjectId> operator()(const commands::CreateProject& command) const {
    CreateProject create;
    create.name = command.project;
    create.repository_url = command.repository_url;
    create.branch = command.branch;
    create.settings = default_settings();
    // Checked before a secret is sealed for a project that can't be.
    ATLAS_TRYV(decide(ProjectState{}, create));
    if (runner.catalog_.project_named(command.project)) {
      return fail(ErrorCode::already_exists,
                  "project '" + command.project + "' exists already; choose another name");
    }
    // Nor is one sealed that nobody could record.
    ATLAS_TRYV(runner.log_.has_room());
    if (command.webhook_secret) {
      if (command.webhook_secret->empty()) {
        return fail(ErrorCode::invalid_argument, "the webhook secret is empty");
      }
      ATLAS_TRY(const auto sealed,
                runner.secrets_.seal("webhook/" + command.project, *command.webhook_secret));
      create.webhook_secret_ref = sealed.ref;
    }
    auto reply =
        runner.answered<ProjectReply>(runner.parts_.projects, CreateProjectNow{create, by});
    if (reply) return reply->id;
    // One that may still be recorded (no answer in time, a full disk) keeps its secret: if it never
    // is, the janitor of the next process removes that.
    const auto refused = reply.error().code == ErrorCode::already_exists ||
                         reply.error().code == ErrorCode::invalid_argument;
    if (refused && !create.webhook_secret_ref.empty()) {
      if (auto removed = runner.secrets_.remove({create.webhook_secret_ref}); !removed) {
        log_event(LogLevel::warn, "root", "secret_not_removed",
                  {{"error", to_string(removed.error())}});
      }
    }
    return tl::unexpected(reply.error());
  }

  Result<commands::Done> operator()(const commands::DeleteProject& command) const {
    return tell_project(command.project, DeleteProject{by});
  }

  Result<commands::Done> operator()(const commands::ChangeSettings& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    ChangeSettings change{view.state.settings};
    for (const auto& [name, value] : command.settings) {
      ATLAS_TRYV(set_by_name(change.settings, name, value));
    }
    ATLAS_TRYV(check_primary_domain(view.state, change.settings.primary_domain()));
    return tell_project(command.project, std::move(change));
  }

  // One that the project does not have would silently do nothing.
  [[nodiscard]] Result<void> check_primary_domain(const ProjectState& project,
                                                  const std::string& domain) const {
    if (domain.empty() || domain == project.settings.primary_domain()) return {};
    const auto known = runner.catalog_.domain(domain);
    if (known && known->claimed && known->project == project.id) return {};
    return fail(ErrorCode::invalid_argument,
                "primary_domain: '" + domain + "' is no domain of project '" + project.name +
                    "'; claim it first with atlasflow domains add " + project.name + " " + domain);
  }

  Result<commands::Done> operator()(const commands::SetEnv& command) const {
    // Until it is recorded, so that two at once do not both find room.
    const std::lock_guard guard(runner.env_mutex_);
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(auto set, sealed_env(view.state, command.variables, runner.secrets_));
    return tell_project(command.project, std::move(set));
  }

  Result<commands::Done> operator()(const commands::UnsetEnv& command) const {
    return tell_project(command.project, UnsetEnv{command.names});
  }

  Result<commands::Done> operator()(const commands::SetBuildSecrets& command) const {
    // Until it is recorded, so that two at once do not both find room.
    const std::lock_guard guard(runner.env_mutex_);
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(auto set, sealed_build_secrets(view.state, command.secrets, runner.secrets_));
    return tell_project(command.project, std::move(set));
  }

  Result<commands::Done> operator()(const commands::UnsetBuildSecrets& command) const {
    return tell_project(command.project, UnsetBuildSecrets{command.names});
  }

  Result<commands::Done> operator()(const commands::SetNotifySecret& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    if (command.secret.empty()) {
      return fail(ErrorCode::invalid_argument, "the notification secret is empty");
    }
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(const auto sealed,
              runner.secrets_.seal("notify/" + view.state.id.str(), command.secret));
    return tell_project(command.project, SetNotifySecret{sealed.ref});
  }

  Result<commands::Done> operator()(const commands::SetWebhookSecret& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    if (!command.secret) return tell_project(command.project, SetWebhookSecret{});
    if (command.secret->empty()) {
      return fail(ErrorCode::invalid_argument, "the webhook secret is empty");
    }
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(const auto sealed,
              runner.secrets_.seal("webhook/" + view.state.name, command.secret->reveal()));
    return tell_project(command.project, SetWebhookSecret{sealed.ref});
  }

  // ---- what its repository is opened with ----

  Result<commands::Done> operator()(const commands::MakeDeployKey& command) const {
    // Until it is recorded, so that of two at once the second finds the first one's key.
    const std::lock_guard guard(runner.env_mutex_);
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    if (!command.replace && !view.state.deploy_key_ref.empty()) return commands::Done{};
    // Nothing is sealed of what the project does not take, nor what nobody could record.
    ATLAS_TRYV(decide(view.state, SetDeployKey{}));
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(auto key, storage::make_deploy_key(runner.secrets_, view.state));
    return tell_project(command.project, std::move(key));
  }

  Result<commands::Done> operator()(const commands::RemoveDeployKey& command) const {
    return tell_project(command.project, RemoveDeployKey{});
  }

  Result<commands::Done> operator()(const commands::PinHostKey& command) const {
    PinHostKey pin{command.host, command.fingerprint, command.accepted};
    if (pin.host.empty()) {
      ATLAS_TRY(const auto view, runner.known_project(command.project));
      const auto address = parsed_ssh_url(view.state.repository_url);
      if (!address) {
        return fail(ErrorCode::conflict, "project '" + view.state.name + "' is cloned from " +
                                             view.state.repository_url +
                                             ", which is no SSH host and shows no key");
      }
      pin.host = host_name_of(*address);
    }
    return tell_project(command.project, std::move(pin));
  }

  Result<commands::Done> operator()(const commands::SetRepositoryLogin& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    ATLAS_TRYV(decide(view.state, SetRepositoryLogin{}));
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(auto login, storage::seal_login(runner.secrets_, view.state,
                                              {command.username, command.password}));
    return tell_project(command.project, std::move(login));
  }

  Result<commands::Done> operator()(const commands::RemoveRepositoryLogin& command) const {
    return tell_project(command.project, RemoveRepositoryLogin{});
  }

  Result<commands::Done> operator()(const commands::SetPushToken& command) const {
    return tell_project(command.project, SetPushToken{command.digest});
  }

  Result<commands::Done> operator()(const commands::RevokePushToken& command) const {
    return tell_project(command.project, RevokePushToken{});
  }

  // ---- the GitHub App ----

  Result<commands::Done> operator()(const commands::ConnectGitHubApp& command) const {
    const std::lock_guard guard(runner.app_mutex_);
    // Nothing is sealed that nobody could record.
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(const auto sealed, storage::seal_github_app(runner.secrets_, command.private_key,
                                                          command.webhook_secret));
    pb::Event event;
    auto& app = *event.mutable_github_app_connected();
    app.set_app_id(command.app_id);
    app.set_slug(command.slug);
    app.set_base_url(command.base_url);
    app.set_key_fingerprint(command.key_fingerprint);
    app.set_private_key_ref(sealed.private_key_ref);
    app.set_webhook_secret_ref(sealed.webhook_secret_ref);
    ATLAS_TRYV(runner.record(github_stream(), by, std::move(event)));
    return commands::Done{};
  }

  Result<commands::Done> operator()(const commands::DisconnectGitHubApp&) const {
    const std::lock_guard guard(runner.app_mutex_);
    const auto app = runner.catalog_.github_app().state;
    if (!app.is_connected()) return fail(ErrorCode::conflict, "no GitHub App is connected");
    pb::Event event;
    event.mutable_github_app_disconnected()->set_app_id(app.app_id);
    ATLAS_TRYV(runner.record(github_stream(), by, std::move(event)));
    return commands::Done{};
  }

  Result<commands::Done> operator()(const commands::RecordGitHubReport& command) const {
    const std::lock_guard guard(runner.report_mutex_);
    pb::Event event;
    if (command.refused.empty()) {
      auto& told = *event.mutable_github_told();
      told.set_deployment(command.deployment.str());
      told.set_status(command.status);
      told.set_github_deployment(command.github_deployment);
      told.set_comment(command.comment);
      for (const auto& sentence : command.left_out) told.add_left_out(sentence);
    } else {
      auto& refused = *event.mutable_github_not_told();
      refused.set_deployment(command.deployment.str());
      refused.set_status(command.status);
      auto reason = command.refused;
      for (const auto& sentence : command.left_out) reason += "; " + sentence;
      refused.set_reason(reason);
      refused.set_comment_goes_on(true);
      refused.set_comment(command.comment);
    }
    ATLAS_TRYV(runner.record(github_reports_stream(command.project), by, std::move(event)));
    return commands::Done{};
  }

  Result<commands::Done> operator()(const commands::FollowRepository& command) const {
    return tell_project(command.project, FollowRepository{command.repository_id, command.url});
  }

  Result<commands::Done> operator()(const commands::RecordRepositoryDeletion& command) const {
    return tell_project(command.project, RecordRepositoryDeletion{command.repository_id});
  }

  // ---- what makes a deployment ----

  Result<DeploymentId> operator()(const commands::Deploy& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    Push push{.trigger = pb::TRIGGER_COMMAND,
              .delivery_id = command.command_id,
              .pusher = by.str(),
              .no_cache = command.no_cache,
              .by = by};
    if (command.sha) {
      push.after = *command.sha;
      push.ref = view.state.branch.empty() ? "" : "refs/heads/" + view.state.branch;
    } else {
      ATLAS_TRY(auto head,
                runner.engines_.build->resolve(view.state, view.state.branch, k_person_look_max));
      push.after = head.sha;
      push.ref = head.ref;
    }
    ATLAS_TRY(const auto reply,
              runner.answered<PushReply>(runner.parts_.projects,
                                         DeployNow{command.project, std::move(push)}));
    return reply.receipts.front().deployment;
  }

  [[nodiscard]] Result<DeploymentId> reuse(const std::string& project, ReuseKind kind,
                                           const std::optional<DeploymentId>& of,
                                           const std::string& command_id,
                                           bool no_cache = false) const {
    ATLAS_TRY(const auto view, runner.known_project(project));
    Reuse reuse{.kind = kind, .command_id = command_id, .no_cache = no_cache};
    if (of) {
      ATLAS_TRY(auto source, runner.known_deployment(*of));
      if (source.state.push.project_id() != view.state.id.str()) {
        return fail(ErrorCode::not_found, "deployment '" + of->str() + "' is none of project '" +
                                              project + "'; atlasflow deployments " + project +
                                              " shows them");
      }
      reuse.of = std::make_shared<DeploymentState>(std::move(source.state));
    }
    ATLAS_TRY(const auto reply,
              runner.answered<IntakeReply>(runner.parts_.projects,
                                           ReuseNow{project, std::move(reuse), by}));
    return reply.receipt.deployment;
  }

  Result<DeploymentId> operator()(const commands::Rollback& command) const {
    return reuse(command.project, ReuseKind::rollback, command.to, command.command_id);
  }
  Result<DeploymentId> operator()(const commands::Redeploy& command) const {
    auto of = command.of;
    if (!of) {
      ATLAS_TRY(const auto view, runner.known_project(command.project));
      of = runner.catalog_.redeployed_by_default(view.state.id);
    }
    return reuse(command.project, ReuseKind::redeploy, of, command.command_id, command.no_cache);
  }
  Result<DeploymentId> operator()(const commands::Promote& command) const {
    ATLAS_TRY(const auto view, runner.known_deployment(command.deployment));
    return reuse(view.state.push.project_name(), ReuseKind::promote, command.deployment,
                 command.command_id);
  }
  Result<DeploymentId> operator()(const commands::ApprovePullRequest& command) const {
    ATLAS_TRY(
        const auto reply,
        runner.answered<IntakeReply>(
            runner.parts_.projects,
            ApproveNow{command.project, {command.number, command.sha, command.command_id}, by}));
    return reply.receipt.deployment;
  }
  Result<DeploymentId> operator()(const commands::Restart& command) const {
    return reuse(command.project, ReuseKind::restart, std::nullopt, command.command_id);
  }

  // ---- what changes one ----

  [[nodiscard]] Result<commands::Done> tell_deployment(const DeploymentId& deployment,
                                                       DeploymentCommand command) const {
    ATLAS_TRYV(runner.answered<DeploymentReply>(runner.parts_.deployments,
                                                CommandDeployment{deployment, std::move(command)}));
    return commands::Done{};
  }

  // Unset: nothing serves.
  [[nodiscard]] Result<std::optional<DeploymentId>> serving(const std::string& project) const {
    ATLAS_TRY(const auto view, runner.known_project(project));
    return runner.catalog_.serving_production(view.state.id);
  }

  Result<commands::Done> operator()(const commands::Cancel& command) const {
    ATLAS_TRYV(runner.known_deployment(command.deployment));
    return tell_deployment(command.deployment, Cancel{by});
  }

  Result<commands::Done> operator()(const commands::StopApp& command) const {
    ATLAS_TRY(const auto serves, serving(command.project));
    if (serves) return tell_deployment(*serves, StopApp{by});
    return fail(ErrorCode::conflict, "project '" + command.project +
                                         "' has nothing live to stop; atlasflow cancel " +
                                         command.project + " ends what is under way");
  }

  Result<commands::Done> operator()(const commands::StartApp& command) const {
    ATLAS_TRY(const auto serves, serving(command.project));
    if (serves) return tell_deployment(*serves, StartApp{by});
    return fail(ErrorCode::conflict, "project '" + command.project +
                                         "' has nothing to start; atlasflow deploy " +
                                         command.project + " deploys it");
  }

  Result<bool> operator()(const commands::Scale& command) const {
    ATLAS_TRYV((*this)(commands::ChangeSettings{command.project,
                                                {{"replicas", std::to_string(command.replicas)}}}));
    ATLAS_TRY(const auto serves, serving(command.project));
    if (!serves) return false;
    ATLAS_TRYV(tell_deployment(*serves, Scale{command.replicas, by}));
    return true;
  }

  // ---- domains of users' own ----

  [[nodiscard]] Result<std::string> tell_domain(const std::string& typed,
                                                DomainCommand command) const {
    ATLAS_TRY(const auto name, runner.domain_name(typed));
    ATLAS_TRYV(runner.answered<DomainReply>(runner.parts_.root,
                                            CommandDomain{name.name, std::move(command), by, {}}));
    return name.name;
  }

  Result<std::string> operator()(const commands::AddDomain& command) const {
    ATLAS_TRY(const auto view, runner.known_project(command.project));
    ATLAS_TRY(const auto name, runner.domain_name(command.domain));
    const auto own = "." + runner.domain_;
    if (name.name == runner.domain_ || name.name.ends_with(own)) {
      return fail(ErrorCode::invalid_argument,
                  "'" + name.name + "' is below this server's own domain " + runner.domain_ +
                      ", whose names it gives itself");
    }
    AddDomain add{.project = view.state.id,
                  .project_name = view.state.name,
                  .display_name = name.display_name,
                  .token = {},
                  .take_over = command.take_over,
                  .parent_claimant = {},
                  .by = by};
    if (!command.redirect_to.empty()) {
      ATLAS_TRY(const auto to, runner.domain_name(command.redirect_to));
      add.redirect_to = to.name;
    }
    // No secret: who can set the record has proved what it is for. The same for a claim that is
    // repeated, so that a record that was set stays right.
    constexpr std::size_t k_token_digits = 32;
    add.token = sha256_hex(add.project.str() + "/" + name.name).substr(0, k_token_digits);
    ATLAS_TRYV(runner.answered<DomainReply>(
        runner.parts_.root,
        CommandDomain{name.name, std::move(add), by,
                      Basis{{project_stream(view.state.id), view.state.version}}}));
    return name.name;
  }

  Result<std::string> operator()(const commands::RemoveDomain& command) const {
    return tell_domain(command.domain, RemoveDomain{by, "it was asked for"});
  }

  Result<std::string> operator()(const commands::RetryDomain& command) const {
    return tell_domain(command.domain, RetryCertificate{by});
  }

  Result<std::string> operator()(const commands::RedirectDomain& command) const {
    SetRedirect redirect{.to = {}, .refused = {}, .by = by};
    if (!command.to.empty()) {
      ATLAS_TRY(const auto to, runner.domain_name(command.to));
      redirect.to = to.name;
    }
    return tell_domain(command.domain, std::move(redirect));
  }

  // Sealed before it is recorded: an event never names what is not on disk.
  Result<std::string> operator()(const commands::UploadCertificate& command) const {
    ATLAS_TRY(const auto name, runner.domain_name(command.domain));
    const auto known = runner.catalog_.domain(name.name);
    if (!known || !known->claimed) {
      return fail(ErrorCode::not_found, "'" + name.name +
                                            "' is no domain of any project; atlasflow domains add "
                                            "claims it, then its certificate can be uploaded");
    }
    ATLAS_TRYV(runner.log_.has_room());
    ATLAS_TRY(auto kept, runner.engines_.domains->keep_upload(
                             name.name, {.chain = command.chain, .key = command.key}));
    return tell_domain(command.domain, TakeUploaded{std::move(kept), by});
  }

  Result<std::string> operator()(const commands::ReleaseCertificate& command) const {
    return tell_domain(command.domain, ReleaseUploaded{by});
  }

  // Nothing is recorded: which key an account has is between its store and the authority.
  Result<std::string> operator()(const commands::ChangeAccountKey& command) const {
    const auto& rules = runner.domains_.rules;
    const auto& directory = command.at_fallback ? rules.fallback_directory : rules.directory;
    if (runner.engines_.domains == nullptr || directory.empty()) {
      return fail(ErrorCode::conflict,
                  command.at_fallback
                      ? "this server has no second certificate authority; "
                        "domains.acme_fallback_directory in its configuration names one"
                      : "this server orders no certificates, so it has no account; "
                        "domains.acme_directory in its configuration names an authority");
    }
    return runner.engines_.domains->change_account_key(directory, {});
  }

  Result<std::string> operator()(const commands::CheckDomain& command) const {
    ATLAS_TRY(const auto name, runner.domain_name(command.domain));
    ATLAS_TRYV(runner.answered<DomainReply>(runner.parts_.root, CheckDomainNow{name.name, by}));
    return name.name;
  }
};

Result<commands::Answer> CommandRunner::run(const Principal& by, commands::Command command) {
  return std::visit(
      [&](auto&& asked) -> Result<commands::Answer> {
        using Asked = std::decay_t<decltype(asked)>;
        ATLAS_TRY(typename Asked::Answer answer, Run{*this, by}(std::forward<Asked>(asked)));
        return answer;
      },
      std::move(command));
}

}  // namespace atlasflow::actors
