#include "storage/secrets/github_app.hpp"

namespace atlasflow::storage {
namespace {

constexpr const char* k_private_key = "github/private-key";
constexpr const char* k_webhook_secret = "github/webhook-secret";

}  // namespace

Result<SealedGitHubApp> seal_github_app(SecretStore& secrets, const Secret& private_key,
                                        const Secret& webhook_secret) {
  ATLAS_TRY(auto key, secrets.seal(k_private_key, private_key.reveal()));
  ATLAS_TRY(auto secret, secrets.seal(k_webhook_secret, webhook_secret.reveal()));
  return SealedGitHubApp{std::move(key.ref), std::move(secret.ref)};
}

Result<Secret> open_private_key(SecretStore& secrets, const GitHubAppState& app) {
  ATLAS_TRY(auto text, secrets.open(k_private_key, app.private_key_ref));
  return Secret(std::move(text));
}

Result<Secret> open_webhook_secret(SecretStore& secrets, const GitHubAppState& app) {
  ATLAS_TRY(auto text, secrets.open(k_webhook_secret, app.webhook_secret_ref));
  return Secret(std::move(text));
}

}  // namespace atlasflow::storage
