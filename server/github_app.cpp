#include "server/github_app.hpp"

#include <optional>
#include <utility>

#include "base/log.hpp"
#include "github/clone_login.hpp"
#include "storage/secrets/github_app.hpp"

namespace atlasflow::server {

Result<std::shared_ptr<github::AppClient>> RecordedApp::get() {
  ATLAS_TRY(const auto version, log_.version_of(github_stream()));
  const std::lock_guard lock(mutex_);
  // Somebody else may have read a later one meanwhile.
  if (version <= version_) return client_;
  GitHubAppState app;
  ATLAS_TRYV(
      log_.read_stream(github_stream(), StreamVersion{1}, [&](const storage::Record& record) {
        evolve(app, record.event);
        return true;
      }));
  client_ = nullptr;
  if (app.is_connected()) {
    const auto key = storage::open_private_key(secrets_, app);
    auto client = key ? github::make_app_client(app.app_id, *key, app.base_url)
                      : Result<std::shared_ptr<github::AppClient>>(tl::unexpected(key.error()));
    // Tried again at the next call: a file that can't be read now may be readable then.
    if (!client) return tl::unexpected(unusable(app, version, client.error()));
    client_ = *std::move(client);
  }
  version_ = version;
  return client_;
}

Error RecordedApp::unusable(const GitHubAppState& app, StreamVersion version, const Error& error) {
  if (std::exchange(told_of_, version) != version) {
    log_event(LogLevel::error, "server", "github_app_not_usable",
              {{"app", app.app_id}, {"error", to_string(error)}});
  }
  const bool is_lost = error.code == ErrorCode::corrupt || error.code == ErrorCode::not_found ||
                       error.code == ErrorCode::invalid_argument;
  if (!is_lost) {
    return {ErrorCode::unavailable,
            "the sealed key of the GitHub App can't be read just now; it is tried again",
            to_string(error)};
  }
  return {ErrorCode::user_error,
          "the sealed key of the GitHub App does not open; connect the App again with 'atlasflow "
          "github connect'",
          to_string(error)};
}

builder::CredentialSource clone_credential(github::ConnectedApp& connected, std::string url,
                                           std::stop_token stop) {
  return [&connected, url = std::move(url), stop = std::move(stop)](
             const builder::Credential* refused) -> Result<std::optional<builder::Credential>> {
    ATLAS_TRY(const auto app, connected.get());
    if (app == nullptr) return std::optional<builder::Credential>();
    ATLAS_TRY(auto login, github::clone_login(
                              *app, url, refused == nullptr ? nullptr : &refused->password, stop));
    if (!login) return std::optional<builder::Credential>();
    return builder::Credential{std::move(login->user), std::move(login->password)};
  };
}

}  // namespace atlasflow::server
