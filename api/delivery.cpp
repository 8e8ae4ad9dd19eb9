#include "api/delivery.hpp"

#include <algorithm>

#include "api/context.hpp"
#include "base/log.hpp"
#include "http/message.hpp"

namespace atlasflow::api {
namespace {

constexpr std::size_t k_header_bytes_max = 128;  // of a delivery's id and an event's name

std::string_view name_of(actors::PushReceipt::Verdict verdict) {
  switch (verdict) {
    case actors::PushReceipt::Verdict::deployed:
      return "deployed";
    case actors::PushReceipt::Verdict::duplicate:
      return "duplicate";
    case actors::PushReceipt::Verdict::ignored:
      return "ignored";
  }
  return "ignored";
}

}  // namespace

Result<std::string> required_token(const Request& request, const char* name) {
  const auto* value = request.field(name);
  if (value == nullptr || value->empty()) {
    return fail(ErrorCode::invalid_argument, std::string(name) + " is missing.");
  }
  if (value->size() > k_header_bytes_max || !http::is_token(*value)) {
    return fail(ErrorCode::invalid_argument,
                std::string(name) + " must be at most 128 letters, digits and hyphens.");
  }
  return *value;
}

Response answer_push(const std::vector<actors::PushReceipt>& receipts) {
  using Verdict = actors::PushReceipt::Verdict;
  Json json;
  json["receipts"] = Json::array();
  for (const auto& receipt : receipts) {
    json["receipts"].push_back(
        {{"project", receipt.project},
         {"deployment", receipt.deployment.empty() ? Json() : Json(receipt.deployment.str())},
         {"verdict", name_of(receipt.verdict)},
         {"reason", receipt.reason}});
  }
  if (receipts.empty()) {
    json["note"] =
        "No project that this signature speaks for is connected to the repository; atlasflow "
        "project create connects one.";
  }
  const bool only_duplicates =
      !receipts.empty() && std::all_of(receipts.begin(), receipts.end(), [](const auto& receipt) {
        return receipt.verdict == Verdict::duplicate;
      });
  return json_response(json, only_duplicates ? 200 : 202);
}

void note_receipts(const std::string& delivery, const std::vector<actors::PushReceipt>& receipts) {
  for (const auto& receipt : receipts) {
    log_event("api", "push_received",
              {{"delivery", delivery},
               {"project", receipt.project},
               {"verdict", name_of(receipt.verdict)},
               {"deployment", receipt.deployment.str()}});
  }
}

Response not_recorded(const std::string& delivery, const Error& error) {
  log_event(LogLevel::error, "api", "push_not_recorded",
            {{"delivery", delivery}, {"cause", to_string(error)}});
  return error_response(error);
}

}  // namespace atlasflow::api
