#include "builder/registry/http.hpp"

#include <memory>
#include <mutex>

#include <curl/curl.h>

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_body_bytes_max = 4U << 20U;

std::size_t on_body(char* bytes, std::size_t size, std::size_t count, void* context) {
  auto& body = *static_cast<std::string*>(context);
  if (body.size() + size * count > k_body_bytes_max) return 0;
  body.append(bytes, size * count);
  return size * count;
}

Result<HttpAnswer> request(const char* method, const std::string& url,
                           const std::vector<std::string>& headers,
                           std::chrono::milliseconds timeout) {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 curl_easy_cleanup);
  if (!curl) return fail(ErrorCode::internal, "libcurl could not be started");
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> list(nullptr, curl_slist_free_all);
  for (const std::string& header : headers) {
    list.reset(curl_slist_append(list.release(), header.c_str()));
  }
  HttpAnswer answer;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  if (method != nullptr) curl_easy_setopt(curl.get(), CURLOPT_CUSTOMREQUEST, method);
  curl_easy_setopt(curl.get(), CURLOPT_HTTPHEADER, list.get());
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_NOPROXY, "*");
  curl_easy_setopt(curl.get(), CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, on_body);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &answer.body);
  if (const CURLcode code = curl_easy_perform(curl.get()); code != CURLE_OK) {
    return fail(ErrorCode::unavailable, url + " does not answer", curl_easy_strerror(code));
  }
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &answer.status);
  return answer;
}

}  // namespace

Result<HttpAnswer> http_get(const std::string& url, const std::vector<std::string>& headers,
                            std::chrono::milliseconds timeout) {
  return request(nullptr, url, headers, timeout);
}

Result<HttpAnswer> http_delete(const std::string& url, std::chrono::milliseconds timeout) {
  return request("DELETE", url, {}, timeout);
}

}  // namespace atlasflow::builder
