#include "server/repository_access.hpp"

#include <chrono>
#include <utility>

#include "base/log.hpp"
#include "events/ssh_address.hpp"
#include "storage/secrets/repository_access.hpp"

namespace atlasflow::server {
namespace {

// A clone that goes on after a restart may come before the control plane is up.
constexpr auto k_wait_for_start = std::chrono::seconds(60);

Error unusable(const ProjectState& project, const std::string& what, const std::string& advice,
               const Error& error) {
  log_event(LogLevel::error, "server", "repository_access_not_usable",
            {{"project", project.name}, {"what", what}, {"error", to_string(error)}});
  const bool is_lost = error.code == ErrorCode::corrupt || error.code == ErrorCode::not_found;
  if (!is_lost) {
    return {ErrorCode::unavailable,
            "the sealed " + what + " of project '" + project.name +
                "' can't be read just now; it is tried again",
            to_string(error)};
  }
  return {ErrorCode::user_error,
          "the sealed " + what + " of project '" + project.name + "' does not open; " + advice,
          to_string(error)};
}

}  // namespace

class RepositoryAccess::Use {
 public:
  Use(RepositoryAccess& access, actors::ControlPlane& control)
      : access_(&access), control_(&control) {}
  ~Use() {
    if (access_ == nullptr) return;
    {
      const std::lock_guard lock(access_->mutex_);
      --access_->users_;
    }
    access_->changed_.notify_all();
  }
  Use(Use&& other) noexcept
      : access_(std::exchange(other.access_, nullptr)), control_(other.control_) {}
  Use& operator=(Use&&) = delete;

  [[nodiscard]] actors::ControlPlane& control() const { return *control_; }

 private:
  RepositoryAccess* access_;
  actors::ControlPlane* control_;
};

std::unique_ptr<RepositoryAccess::Attachment> RepositoryAccess::attach(
    actors::ControlPlane& control) {
  {
    const std::lock_guard lock(mutex_);
    control_ = &control;
  }
  changed_.notify_all();
  return std::make_unique<Attachment>(*this);
}

void RepositoryAccess::let_go() {
  std::unique_lock lock(mutex_);
  is_over_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return users_ == 0; });
  control_ = nullptr;
}

Result<RepositoryAccess::Use> RepositoryAccess::use(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, stop, k_wait_for_start,
                    [this] { return control_ != nullptr || is_over_; });
  if (control_ == nullptr || is_over_) {
    return fail(ErrorCode::unavailable,
                "the server starts or stops; what its projects' repositories are opened with is "
                "not known now");
  }
  ++users_;
  return Use(*this, *control_);
}

Result<ProjectState> RepositoryAccess::state_of(const ProjectId& project,
                                                const std::stop_token& stop) {
  ATLAS_TRY(const auto used, use(stop));
  auto view = used.control().catalog().project(project);
  if (view && view->state.exists()) return std::move(view->state);
  return fail(ErrorCode::not_found, "the project was deleted");
}

builder::CredentialSource RepositoryAccess::credential_of(const ProjectId& project, std::string url,
                                                          builder::CredentialSource otherwise,
                                                          std::stop_token stop) {
  return [this, project, url = std::move(url), otherwise = std::move(otherwise),
          stop = std::move(stop)](
             const builder::Credential* refused) -> Result<std::optional<builder::Credential>> {
    ATLAS_TRY(const auto state, state_of(project, stop));
    if (is_ssh_url(url)) {
      if (state.deploy_key_ref.empty()) {
        return fail(ErrorCode::user_error,
                    "project '" + state.name +
                        "' has no deploy key; atlasflow project deploy-key " + state.name +
                        " makes one, to be added to the repository");
      }
      auto key = storage::open_deploy_key(secrets_, state);
      if (!key) {
        return tl::unexpected(unusable(state, "deploy key",
                                       "make another one with atlasflow project deploy-key " +
                                           state.name + " --rotate, and add it to the repository",
                                       key.error()));
      }
      return builder::Credential{"", {}, *std::move(key)};
    }
    if (state.login_ref.empty()) {
      return otherwise ? otherwise(refused) : Result<std::optional<builder::Credential>>();
    }
    auto login = storage::open_login(secrets_, state);
    if (!login) {
      return tl::unexpected(unusable(state, "login",
                                     "set it again with atlasflow project login " + state.name,
                                     login.error()));
    }
    // What the host has refused once it would count as another try.
    if (refused != nullptr && refused->username == login->username &&
        refused->password.is(login->password.reveal())) {
      return std::optional<builder::Credential>();
    }
    return builder::Credential{std::move(login->username), std::move(login->password)};
  };
}

builder::HostKeyCheck RepositoryAccess::host_key_check_of(const ProjectId& project,
                                                          std::stop_token stop) {
  return [this, project, stop = std::move(stop)](const std::string& host,
                                                 const std::string& fingerprint) -> Result<void> {
    ATLAS_TRY(const auto state, state_of(project, stop));
    ATLAS_TRYV(judge_host_key(state, host, fingerprint));
    if (state.host_keys.contains(host)) return {};
    // Recorded before anybody logs in. Of two that come at once the first is right, and the project
    // judges the other by it.
    ATLAS_TRY(const auto used, use(stop));
    const auto pinned =
        used.control().execute(Principal::system("repository-access"),
                               commands::PinHostKey{state.name, host, fingerprint, false});
    if (!pinned) return tl::unexpected(pinned.error());
    log_event("server", "host_key_pinned",
              {{"project", state.name}, {"host", host}, {"fingerprint", fingerprint}});
    return {};
  };
}

}  // namespace atlasflow::server
