#include "server/engines_notify.hpp"

#include <memory>
#include <mutex>
#include <vector>

#include <curl/curl.h>
#include <nlohmann/json.hpp>

#include "api/signature.hpp"
#include "base/digest.hpp"
#include "base/version.hpp"

namespace atlasflow::server {
namespace {

// A receiver's answer is its status; what comes behind it is read so far and dropped.
constexpr std::size_t k_answer_bytes_max = 64 << 10;

struct CurlDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
  void operator()(curl_slist* list) const { curl_slist_free_all(list); }
};
using CurlHandle = std::unique_ptr<CURL, CurlDeleter>;
using CurlHeaders = std::unique_ptr<curl_slist, CurlDeleter>;

std::size_t on_bytes(char* /*bytes*/, std::size_t size, std::size_t count, void* user) {
  auto& received = *static_cast<std::size_t*>(user);
  received += size * count;
  return received > k_answer_bytes_max ? 0 : size * count;
}

// Called at least about once a second; anything but 0 ends the transfer.
int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::stop_token*>(user)->stop_requested() ? 1 : 0;
}

CurlHeaders headers_of(const std::vector<std::string>& lines) {
  CurlHeaders list;
  for (const auto& line : lines) {
    auto* longer = curl_slist_append(list.get(), line.c_str());
    if (longer == nullptr) return nullptr;
    static_cast<void>(list.release());
    list.reset(longer);
  }
  return list;
}

// libcurl's own words name neither the URL nor what was sent.
Error no_answer(CURLcode code, std::chrono::milliseconds timeout) {
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return {ErrorCode::timed_out,
              "the receiver did not answer within " + std::to_string(timeout.count()) + " ms",
              {}};
    case CURLE_ABORTED_BY_CALLBACK:
      return {ErrorCode::cancelled, "the notification was stopped", {}};
    default:
      return {ErrorCode::unavailable, "the receiver was not reached", curl_easy_strerror(code)};
  }
}

Result<std::int32_t> perform(const std::string& url, const std::vector<std::string>& fields,
                             const std::string& body, std::chrono::milliseconds timeout,
                             std::stop_token stop) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const CurlHandle handle(curl_easy_init());
  const auto headers = headers_of(fields);
  if (!handle || !headers) return fail(ErrorCode::internal, "libcurl can't be started");
  std::size_t received = 0;
  auto* curl = handle.get();
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(curl, CURLOPT_POST, 1L);
  curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body.c_str());
  curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_bytes);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &received);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &stop);
  const CURLcode code = curl_easy_perform(curl);
  // An answer that is too long has told its status before.
  const bool too_long = code == CURLE_WRITE_ERROR && received > k_answer_bytes_max;
  if (code != CURLE_OK && !too_long) return tl::unexpected(no_answer(code, timeout));
  long status = 0;
  curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  return static_cast<std::int32_t>(status);
}

}  // namespace

std::string notification_body(const Notification& notification, const api::PublicAddress& address) {
  nlohmann::ordered_json json;
  json["event"] = "deployment";
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
  json["at_us"] = notification.at;
  json["delivery"] = notification.delivery();
  return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string notification_signature(std::string_view secret, std::string_view body) {
  const auto digest = api::hmac_sha256(secret, body);
  return "sha256=" + to_hex({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

Result<std::int32_t> HttpNotifyEngine::post(const Notification& notification,
                                            std::stop_token stop) {
  const auto body = notification_body(notification, address_);
  std::vector<std::string> fields = {
      "Content-Type: application/json",
      "Expect:",  // A receiver that knows no 100-continue would cost a second.
      std::string("User-Agent: atlasflow/") + k_version,
      "X-Atlasflow-Event: deployment",
      "X-Atlasflow-Delivery: " + notification.delivery(),
  };
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
    fields.push_back("X-Atlasflow-Signature-256: " + notification_signature(*secret, body));
  }
  return perform(notification.url, fields, body, timeout_, std::move(stop));
}

}  // namespace atlasflow::server
