// The connected GitHub App between the log, the sealed values and those who ask as it. Owned by the
// composition root; any thread.
#pragma once

#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "builder/source/credential.hpp"
#include "events/github_app.hpp"
#include "github/connected_app.hpp"
#include "storage/log/event_log.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::server {

// The App that the log says is connected, and no other: whoever records that one came or went has
// told everybody with it, however that one's own call ends.
class RecordedApp final : public github::ConnectedApp {
 public:
  // Both must outlive it.
  RecordedApp(const storage::EventLog& log, storage::SecretStore& secrets)
      : log_(log), secrets_(secrets) {}

  // A look at the end of a stream, but when that has grown. user_error: its key is lost, and the
  // user must connect it again; unavailable: the key can't be read just now.
  Result<std::shared_ptr<github::AppClient>> get() override;

 private:
  [[nodiscard]] Error unusable(const GitHubAppState& app, StreamVersion version,
                               const Error& error);

  const storage::EventLog& log_;
  storage::SecretStore& secrets_;
  std::mutex mutex_;       // guards what follows
  StreamVersion version_;  // that the client is of
  StreamVersion told_of_;  // the newest whose key did not open
  std::shared_ptr<github::AppClient> client_;
};

// For one repository's URL: a token of the App where that is on its GitHub. connected must outlive
// it.
[[nodiscard]] builder::CredentialSource clone_credential(github::ConnectedApp& connected,
                                                         std::string url, std::stop_token stop);

}  // namespace atlasflow::server
