// One request to GitHub's REST API and its answer: the fields that GitHub wants, its rate limits,
// ETags for what was asked before, and its clock. Blocking; any thread, several at a time. Whoever
// calls says who asks; tokens are kept nowhere here.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "base/http_client.hpp"
#include "base/secret.hpp"
#include "github/address.hpp"

namespace atlasflow::github {

struct ApiConfig {
  Address address;
  std::function<std::int64_t()> now_s;        // since 1970, by this machine's clock
  std::chrono::milliseconds timeout{10'000};  // of one request
};

struct ApiRequest {
  std::string method = "GET";
  std::string path;                // "/app", below the API's address
  const Secret* bearer = nullptr;  // a JWT or a token; null: nobody in particular
  std::optional<nlohmann::json> body = std::nullopt;
  // Set for a GET that is asked for again and again: answers of at most 256 KiB are remembered
  // under that name and the path, and one that has not changed costs nothing of the rate limit.
  std::string remember_as = {};
  // Whose limit of requests counts: GitHub has one for the App and one for each installation.
  std::string limited_as = {};
};

// Deeper than anything that GitHub sends.
inline constexpr int k_json_levels_max = 64;

struct ApiResponse {
  int status = 0;
  nlohmann::json json;             // an object, an array, or null when there is no body
  std::string message;             // GitHub's own, of a refusal; one line of at most 200 bytes
  std::string redirected_to = {};  // the path below the API's address, of a thing that moved
  std::string next = {};           // the path of a list's next page; empty: this is the last one
};

// That of a base URL as address_of has it, empty: github.com; by the system's clock.
[[nodiscard]] Result<ApiConfig> api_config(const std::string& base_url);

class ApiClient {
 public:
  explicit ApiClient(ApiConfig config);

  // Answers below 500 that are no rate limit. unavailable: GitHub does not answer, fails, is none,
  // or wants to be left alone for a while, and says until when; nothing under that limit is sent
  // until then.
  [[nodiscard]] Result<ApiResponse> send(const ApiRequest& request, const std::stop_token& stop);

  // Now, as GitHub's clock has it by its last answer: this machine's may be off.
  [[nodiscard]] std::int64_t github_now_s() const;
  // Of this machine's clock against GitHub's, in s: positive when ours is ahead. 0: not known.
  [[nodiscard]] std::int64_t clock_ahead_s() const;
  [[nodiscard]] const Address& address() const { return config_.address; }

 private:
  struct Remembered {
    std::string etag;
    nlohmann::json json;
    std::string next;
  };

  // Since GitHub wants to be left alone.
  struct Silence {
    std::int64_t until_s = 0;  // by this machine's clock
    int limits_in_a_row = 0;
  };

  [[nodiscard]] Result<void> wait_is_over(const std::string& limited_as) const;
  [[nodiscard]] HttpRequest http_request(const ApiRequest& request, const std::string& path,
                                         const std::stop_token& stop) const;
  [[nodiscard]] Result<ApiResponse> take(const ApiRequest& request, const std::string& path,
                                         const HttpResponse& response);
  void learn_clock(const HttpResponse& response);

  const ApiConfig config_;
  mutable std::mutex mutex_;  // guards what follows; never held during a request
  std::int64_t clock_ahead_s_ = 0;
  std::map<std::string, Silence> silences_;
  std::map<std::string, Remembered> remembered_;
  std::size_t remembered_bytes_ = 0;  // taken in since they were last forgotten
};

}  // namespace atlasflow::github
