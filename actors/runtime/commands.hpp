// What can be asked of the control plane, one struct per command, each with what it answers. Who
// asks goes beside it: ControlPlane::execute. Plain data, any thread.
//
// A command_id makes a command that is repeated one deployment.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/secret.hpp"
#include "events/ids.hpp"
#include "events/push.hpp"

namespace atlasflow::actors {

// What a push came to, for one project.
struct PushReceipt {
  enum class Verdict : std::uint8_t { deployed, duplicate, ignored };
  Verdict verdict = Verdict::ignored;
  std::string project;
  DeploymentId deployment;          // of deployed and duplicate
  std::string reason;               // of ignored
  std::string default_branch = {};  // of its repository, when that was asked for it
};

}  // namespace atlasflow::actors

namespace atlasflow::commands {

using Texts = std::vector<std::pair<std::string, std::string>>;  // by name
struct Done {};  // recorded, and there is no more to say

// ---- pushes ----

// One receipt for each project that it is for; none: no project is connected to the repository.
struct TakePush {
  using Answer = std::vector<actors::PushReceipt>;
  static constexpr std::string_view name = "take_push";
  Push push;
};

// A push for that project alone, whatever its sender calls the repository. Without a commit the
// branch's head as the remote tells it now; without a ref the project's branch. What is known
// already is ignored. unavailable: the branch is being looked at for somebody else.
struct TakeProjectPush {
  using Answer = std::vector<actors::PushReceipt>;  // one
  static constexpr std::string_view name = "take_project_push";
  std::string project;
  Push push;
};

// ---- projects ----

struct CreateProject {
  using Answer = ProjectId;
  static constexpr std::string_view name = "create_project";
  std::string project;
  std::string repository_url;  // k_own_repository: the server keeps one, which is pushed to
  std::string branch;          // empty: the repository's default branch; of the server's own, main
  std::optional<std::string> webhook_secret;  // unset: the server's
};
// Retires what is live and cancels what is under way, then forgets the name.
struct DeleteProject {
  using Answer = Done;
  static constexpr std::string_view name = "delete_project";
  std::string project;
};
// By name and text (events/settings.hpp); all of them or none. They apply from the next deployment
// on.
struct ChangeSettings {
  using Answer = Done;
  static constexpr std::string_view name = "change_settings";
  std::string project;
  Texts settings;
};
// Seals the values; all of the names or none.
struct SetEnv {
  using Answer = Done;
  static constexpr std::string_view name = "set_env";
  std::string project;
  Texts variables;
};
struct UnsetEnv {
  using Answer = Done;
  static constexpr std::string_view name = "unset_env";
  std::string project;
  std::vector<std::string> names;
};
// What builds may mount and the app never sees. Seals the values; all of the names or none.
struct SetBuildSecrets {
  using Answer = Done;
  static constexpr std::string_view name = "set_build_secrets";
  std::string project;
  Texts secrets;
};
struct UnsetBuildSecrets {
  using Answer = Done;
  static constexpr std::string_view name = "unset_build_secrets";
  std::string project;
  std::vector<std::string> names;
};
// What signs the notifications to the project's notify_url (X-Atlasflow-Signature-256).
struct SetNotifySecret {
  using Answer = Done;
  static constexpr std::string_view name = "set_notify_secret";
  std::string project;
  std::string secret;
};

// What signs the project's webhooks from now on; unset: the server's secret. The one before counts
// no more.
struct SetWebhookSecret {
  using Answer = Done;
  static constexpr std::string_view name = "set_webhook_secret";
  std::string project;
  std::optional<Secret> secret;
};

// ---- what its repository is opened with ----

// Makes the project's deploy key where it has none. conflict: its remote is none of SSH's.
struct MakeDeployKey {
  using Answer = Done;
  static constexpr std::string_view name = "make_deploy_key";
  std::string project;
  bool replace = false;  // another one in any case
};
struct RemoveDeployKey {
  using Answer = Done;
  static constexpr std::string_view name = "remove_deploy_key";
  std::string project;
};
// What an SSH host proved to be. user_error: it is not what it was before, and nobody accepted it.
struct PinHostKey {
  using Answer = Done;
  static constexpr std::string_view name = "pin_host_key";
  std::string project;
  std::string host;  // as known_hosts names it; empty: that of the project's remote
  std::string fingerprint;
  bool accepted = false;
};
// Of an https:// remote.
struct SetRepositoryLogin {
  using Answer = Done;
  static constexpr std::string_view name = "set_repository_login";
  std::string project;
  std::string username;
  Secret password;  // or a token
};
struct RemoveRepositoryLogin {
  using Answer = Done;
  static constexpr std::string_view name = "remove_repository_login";
  std::string project;
};
// The SHA-256 of what proves who may push to the server's own repository of the project, in the
// place of the one before. conflict: it has none.
struct SetPushToken {
  using Answer = Done;
  static constexpr std::string_view name = "set_push_token";
  std::string project;
  std::string digest;  // 64 hex digits
};
// conflict: there is no token.
struct RevokePushToken {
  using Answer = Done;
  static constexpr std::string_view name = "revoke_push_token";
  std::string project;
};

// ---- what makes a deployment, and answers with its id ----
// not_found: no such project or deployment; conflict: what was named can't be run again, with the
// reason and what to do.

// The commit, or the head of the project's branch as the remote tells it now.
struct Deploy {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "deploy";
  std::string project;
  std::optional<std::string> sha;
  std::string command_id;
  bool no_cache = false;  // the build takes no layer of an earlier one
};
// Image, settings and environment of an earlier deployment of production; unset: the one before
// the one that is live. Nothing is built.
struct Rollback {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "rollback";
  std::string project;
  std::optional<DeploymentId> to;
  std::string command_id;
};
// The same commit once more, built anew, with the settings and environment of now; unset: what is
// live, else the newest deployment.
struct Redeploy {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "redeploy";
  std::string project;
  std::optional<DeploymentId> of;
  std::string command_id;
  bool no_cache = false;  // the build takes no layer of an earlier one
};
// A deployment's image into production, with the environment of now.
struct Promote {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "promote";
  DeploymentId deployment;
  std::string command_id;
};
// The commit of a fork's pull request that waits for it; conflict when that is another than `sha`.
struct ApprovePullRequest {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "approve_pull_request";
  std::string project;
  std::int64_t number = 0;
  std::string sha;
  std::string command_id;
};
// What is live on new VMs, without a failed request.
struct Restart {
  using Answer = DeploymentId;
  static constexpr std::string_view name = "restart";
  std::string project;
  std::string command_id;
};

// ---- what changes one ----

// Ends a deployment that is queued or under way; it has ended when its stream says so, which may be
// later. conflict: it is live or has ended.
struct Cancel {
  using Answer = Done;
  static constexpr std::string_view name = "cancel";
  DeploymentId deployment;
};
// Stops what is live until StartApp; its hostnames answer 503 and say why.
struct StopApp {
  using Answer = Done;
  static constexpr std::string_view name = "stop_app";
  std::string project;
};
struct StartApp {
  using Answer = Done;
  static constexpr std::string_view name = "start_app";
  std::string project;
};
// How many instances run, from now on and for later deployments. True: a live deployment changes
// now; false: there is none.
struct Scale {
  using Answer = bool;
  static constexpr std::string_view name = "scale";
  std::string project;
  std::int32_t replicas = 1;
};

// ---- the GitHub App ----

// As whom GitHub is asked from now on, in the place of the one before; key and secret are sealed.
// GitHub has confirmed id and key.
struct ConnectGitHubApp {
  using Answer = Done;
  static constexpr std::string_view name = "connect_github_app";
  std::int64_t app_id = 0;
  std::string slug;
  std::string base_url;
  std::string key_fingerprint;
  Secret private_key;  // PEM
  Secret webhook_secret;
};
// conflict: none is connected.
struct DisconnectGitHubApp {
  using Answer = Done;
  static constexpr std::string_view name = "disconnect_github_app";
};

// What GitHub was told of a deployment, or will not hear; the reporter's own.
struct RecordGitHubReport {
  using Answer = Done;
  static constexpr std::string_view name = "record_github_report";
  ProjectId project;
  DeploymentId deployment;
  std::string status;
  std::int64_t github_deployment = 0;      // GitHub's id
  std::string refused;                     // why it was not told; empty: it was
  std::int64_t comment = 0;                // GitHub's id of the pull request's comment; 0: none
  std::vector<std::string> left_out = {};  // what else GitHub would not hear, as sentences
};

// GitHub has the project's repository under that id and URL. conflict: it is another repository.
struct FollowRepository {
  using Answer = Done;
  static constexpr std::string_view name = "follow_repository";
  std::string project;
  std::int64_t repository_id = 0;
  std::string url;
};
// GitHub has it no more. What runs of it goes on.
struct RecordRepositoryDeletion {
  using Answer = Done;
  static constexpr std::string_view name = "record_repository_deletion";
  std::string project;
  std::int64_t repository_id = 0;
};

// ---- domains of users' own ----
// Each answers with the domain's name as the log has it: lower case, A-labels. invalid_argument: it
// can't be a domain of a user's own, and why.

// Claims the domain for a project. conflict: it is another project's.
struct AddDomain {
  using Answer = std::string;
  static constexpr std::string_view name = "add_domain";
  std::string project;
  std::string domain;
  bool take_over = false;        // ask for it when it is another project's: its TXT record decides
  std::string redirect_to = {};  // another domain of the project; empty: it serves the project
};
struct RemoveDomain {
  using Answer = std::string;
  static constexpr std::string_view name = "remove_domain";
  std::string domain;
};
// Asks its name servers now, at most every 10 s; what they say is recorded.
struct CheckDomain {
  using Answer = std::string;
  static constexpr std::string_view name = "check_domain";
  std::string domain;
};
// Wants its certificate now, whatever the backoff says. conflict: one is being ordered, or the
// certificate authority itself asked to wait.
struct RetryDomain {
  using Answer = std::string;
  static constexpr std::string_view name = "retry_domain";
  std::string domain;
};
// Sends its visitors to another domain of its project, or serves them again.
struct RedirectDomain {
  using Answer = std::string;
  static constexpr std::string_view name = "redirect_domain";
  std::string domain;
  std::string to;  // empty: they are served
};
// Has it served with a certificate that the project brings, in place of one that is ordered.
// invalid_argument: what is wrong with it.
struct UploadCertificate {
  using Answer = std::string;
  static constexpr std::string_view name = "upload_certificate";
  std::string domain;
  std::string chain;  // PEM, the leaf first
  std::string key;    // PEM, secret
};
// Back to one that is ordered. conflict: it has no other.
struct ReleaseCertificate {
  using Answer = std::string;
  static constexpr std::string_view name = "release_certificate";
  std::string domain;
};

// Gives the server's account at a certificate authority another key; the answer is the new one's
// thumbprint. conflict: why it can't now.
struct ChangeAccountKey {
  using Answer = std::string;
  static constexpr std::string_view name = "change_account_key";
  bool at_fallback = false;  // the second authority's
};

using Command =
    std::variant<ConnectGitHubApp, DisconnectGitHubApp, RecordGitHubReport, FollowRepository,
                 RecordRepositoryDeletion, TakePush, TakeProjectPush, CreateProject, DeleteProject,
                 ChangeSettings, SetEnv, UnsetEnv, SetBuildSecrets, UnsetBuildSecrets,
                 SetNotifySecret, SetWebhookSecret, MakeDeployKey, RemoveDeployKey, PinHostKey,
                 SetRepositoryLogin, RemoveRepositoryLogin, SetPushToken, RevokePushToken, Deploy,
                 Rollback, Redeploy, Promote, ApprovePullRequest, Restart, Cancel, StopApp,
                 StartApp, Scale, AddDomain, RemoveDomain, CheckDomain, RetryDomain, RedirectDomain,
                 UploadCertificate, ReleaseCertificate, ChangeAccountKey>;
using Answer = std::variant<Done, ProjectId, DeploymentId, bool, std::string,
                            std::vector<actors::PushReceipt>>;

}  // namespace atlasflow::commands
