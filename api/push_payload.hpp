// What GitHub's webhook bodies say, checked member by member: whoever signs may still send
// nonsense. Pure, any thread. Source: docs.github.com, "Webhook events and payloads", push and
// ping.
#pragma once

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

}  // namespace atlasflow::api
