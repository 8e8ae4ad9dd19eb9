#include <algorithm>

#include "base/probe.hpp"
#include "events/build_secret.hpp"
#include "events/environment.hpp"
#include "events/project.hpp"
#include "events/settings.hpp"
#include "events/ssh_address.hpp"

namespace atlasflow {
namespace {

using Events = std::vector<pb::Event>;

tl::unexpected<Error> gone(const ProjectState& state) {
  ATLAS_PROBE(state.deleted, "a command came for a project that was deleted");
  return fail(ErrorCode::not_found, state.deleted ? "project '" + state.name + "' was deleted"
                                                  : "there is no such project");
}

bool takes_login(const ProjectState& state) {
  return state.repository_url.starts_with("https://") ||
         state.repository_url.starts_with("http://");
}

// what: what the name is a name of, for a sentence.
tl::unexpected<Error> unknown(const ProjectState& state, const std::string& what,
                              const std::string& name) {
  return fail(ErrorCode::not_found,
              "project '" + state.name + "' has no " + what + " '" + name + "'");
}

// For each name an event of this part of pb::Event: make is its mutable_ member.
template <typename Set>
Result<Events> set_all(const ProjectState& state,
                       const std::vector<std::pair<std::string, EnvEntry>>& entries,
                       Result<void> (*validate_name)(const std::string&),
                       Set* (pb::Event::*make)()) {
  if (!state.exists()) return gone(state);
  Events events;
  for (const auto& [name, entry] : entries) {
    if (auto ok = validate_name(name); !ok) return tl::unexpected(ok.error());
    auto* set = (events.emplace_back().*make)();
    set->set_name(name);
    set->set_digest(entry.digest);
    set->set_sealed_ref(entry.sealed_ref);
  }
  return events;
}

// what: as unknown().
template <typename Unset>
Result<Events> unset_all(const ProjectState& state, const std::vector<std::string>& names,
                         const std::map<std::string, EnvEntry>& known, const std::string& what,
                         Unset* (pb::Event::*make)()) {
  if (!state.exists()) return gone(state);
  Events events;
  for (const auto& name : names) {
    if (!known.contains(name)) {
      return unknown(state, what, name);
    }
    (events.emplace_back().*make)()->set_name(name);
  }
  return events;
}

// A branch as git names it, of the characters that nobody has to quote.
Result<void> validate_own_branch(const std::string& branch) {
  const auto is_plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || c == '/';
  };
  constexpr std::size_t k_bytes_max = 200;
  const bool is_name =
      branch.size() <= k_bytes_max && std::all_of(branch.begin(), branch.end(), is_plain) &&
      branch.find("..") == std::string::npos && branch.find("//") == std::string::npos &&
      branch.find("/.") == std::string::npos && branch.find(".lock") == std::string::npos &&
      !branch.starts_with('-') && !branch.starts_with('/') && !branch.starts_with('.') &&
      !branch.ends_with('/') && !branch.ends_with('.');
  if (is_name) return {};
  return fail(ErrorCode::invalid_argument,
              "'" + branch.substr(0, k_bytes_max) +
                  "' is no branch that can be pushed to here: use letters, digits, '-', '_', '.' "
                  "and '/', such as main or release/2");
}

struct Decider {
  const ProjectState& state;

  Result<Events> operator()(const CreateProject& command) const {
    if (state.version != StreamVersion{}) {
      return fail(ErrorCode::already_exists, "project '" + command.name + "' exists already");
    }
    if (auto ok = validate_project_name(command.name); !ok) return tl::unexpected(ok.error());
    if (is_pull_request_label(command.name)) {
      return fail(ErrorCode::invalid_argument,
                  "'" + command.name +
                      "' is no project name: 'pr-' with a number behind it begins the hostnames of "
                      "pull requests; choose another one");
    }
    const bool is_own = command.repository_url == k_own_repository;
    auto url = is_own ? own_repository_url(state.id) : command.repository_url;
    // Nobody else can tell which branch is meant before the first push.
    auto branch = is_own && command.branch.empty() ? std::string("main") : command.branch;
    if (auto ok = is_own ? validate_own_branch(branch) : validate_repository_url(url); !ok) {
      return tl::unexpected(ok.error());
    }
    if (auto ok = validate(command.settings); !ok) return tl::unexpected(ok.error());
    Events events(2);
    auto* created = events[0].mutable_project_created();
    created->set_name(command.name);
    *created->mutable_settings() = command.settings;
    auto* connected = events[1].mutable_repository_connected();
    connected->set_url(std::move(url));
    connected->set_branch(std::move(branch));
    connected->set_webhook_secret_ref(command.webhook_secret_ref);
    return events;
  }

  Result<Events> operator()(const ChangeSettings& command) const {
    if (!state.exists()) return gone(state);
    if (auto ok = validate(command.settings); !ok) return tl::unexpected(ok.error());
    Events events(1);
    *events[0].mutable_settings_changed()->mutable_settings() = command.settings;
    return events;
  }

  Result<Events> operator()(const SetEnv& command) const {
    return set_all(state, command.entries, validate_env_name, &pb::Event::mutable_env_set);
  }
  Result<Events> operator()(const UnsetEnv& command) const {
    return unset_all(state, command.names, state.env, "variable", &pb::Event::mutable_env_unset);
  }

  Result<Events> operator()(const SetBuildSecrets& command) const {
    return set_all(state, command.entries, validate_build_secret_name,
                   &pb::Event::mutable_build_secret_set);
  }
  Result<Events> operator()(const UnsetBuildSecrets& command) const {
    return unset_all(state, command.names, state.build_secrets, "build secret",
                     &pb::Event::mutable_build_secret_unset);
  }

  Result<Events> operator()(const IgnorePush& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    *events[0].mutable_push_ignored() = command.push;
    return events;
  }

  Result<Events> operator()(const RecordBranchDeletion& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    *events[0].mutable_branch_deleted() = command.deletion;
    return events;
  }

  Result<Events> operator()(const RecordPullRequestClosed& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    *events[0].mutable_pull_request_closed() = command.closed;
    return events;
  }

  Result<Events> operator()(const HoldPullRequest& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    *events[0].mutable_pull_request_held() = command.held;
    return events;
  }

  Result<Events> operator()(const FollowRepository& command) const {
    if (!state.exists()) return gone(state);
    if (state.repository_id != 0 && state.repository_id != command.repository_id) {
      return fail(ErrorCode::conflict, command.url +
                                           " is another repository by now than the one "
                                           "that project '" +
                                           state.name + "' was connected to");
    }
    if (auto ok = validate_repository_url(command.url); !ok) return tl::unexpected(ok.error());
    Events events;
    if (normalized_repository(command.url) != normalized_repository(state.repository_url)) {
      auto* moved = events.emplace_back().mutable_repository_moved();
      moved->set_repository_id(command.repository_id);
      moved->set_url(command.url);
      moved->set_from(state.repository_url);
    } else if (state.repository_id == 0 || state.repository_deleted) {
      events.emplace_back().mutable_repository_identified()->set_repository_id(
          command.repository_id);
    }
    return events;
  }

  Result<Events> operator()(const RecordRepositoryDeletion& command) const {
    if (!state.exists()) return gone(state);
    Events events;
    const bool is_another =
        state.repository_id != 0 && state.repository_id != command.repository_id;
    if (is_another || state.repository_deleted) return events;
    events.emplace_back().mutable_repository_deleted()->set_repository_id(command.repository_id);
    return events;
  }

  Result<Events> operator()(const SetNotifySecret& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    events[0].mutable_notify_secret_set()->set_sealed_ref(command.sealed_ref);
    return events;
  }

  Result<Events> operator()(const SetDeployKey& command) const {
    if (!state.exists()) return gone(state);
    if (!is_ssh_url(state.repository_url)) {
      return fail(ErrorCode::conflict,
                  "project '" + state.name + "' is cloned from " + state.repository_url +
                      ", which takes no SSH key: create a project with a repository of the form "
                      "git@host:path" +
                      (takes_login(state) ? ", or give this one a login" : ""));
    }
    Events events(1);
    auto* set = events[0].mutable_deploy_key_set();
    set->set_public_key(command.public_key);
    set->set_fingerprint(command.fingerprint);
    set->set_sealed_ref(command.sealed_ref);
    return events;
  }

  Result<Events> operator()(const RemoveDeployKey&) const {
    if (!state.exists()) return gone(state);
    if (state.deploy_key_ref.empty()) {
      return fail(ErrorCode::not_found, "project '" + state.name + "' has no deploy key");
    }
    Events events(1);
    events[0].mutable_deploy_key_removed();
    return events;
  }

  Result<Events> operator()(const PinHostKey& command) const {
    if (!state.exists()) return gone(state);
    ATLAS_TRYV(validate_fingerprint(command.fingerprint));
    Events events;
    const auto pinned = state.host_keys.find(command.host);
    if (pinned != state.host_keys.end() && pinned->second == command.fingerprint) return events;
    if (!command.accepted) ATLAS_TRYV(judge_host_key(state, command.host, command.fingerprint));
    auto* pin = events.emplace_back().mutable_host_key_pinned();
    pin->set_host(command.host);
    pin->set_fingerprint(command.fingerprint);
    pin->set_accepted(command.accepted);
    return events;
  }

  Result<Events> operator()(const SetRepositoryLogin& command) const {
    if (!state.exists()) return gone(state);
    if (!takes_login(state)) {
      return fail(ErrorCode::conflict,
                  "project '" + state.name + "' is cloned from " + state.repository_url +
                      ", which takes no password" +
                      (is_ssh_url(state.repository_url)
                           ? ": atlasflow project deploy-key " + state.name + " makes it a key"
                           : ""));
    }
    Events events(1);
    events[0].mutable_repository_login_set()->set_sealed_ref(command.sealed_ref);
    return events;
  }

  Result<Events> operator()(const RemoveRepositoryLogin&) const {
    if (!state.exists()) return gone(state);
    if (state.login_ref.empty()) {
      return fail(ErrorCode::not_found, "project '" + state.name + "' has no login");
    }
    Events events(1);
    events[0].mutable_repository_login_removed();
    return events;
  }

  Result<Events> operator()(const SetWebhookSecret& command) const {
    if (!state.exists()) return gone(state);
    Events events;
    // Back to the server's, where it is already.
    if (command.sealed_ref.empty() && state.webhook_secret_ref.empty()) return events;
    events.emplace_back().mutable_webhook_secret_set()->set_sealed_ref(command.sealed_ref);
    return events;
  }

  Result<Events> operator()(const SetPushToken& command) const {
    if (!state.exists()) return gone(state);
    if (!is_own_repository(state.repository_url)) {
      return fail(ErrorCode::conflict,
                  "project '" + state.name + "' is cloned from " + state.repository_url +
                      ": only one that was made with --git-push is pushed to here");
    }
    Events events(1);
    events[0].mutable_push_token_set()->set_digest(command.digest);
    return events;
  }

  Result<Events> operator()(const RevokePushToken&) const {
    if (!state.exists()) return gone(state);
    if (state.push_token_digest.empty()) {
      return fail(ErrorCode::conflict, "project '" + state.name + "' has no push token");
    }
    Events events(1);
    events[0].mutable_push_token_revoked();
    return events;
  }

  Result<Events> operator()(const DeleteProject& command) const {
    if (!state.exists()) return gone(state);
    Events events(1);
    events[0].mutable_project_deleted()->set_by(command.by.str());
    return events;
  }
};

void hold(ProjectState& state, const pb::PullRequestHeld& held) {
  auto& waiting = state.awaiting_approval;
  waiting[held.pull_request().number()] = held;
  if (waiting.size() <= k_awaiting_approval_max) return;
  // Whoever opens pull requests without end pushes out those of before, and not what comes.
  auto oldest = waiting.end();
  for (auto each = waiting.begin(); each != waiting.end(); ++each) {
    if (each->first == held.pull_request().number()) continue;
    if (oldest == waiting.end() ||
        each->second.pull_request().updated_at_s() < oldest->second.pull_request().updated_at_s()) {
      oldest = each;
    }
  }
  waiting.erase(oldest);
}

}  // namespace

Result<Events> decide(const ProjectState& state, const ProjectCommand& command) {
  return std::visit(Decider{state}, command);
}

void evolve(ProjectState& state, const pb::Event& event) {
  state.version = state.version.next();
  switch (event.kind_case()) {
    case pb::Event::kProjectCreated:
      state.name = event.project_created().name();
      state.settings = with_defaults(event.project_created().settings());
      break;
    case pb::Event::kRepositoryConnected:
      state.repository_url = event.repository_connected().url();
      state.branch = event.repository_connected().branch();
      state.webhook_secret_ref = event.repository_connected().webhook_secret_ref();
      break;
    case pb::Event::kRepositoryIdentified:
      state.repository_id = event.repository_identified().repository_id();
      state.repository_deleted = false;
      break;
    case pb::Event::kRepositoryMoved:
      state.repository_id = event.repository_moved().repository_id();
      state.repository_url = event.repository_moved().url();
      state.repository_deleted = false;
      break;
    case pb::Event::kRepositoryDeleted:
      state.repository_id = event.repository_deleted().repository_id();
      state.repository_deleted = true;
      break;
    case pb::Event::kSettingsChanged:
      state.settings = with_defaults(event.settings_changed().settings());
      break;
    case pb::Event::kEnvSet:
      state.env[event.env_set().name()] =
          EnvEntry{event.env_set().digest(), event.env_set().sealed_ref()};
      break;
    case pb::Event::kEnvUnset:
      state.env.erase(event.env_unset().name());
      break;
    case pb::Event::kBuildSecretSet:
      state.build_secrets[event.build_secret_set().name()] =
          EnvEntry{event.build_secret_set().digest(), event.build_secret_set().sealed_ref()};
      break;
    case pb::Event::kBuildSecretUnset:
      state.build_secrets.erase(event.build_secret_unset().name());
      break;
    case pb::Event::kNotifySecretSet:
      state.notify_secret_ref = event.notify_secret_set().sealed_ref();
      break;
    case pb::Event::kDeployKeySet:
      state.deploy_key = event.deploy_key_set().public_key();
      state.deploy_key_fingerprint = event.deploy_key_set().fingerprint();
      state.deploy_key_ref = event.deploy_key_set().sealed_ref();
      break;
    case pb::Event::kDeployKeyRemoved:
      state.deploy_key.clear();
      state.deploy_key_fingerprint.clear();
      state.deploy_key_ref.clear();
      break;
    case pb::Event::kHostKeyPinned:
      state.host_keys[event.host_key_pinned().host()] = event.host_key_pinned().fingerprint();
      break;
    case pb::Event::kRepositoryLoginSet:
      state.login_ref = event.repository_login_set().sealed_ref();
      break;
    case pb::Event::kRepositoryLoginRemoved:
      state.login_ref.clear();
      break;
    case pb::Event::kWebhookSecretSet:
      state.webhook_secret_ref = event.webhook_secret_set().sealed_ref();
      break;
    case pb::Event::kPushTokenSet:
      state.push_token_digest = event.push_token_set().digest();
      break;
    case pb::Event::kPushTokenRevoked:
      state.push_token_digest.clear();
      break;
    case pb::Event::kPullRequestHeld:
      hold(state, event.pull_request_held());
      break;
    case pb::Event::kPullRequestClosed:
      state.awaiting_approval.erase(event.pull_request_closed().pull_request().number());
      break;
    case pb::Event::kProjectDeleted:
      state.deleted = true;
      // Who is not named in a log of an older build, which only users could ask for it.
      state.deleted_by =
          Principal::parsed(event.project_deleted().by()).value_or(Principal::user());
      break;
    default:  // PushIgnored is a record for readers; later types are no part of this state.
      break;
  }
}

void note_deployed(ProjectState& state, const pb::PushReceived& push) {
  const auto found = state.awaiting_approval.find(push.pull_request().number());
  if (found == state.awaiting_approval.end()) return;
  const auto& held = found->second.pull_request();
  if (held.updated_at_s() <= push.pull_request().updated_at_s()) {
    state.awaiting_approval.erase(found);
  }
}

}  // namespace atlasflow
