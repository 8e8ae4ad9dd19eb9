#include "server/github_app.hpp"

#include "api/github_setup.hpp"
#include "base/log.hpp"
#include "events/github_app.hpp"
#include "storage/secrets/github_app.hpp"

namespace atlasflow::server {

Result<void> connect_recorded_app(const storage::EventLog& log, storage::SecretStore& secrets,
                                  github::ConnectedApp& connected) {
  GitHubAppState app;
  ATLAS_TRYV(log.read_stream(github_stream(), StreamVersion{1}, [&](const storage::Record& record) {
    evolve(app, record.event);
    return true;
  }));
  if (!app.is_connected()) return {};
  const auto key = storage::open_private_key(secrets, app);
  const auto client =
      key ? api::make_app_client(app.app_id, *key, app.base_url) : tl::unexpected(key.error());
  if (client) {
    connected.set(*client);
  } else {
    log_event(LogLevel::error, "server", "github_app_not_usable",
              {{"app", app.app_id}, {"error", to_string(client.error())}});
  }
  return {};
}

builder::CredentialSource clone_credential(const github::ConnectedApp& connected, std::string url,
                                           std::stop_token stop) {
  return [&connected, url = std::move(url), stop = std::move(stop)](
             const builder::Credential* refused) -> Result<std::optional<builder::Credential>> {
    const auto app = connected.get();
    if (app == nullptr) return std::optional<builder::Credential>();
    ATLAS_TRY(auto login, github::clone_login(
                              *app, url, refused == nullptr ? nullptr : &refused->password, stop));
    if (!login) return std::optional<builder::Credential>();
    return builder::Credential{std::move(login->user), std::move(login->password)};
  };
}

}  // namespace atlasflow::server
