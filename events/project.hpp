// One project: its state as a fold of its stream, and what may be commanded. Pure.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.hpp"
#include "events/event.pb.h"
#include "events/ids.hpp"
#include "events/principal.hpp"

namespace atlasflow {

// A variable's value, or a build secret's.
struct EnvEntry {
  std::string digest;      // tells whether two values are equal, nothing more
  std::string sealed_ref;  // where storage/secrets keeps the value
};

struct ProjectState {
  ProjectId id;
  StreamVersion version;
  std::string name;
  std::string repository_url;
  std::int64_t repository_id = 0;   // GitHub's; 0: not known
  bool repository_deleted = false;  // at GitHub
  std::string branch;               // empty: the repository's default branch
  std::string webhook_secret_ref;
  std::string notify_secret_ref;
  std::string deploy_key_ref;                    // of an SSH remote; empty: there is none
  std::string deploy_key;                        // its public half, as OpenSSH writes it
  std::string deploy_key_fingerprint;            // "SHA256:…"
  std::map<std::string, std::string> host_keys;  // fingerprints by host (host_name_of())
  std::string login_ref;                         // of an https:// remote; empty: there is none
  std::string push_token_digest;  // of who may push to the own repository; empty: nobody
  pb::Settings settings;
  std::map<std::string, EnvEntry> env;
  std::map<std::string, EnvEntry> build_secrets;  // for builds, and never for the app
  // By number: the newest commit of a fork's pull request that needs an approval, until the pull
  // request is closed or note_deployed() tells of its deployment. Bounded: the one whose news are
  // oldest gives way, and has to be opened or pushed to again.
  std::map<std::int64_t, pb::PullRequestHeld> awaiting_approval;
  bool deleted = false;
  Principal deleted_by;

  [[nodiscard]] bool exists() const { return version != StreamVersion{} && !deleted; }
};

struct CreateProject {
  std::string name;
  std::string repository_url;  // k_own_repository: the server keeps one, which is pushed to
  std::string branch;
  std::string webhook_secret_ref;
  pb::Settings settings;
};
struct ChangeSettings {
  pb::Settings settings;
};
struct SetEnv {
  std::vector<std::pair<std::string, EnvEntry>> entries;
};
struct UnsetEnv {
  std::vector<std::string> names;
};
struct SetBuildSecrets {
  std::vector<std::pair<std::string, EnvEntry>> entries;
};
struct UnsetBuildSecrets {
  std::vector<std::string> names;
};
struct IgnorePush {
  pb::PushIgnored push;
};
struct RecordBranchDeletion {
  pb::BranchDeleted deletion;
};
struct RecordPullRequestClosed {
  pb::PullRequestClosed closed;
};
struct HoldPullRequest {
  pb::PullRequestHeld held;
};
// Where GitHub has the project's repository by now. One of another id is another repository, which
// took its name: conflict.
struct FollowRepository {
  std::int64_t repository_id = 0;
  std::string url;
};
struct RecordRepositoryDeletion {
  std::int64_t repository_id = 0;
};
struct SetNotifySecret {
  std::string sealed_ref;
};
struct SetDeployKey {
  std::string public_key;
  std::string fingerprint;
  std::string sealed_ref;
};
struct RemoveDeployKey {};
// What an SSH host proved to be. Errors as judge_host_key, but of one that somebody accepted.
struct PinHostKey {
  std::string host;
  std::string fingerprint;
  bool accepted = false;  // by somebody, whatever was pinned before
};
struct SetRepositoryLogin {
  std::string sealed_ref;
};
struct RemoveRepositoryLogin {};
struct SetWebhookSecret {
  std::string sealed_ref;  // empty: the server's secret
};
struct SetPushToken {
  std::string digest;
};
struct RevokePushToken {};
struct DeleteProject {
  Principal by;
};

using ProjectCommand =
    std::variant<CreateProject, ChangeSettings, SetEnv, UnsetEnv, SetBuildSecrets,
                 UnsetBuildSecrets, IgnorePush, RecordBranchDeletion, RecordPullRequestClosed,
                 HoldPullRequest, FollowRepository, RecordRepositoryDeletion, SetNotifySecret,
                 SetDeployKey, RemoveDeployKey, PinHostKey, SetRepositoryLogin,
                 RemoveRepositoryLogin, SetWebhookSecret, SetPushToken, RevokePushToken,
                 DeleteProject>;

[[nodiscard]] Result<std::vector<pb::Event>> decide(const ProjectState& state,
                                                    const ProjectCommand& command);
void evolve(ProjectState& state, const pb::Event& event);

inline constexpr std::size_t k_awaiting_approval_max = 100;

// A deployment of a pull request began: what had to wait until then waits no more, whichever commit
// it is. That is in the deployment's stream, so whoever folds the project's alone does not know.
void note_deployed(ProjectState& state, const pb::PushReceived& push);

// The repository that the server itself keeps for a project, and that is pushed to: its URL is this
// and the project's id, wherever the state folder lies.
inline constexpr std::string_view k_own_repository = "atlasflow:";
[[nodiscard]] std::string own_repository_url(const ProjectId& project);
[[nodiscard]] bool is_own_repository(std::string_view url);
// Whose it is; empty for any other URL.
[[nodiscard]] ProjectId owner_of_repository(std::string_view url);

// "github.com/owner/name" of the ways to write one repository: scheme, user, port 443, ".git" and a
// trailing slash are dropped, hosts and GitHub paths compared in lower case; local paths stay.
[[nodiscard]] std::string normalized_repository(const std::string& url);

// https://, http://, file://, an absolute path, ssh:// or user@host:path, without credentials.
[[nodiscard]] Result<void> validate_repository_url(const std::string& url);

// Whether a host that shows that key is let in: it is the one that is pinned, or there is none, and
// it is among those that the host publishes where we know of any. user_error, with a sentence that
// names both keys and what accepts the new one.
[[nodiscard]] Result<void> judge_host_key(const ProjectState& state, const std::string& host,
                                          const std::string& fingerprint);

}  // namespace atlasflow
