// What projects' own repositories are opened with: deploy keys, logins and the keys that SSH hosts
// proved to have, between the log, the sealed values and whoever clones. Owned by the composition
// root; any thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>

#include "actors/runtime/control_plane.hpp"
#include "builder/source/credential.hpp"
#include "events/project.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::server {

class RepositoryAccess {
 public:
  // It must outlive this.
  explicit RepositoryAccess(storage::SecretStore& secrets) : secrets_(secrets) {}

  // While it lives, the control plane is used; its end waits until nobody does so any more, and
  // whoever comes later is refused.
  class Attachment {
   public:
    explicit Attachment(RepositoryAccess& access) : access_(access) {}
    ~Attachment() { access_.let_go(); }
    Attachment(const Attachment&) = delete;
    Attachment& operator=(const Attachment&) = delete;

   private:
    RepositoryAccess& access_;
  };
  // Whose read model says what a project has, and who records what a host proved to be. Whoever
  // comes before waits for it. Once.
  [[nodiscard]] std::unique_ptr<Attachment> attach(actors::ControlPlane& control);

  // For one repository's URL, of the project as it is when the remote asks. otherwise: asked where
  // an http(s) remote has no login of its own. user_error: an SSH remote without a key, or a value
  // that does not open, with what to do.
  [[nodiscard]] builder::CredentialSource credential_of(const ProjectId& project, std::string url,
                                                        builder::CredentialSource otherwise,
                                                        std::stop_token stop);
  // The first key that a host shows is recorded, and no other let in after it. user_error: it shows
  // another one, with the verb that accepts it.
  [[nodiscard]] builder::HostKeyCheck host_key_check_of(const ProjectId& project,
                                                        std::stop_token stop);

 private:
  // The control plane, for as long as this lives.
  class Use;

  void let_go();
  [[nodiscard]] Result<Use> use(const std::stop_token& stop);
  [[nodiscard]] Result<ProjectState> state_of(const ProjectId& project,
                                              const std::stop_token& stop);

  storage::SecretStore& secrets_;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  actors::ControlPlane* control_ = nullptr;
  bool is_over_ = false;
  int users_ = 0;
};

}  // namespace atlasflow::server
