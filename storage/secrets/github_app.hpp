// The sealed parts of the GitHub App: under which names they are kept. Any thread.
#pragma once

#include "base/error.hpp"
#include "base/secret.hpp"
#include "events/github_app.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::storage {

// Durable before it returns: their references, for the event.
struct SealedGitHubApp {
  std::string private_key_ref;
  std::string webhook_secret_ref;
};
[[nodiscard]] Result<SealedGitHubApp> seal_github_app(SecretStore& secrets,
                                                      const Secret& private_key,
                                                      const Secret& webhook_secret);

// As SecretStore::open.
[[nodiscard]] Result<Secret> open_private_key(SecretStore& secrets, const GitHubAppState& app);
[[nodiscard]] Result<Secret> open_webhook_secret(SecretStore& secrets, const GitHubAppState& app);

}  // namespace atlasflow::storage
