// What a project's repository is opened with, sealed: its SSH deploy key, or the login of an
// https:// remote. Any thread.
#pragma once

#include <string>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "events/project.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::storage {

// A new key, its private half durable before it returns.
[[nodiscard]] Result<SetDeployKey> make_deploy_key(SecretStore& secrets,
                                                   const ProjectState& project);
// As SecretStore::open.
[[nodiscard]] Result<Secret> open_deploy_key(SecretStore& secrets, const ProjectState& project);

struct RepositoryLogin {
  std::string username;
  Secret password;  // or a token
};
// invalid_argument: what is wrong with it, without a byte of it. Durable before it returns.
[[nodiscard]] Result<SetRepositoryLogin> seal_login(SecretStore& secrets,
                                                    const ProjectState& project,
                                                    const RepositoryLogin& login);
[[nodiscard]] Result<RepositoryLogin> open_login(SecretStore& secrets, const ProjectState& project);

}  // namespace atlasflow::storage
