#include "github/api_client.hpp"

#include <algorithm>

#include "base/json_depth.hpp"
#include "base/version.hpp"
#include "github/http_date.hpp"
#include "github/rate_limit.hpp"

namespace atlasflow::github {
namespace {

constexpr std::uint64_t k_answer_bytes_max = 4U << 20U;
// Of one answer and of all of them, before they are parsed: a tree takes several times as much.
constexpr std::size_t k_remembered_bytes_max = 256U << 10U;
constexpr std::size_t k_all_remembered_bytes_max = 4U << 20U;
constexpr std::size_t k_message_bytes_max = 200;
constexpr std::size_t k_remembered_max = 256;
constexpr int k_redirects_max = 2;
constexpr std::int64_t k_clock_tolerance_s = 2;  // what a slow answer makes of two good clocks

// What GitHub says goes into errors and log lines: one line, and not much of it.
std::string one_line(std::string text) {
  if (text.size() > k_message_bytes_max) text.resize(k_message_bytes_max);
  std::replace_if(
      text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c >= 0x7f; }, ' ');
  return text;
}

std::string message_of(const nlohmann::json& json) {
  const auto found = json.is_object() ? json.find("message") : json.end();
  if (!json.is_object() || found == json.end() || !found->is_string()) return {};
  return one_line(found->get<std::string>());
}

// The path in `Link: <https://api.github.com/…?cursor=x>; rel="next"` (RFC 8288 section 3).
std::string next_path(std::string_view link, const std::string& api) {
  const auto end = link.find(">; rel=\"next\"");
  if (end == std::string_view::npos) return {};
  const auto begin = link.rfind('<', end);
  if (begin == std::string_view::npos) return {};
  const auto url = link.substr(begin + 1, end - begin - 1);
  return url.starts_with(api + "/") ? std::string(url.substr(api.size())) : std::string{};
}

std::string minutes(std::int64_t seconds) {
  return seconds < 120 ? std::to_string(seconds) + " s" : std::to_string(seconds / 60) + " minutes";
}

}  // namespace

Result<ApiConfig> api_config(const std::string& base_url) {
  ApiConfig config;
  ATLAS_TRY(config.address, address_of(base_url.empty() ? k_public_github : base_url));
  config.now_s = [] {
    return std::chrono::duration_cast<std::chrono::seconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  };
  return config;
}

ApiClient::ApiClient(ApiConfig config) : config_(std::move(config)) {}

std::int64_t ApiClient::github_now_s() const { return config_.now_s() - clock_ahead_s(); }

std::int64_t ApiClient::clock_ahead_s() const {
  const std::lock_guard lock(mutex_);
  return clock_ahead_s_;
}

Result<void> ApiClient::wait_is_over(const std::string& limited_as) const {
  const auto now_s = config_.now_s();
  const std::lock_guard lock(mutex_);
  const auto found = silences_.find(limited_as);
  if (found == silences_.end()) return {};
  const auto until_s = found->second.until_s;
  // A clock that was set back must not silence us for longer than GitHub ever asks for.
  if (now_s >= until_s || until_s - now_s > k_limit_wait_max_s) return {};
  return fail(ErrorCode::unavailable,
              "GitHub's limit of requests is used up; it can be asked again in " +
                  minutes(until_s - now_s));
}

HttpRequest ApiClient::http_request(const ApiRequest& request, const std::string& path,
                                    const std::stop_token& stop) const {
  HttpRequest http;
  http.method = request.method;
  http.url = config_.address.api + path;
  http.fields = {{"Accept", "application/vnd.github+json"},
                 {"X-GitHub-Api-Version", "2022-11-28"},
                 {"User-Agent", std::string("atlasflow/") + k_version}};
  if (request.bearer != nullptr) {
    http.fields.push_back({"Authorization", "Bearer " + request.bearer->reveal()});
  }
  if (request.body) {
    http.fields.push_back({"Content-Type", "application/json"});
    http.body = request.body->dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  }
  if (!request.remember_as.empty()) {
    const std::lock_guard lock(mutex_);
    const auto known = remembered_.find(request.remember_as + " " + path);
    if (known != remembered_.end()) http.fields.push_back({"If-None-Match", known->second.etag});
  }
  http.timeout = config_.timeout;
  http.body_bytes_max = k_answer_bytes_max;
  http.stop = stop;
  return http;
}

void ApiClient::learn_clock(const HttpResponse& response) {
  const auto date_s = http_date(response.field("Date"));
  if (!date_s) return;
  const auto ahead_s = config_.now_s() - *date_s;
  const std::lock_guard lock(mutex_);
  clock_ahead_s_ = std::abs(ahead_s) <= k_clock_tolerance_s ? 0 : ahead_s;
}

Result<ApiResponse> ApiClient::take(const ApiRequest& request, const std::string& path,
                                    const HttpResponse& response) {
  learn_clock(response);
  const auto github_now = github_now_s();
  const auto key = request.remember_as + " " + path;
  const std::lock_guard lock(mutex_);
  auto& silence = silences_[request.limited_as];
  if (const auto limit = rate_limit_of(response, github_now, silence.limits_in_a_row)) {
    ++silence.limits_in_a_row;
    silence.until_s = config_.now_s() + limit->wait_s;
    return fail(
        ErrorCode::unavailable,
        "GitHub's limit of requests is used up; it can be asked again in " + minutes(limit->wait_s),
        limit->kind == RateLimit::Kind::primary ? "the primary rate limit"
                                                : "a secondary rate limit");
  }
  silence.limits_in_a_row = 0;
  if (response.status >= 500) {
    return fail(ErrorCode::unavailable,
                config_.address.web + " fails with status " + std::to_string(response.status) +
                    "; it is tried again (https://www.githubstatus.com tells of trouble there)");
  }
  ApiResponse result{response.status, nullptr, {}};
  if (const auto known = remembered_.find(key);
      response.status == 304 && known != remembered_.end()) {
    result.status = 200;
    result.json = known->second.json;
    // GitHub repeats the Link field of a list only with its body.
    result.next = known->second.next;
    return result;
  }
  if (!response.body.empty()) {
    const bool is_too_deep = nests_deeper_than(response.body, k_json_levels_max);
    if (!is_too_deep) result.json = nlohmann::json::parse(response.body, nullptr, false);
    if (is_too_deep || result.json.is_discarded()) {
      // A proxy's page, or a base URL that leads to something else.
      return fail(ErrorCode::unavailable, config_.address.api + " answers with status " +
                                              std::to_string(response.status) +
                                              " and something else than GitHub's JSON; is " +
                                              config_.address.web + " a GitHub?");
    }
  }
  result.message = message_of(result.json);
  result.next = next_path(response.field("Link"), config_.address.api);
  if (!request.remember_as.empty() && response.status == 200 && !response.field("ETag").empty() &&
      response.body.size() <= k_remembered_bytes_max) {
    // What takes the place of another counts like one more, until all is forgotten.
    remembered_bytes_ += response.body.size();
    if (remembered_.size() >= k_remembered_max || remembered_bytes_ > k_all_remembered_bytes_max) {
      remembered_.clear();
      remembered_bytes_ = response.body.size();
    }
    remembered_[key] = {std::string(response.field("ETag")), result.json, result.next};
  }
  return result;
}

Result<ApiResponse> ApiClient::send(const ApiRequest& request, const std::stop_token& stop) {
  auto path = request.path;
  std::string redirected_to;
  for (int redirects = 0;; ++redirects) {
    ATLAS_TRYV(wait_is_over(request.limited_as));
    auto response = send_http(http_request(request, path, stop));
    if (!response) {
      auto error = std::move(response.error());
      if (error.code == ErrorCode::unavailable || error.code == ErrorCode::timed_out) {
        error.message = "GitHub can't be reached: " + error.message;
      }
      return tl::unexpected(std::move(error));
    }
    const bool moved = response->status == 301 || response->status == 302 ||
                       response->status == 307 || response->status == 308;
    const auto target = response->field("Location");
    // To the same API only: the JWT goes along.
    const bool within = target.starts_with(config_.address.api + "/");
    // With its method and body by those two alone (RFC 9110 section 15.4).
    const bool repeatable =
        request.method == "GET" || response->status == 307 || response->status == 308;
    if (moved && within && repeatable && redirects < k_redirects_max) {
      learn_clock(*response);
      path = redirected_to = target.substr(config_.address.api.size());
      continue;
    }
    if (moved) {
      return fail(ErrorCode::unavailable,
                  config_.address.api + " sends elsewhere; check the base URL of this GitHub");
    }
    auto taken = take(request, path, *response);
    if (taken) taken->redirected_to = std::move(redirected_to);
    return taken;
  }
}

}  // namespace atlasflow::github
