#include "tests/end_to_end/visitors.hpp"

#include <memory>

#include <curl/curl.h>

namespace atlasflow::end_to_end {
namespace {

std::size_t append(char* bytes, std::size_t size, std::size_t count, void* user) {
  static_cast<std::string*>(user)->append(bytes, size * count);
  return size * count;
}

}  // namespace

Visitors::Visitors(const ServerFixture& server, std::string host, std::string body, Pace pace)
    : host_(std::move(host)),
      body_(std::move(body)),
      port_(std::to_string(server.https_port())),
      ca_certificate_(server.ca_certificate().string()),
      pause_(pace.pause) {
  for (int i = 0; i < 2 * pace.of_each_kind; ++i) {
    threads_.emplace_back([this, keep = i % 2 == 0] { visit(keep); });
  }
}

Visitors::~Visitors() { static_cast<void>(leave()); }

Visitors::Outcome Visitors::leave() {
  leaving_ = true;
  for (auto& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
  const std::lock_guard lock(mutex_);
  return {served_.load(), failed_, first_failure_};
}

void Visitors::visit(bool keep_connection) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(),
                                                                 curl_easy_cleanup);
  const std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> resolve(
      curl_slist_append(nullptr, (host_ + ":" + port_ + ":127.0.0.1").c_str()),
      curl_slist_free_all);
  const auto url = "https://" + host_ + ":" + port_ + "/";
  std::string body;
  curl_easy_setopt(curl.get(), CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_CAINFO, ca_certificate_.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_RESOLVE, resolve.get());
  curl_easy_setopt(curl.get(), CURLOPT_PROXY, "");
  curl_easy_setopt(curl.get(), CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl.get(), CURLOPT_TIMEOUT, 30L);
  curl_easy_setopt(curl.get(), CURLOPT_FRESH_CONNECT, keep_connection ? 0L : 1L);
  curl_easy_setopt(curl.get(), CURLOPT_FORBID_REUSE, keep_connection ? 0L : 1L);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEFUNCTION, append);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &body);
  while (!leaving_.load()) {
    body.clear();
    long status = 0;
    const auto code = curl_easy_perform(curl.get());
    curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK && status == 200 && body == body_) {
      ++served_;
    } else {
      const std::lock_guard lock(mutex_);
      if (++failed_ == 1) {
        first_failure_ = std::string(curl_easy_strerror(code)) + ", status " +
                         std::to_string(status) + ": " + body;
      }
    }
    std::this_thread::sleep_for(pause_);
  }
}

}  // namespace atlasflow::end_to_end
