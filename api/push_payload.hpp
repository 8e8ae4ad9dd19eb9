// What GitHub's webhook bodies say, checked member by member: whoever signs may still send
// nonsense. Pure, any thread. Source: docs.github.com, "Webhook events and payloads", push,
// pull_request and ping.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/json.hpp"
#include "events/push.hpp"

namespace atlasflow::api {

// The JSON of a delivery: the body, or its form field `payload` when it is form-encoded.
[[nodiscard]] Result<std::string> payload_text(std::string_view content_type,
                                               std::string_view body);

// Without delivery_id and signed_for. invalid_argument names the member that is wrong.
[[nodiscard]] Result<Push> parsed_push(const ParsedJson& payload);

// The same of a pull request's delivery: how it stands, whatever the action was. Nothing: its
// previews have nothing to do with the action.
[[nodiscard]] Result<std::optional<Push>> parsed_pull_request(const ParsedJson& payload);

}  // namespace atlasflow::api
