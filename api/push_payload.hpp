// What GitHub's webhook bodies say, checked member by member: whoever signs may still send
// nonsense. Pure, any thread. Source: docs.github.com, "Webhook events and payloads", push,
// pull_request and ping. Other hosts' bodies: git_payload.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "api/json.hpp"
#include "events/push.hpp"
#include "receive/refs.hpp"

namespace atlasflow::api {

// The JSON of a delivery: the body, or its form field `payload` when it is form-encoded.
[[nodiscard]] Result<std::string> payload_text(std::string_view content_type,
                                               std::string_view body);

using receive::k_no_commit;

// At most 4096 bytes without control characters; empty when the member is absent.
[[nodiscard]] Result<void> read_text(const Members& members, const char* name, std::string& into);
// 40 hex digits, which must be there; k_no_commit: there is none.
[[nodiscard]] Result<void> read_commit(const Members& members, const char* name, std::string& into);
// An object that must be there.
[[nodiscard]] Result<Members> required_object(const Members& members, const char* name);

// Without delivery_id and signed_for. invalid_argument names the member that is wrong.
[[nodiscard]] Result<Push> parsed_push(const ParsedJson& payload);

// The same of a pull request's delivery: how it stands, whatever the action was. Nothing: its
// previews have nothing to do with the action.
[[nodiscard]] Result<std::optional<Push>> parsed_pull_request(const ParsedJson& payload);

}  // namespace atlasflow::api
