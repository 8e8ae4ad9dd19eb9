// The connected GitHub App between the log, the sealed values and those who clone as it. Owned by
// the composition root; any thread.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>

#include "builder/source/credential.hpp"
#include "github/clone_login.hpp"
#include "storage/log/event_log.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::server {

// What the log says is connected, before the first clone goes on. An App whose key does not open is
// logged and left out: everything else works without it.
[[nodiscard]] Result<void> connect_recorded_app(const storage::EventLog& log,
                                                storage::SecretStore& secrets,
                                                github::ConnectedApp& connected);

// For one repository's URL: a token of the App where that is on its GitHub. connected must outlive
// it.
[[nodiscard]] builder::CredentialSource clone_credential(const github::ConnectedApp& connected,
                                                         std::string url, std::stop_token stop);

}  // namespace atlasflow::server
