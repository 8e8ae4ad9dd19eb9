// Notifications over HTTP (libcurl): the body, its signature and the request. docs/notifications.md
// is the format. Owned by the composition root; thread-safe, as every call has a handle of its own.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "actors/runtime/engines.hpp"
#include "api/json.hpp"
#include "storage/secrets/secrets.hpp"

namespace atlasflow::server {

// The JSON that is posted. Bytes of a commit's subject that are no UTF-8 are replaced.
[[nodiscard]] std::string notification_body(const Notification& notification,
                                            const api::PublicAddress& address);

// "sha256=" and the HMAC-SHA-256 of the body, as GitHub signs its deliveries.
[[nodiscard]] std::string notification_signature(std::string_view secret, std::string_view body);

// Follows no redirect and uses no proxy: the request goes to what was named, or nowhere. The secret
// is opened for each attempt, under the context "notify/<project id>".
class HttpNotifyEngine final : public actors::NotifyEngine {
 public:
  HttpNotifyEngine(api::PublicAddress address, storage::SecretStore& secrets,
                   std::chrono::milliseconds timeout = std::chrono::seconds(10))
      : address_(std::move(address)), secrets_(secrets), timeout_(timeout) {}

  Result<std::int32_t> post(const Notification& notification, std::stop_token stop) override;

 private:
  api::PublicAddress address_;
  storage::SecretStore& secrets_;
  std::chrono::milliseconds timeout_;
};

}  // namespace atlasflow::server
