#include "server/engines_notify.hpp"

#include <vector>

#include <nlohmann/json.hpp>

#include "api/signature.hpp"
#include "base/digest.hpp"
#include "base/http_client.hpp"

namespace atlasflow::server {
namespace {

// A receiver's answer is its status; what comes behind it is read so far and dropped.
constexpr std::size_t k_answer_bytes_max = 64 << 10;

// Said of the receiver, not of the place: whoever reads it knows the project's notify_url.
Error no_answer(const Error& error, std::chrono::milliseconds timeout) {
  switch (error.code) {
    case ErrorCode::timed_out:
      return {error.code,
              "the receiver did not answer within " + std::to_string(timeout.count()) + " ms",
              {}};
    case ErrorCode::cancelled:
      return {error.code, "the notification was stopped", {}};
    default:
      return {ErrorCode::unavailable, "the receiver was not reached", error.cause};
  }
}

const char* event_of(const Notification& notification) {
  return notification.expiry ? "certificate" : "deployment";
}

std::string finished(nlohmann::ordered_json json, const Notification& notification) {
  json["at_us"] = notification.at;
  json["delivery"] = notification.delivery();
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string expiry_body(const Notification& notification, const api::PublicAddress& address) {
  const auto& expiry = *notification.expiry;
  nlohmann::ordered_json json;
  json["event"] = event_of(notification);
  json["result"] = expiry.stage == pb::EXPIRY_STAGE_EXPIRED ? "expired" : "expiring";
  json["stage"] = name_of(expiry.stage);
  json["project"] = notification.project;
  json["domain"] = expiry.domain;
  json["url"] = address.url_of_host(notification.hostname);
  json["fingerprint"] = expiry.fingerprint;
  json["not_after_us"] = expiry.not_after;
  json["reason"] = notification.reason;
  return finished(std::move(json), notification);
}

}  // namespace

std::string notification_body(const Notification& notification, const api::PublicAddress& address) {
  if (notification.expiry) return expiry_body(notification, address);
  nlohmann::ordered_json json;
  json["event"] = event_of(notification);
  json["result"] = name_of(notification.result);
  json["project"] = notification.project;
  json["deployment"] = notification.deployment.str();
  json["environment"] = notification.environment;
  json["commit"] = notification.commit;
  json["subject"] = notification.subject;
  json["url"] = address.url_of_host(notification.hostname);
  if (!notification.reason.empty()) json["reason"] = notification.reason;
  if (!notification.step.empty()) json["step"] = notification.step;
  if (!notification.requested_by.empty()) json["requested_by"] = notification.requested_by;
  return finished(std::move(json), notification);
}

std::string notification_signature(std::string_view secret, std::string_view body) {
  const auto digest = api::hmac_sha256(secret, body);
  return "sha256=" + to_hex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Result<std::int32_t> HttpNotifyEngine::post(const Notification& notification,
                                            std::stop_token stop) {
  const auto body = notification_body(notification, address_);
  HttpRequest request{.method = "POST",
                      .url = notification.url,
                      .fields = {{"Content-Type", "application/json"},
                                 {"X-Atlasflow-Event", event_of(notification)},
                                 {"X-Atlasflow-Delivery", notification.delivery()}},
                      .body = body,
                      .timeout = timeout_,
                      .stop = std::move(stop)};
  if (!notification.secret_ref.empty()) {
    const auto secret =
        secrets_.open("notify/" + notification.project_id.str(), notification.secret_ref);
    // Unsigned would be worse than not at all: the receiver could not tell it from a forgery.
    if (!secret) {
      auto error = secret.error();
      error.message = "the secret that signs it can't be opened: " + error.message +
                      "; set it again with 'atlasflow project notify-secret " +
                      notification.project + "'";
      return tl::unexpected(std::move(error));
    }
    request.fields.push_back({"X-Atlasflow-Signature-256", notification_signature(*secret, body)});
  }
  // An answer that is too long has told its status before.
  std::size_t received = 0;
  request.on_body = [&received](const HttpResponse&, std::string_view bytes) {
    received += bytes.size();
    return received <= k_answer_bytes_max;
  };
  const auto answer = send_http(request);
  if (!answer) return tl::unexpected(no_answer(answer.error(), timeout_));
  return answer->status;
}

}  // namespace atlasflow::server
