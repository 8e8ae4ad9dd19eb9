// What the webhooks of all hosts have in common: the headers that name a delivery, and what is
// answered once a push is durable. Any thread.
#pragma once

#include <string>
#include <vector>

#include "actors/runtime/commands.hpp"
#include "api/exchange.hpp"

namespace atlasflow::api {

// A header that is also an id or a name in log lines and events: at most 128 characters of a token
// (RFC 9110 section 5.6.2). invalid_argument: it is none, or missing.
[[nodiscard]] Result<std::string> required_token(const Request& request, const char* name);

// 202 with the receipts; 200 when each of them is of a delivery that came before.
[[nodiscard]] Response answer_push(const std::vector<actors::PushReceipt>& receipts);
// One log line for each.
void note_receipts(const std::string& delivery, const std::vector<actors::PushReceipt>& receipts);
// The answer and the log line when it is not durable: whoever sent it is to send it again.
[[nodiscard]] Response not_recorded(const std::string& delivery, const Error& error);

}  // namespace atlasflow::api
