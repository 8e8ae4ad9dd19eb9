#include "github/app_hook.hpp"

#include <algorithm>
#include <map>

#include "base/rfc3339.hpp"

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> unexpected_answer(const ApiResponse& response) {
  return fail(ErrorCode::unavailable,
              "GitHub answered what became of the App's deliveries with status " +
                  std::to_string(response.status) + "; it is asked again later",
              response.message);
}

std::optional<HookDelivery> delivery_of(const Json& json) {
  try {
    HookDelivery delivery;
    delivery.id = json.at("id");
    delivery.guid = json.at("guid");
    delivery.status = json.at("status_code");
    delivery.event = json.at("event");
    const auto at_us = parse_rfc3339_us(json.at("delivered_at").get_ref<const std::string&>());
    if (!at_us || delivery.id <= 0 || delivery.guid.empty()) return std::nullopt;
    delivery.delivered_s = *at_us / 1'000'000;
    return delivery;
  } catch (const Json::exception&) {
    return std::nullopt;
  }
}

}  // namespace

Result<std::vector<HookDelivery>> hook_deliveries(AppClient& app, std::int64_t since_s,
                                                  std::size_t count_max,
                                                  const std::stop_token& stop) {
  constexpr std::size_t k_page_max = 100;
  std::vector<HookDelivery> found;
  auto path = "/app/hook/deliveries?per_page=" + std::to_string(std::min(count_max, k_page_max));
  while (!path.empty()) {
    ATLAS_TRY(const auto response, app.send_as_app({.path = path, .remember_as = "app"}, stop));
    if (response.status != 200 || !response.json.is_array()) return unexpected_answer(response);
    for (const auto& each : response.json) {
      auto delivery = delivery_of(each);
      // One that GitHub describes in another way hides none of the others.
      if (!delivery) continue;
      if (delivery->delivered_s < since_s || found.size() >= count_max) return found;
      found.push_back(*std::move(delivery));
    }
    path = response.json.empty() ? "" : response.next;
  }
  return found;
}

std::vector<std::int64_t> failed_deliveries(const std::vector<HookDelivery>& newest_first,
                                            std::int64_t now_s) {
  struct Attempts {
    std::int64_t newest = 0;
    std::int64_t newest_s = 0;
    std::size_t count = 0;
    bool answered = false;
  };
  std::map<std::string, Attempts> by_guid;
  std::vector<std::string> newest_guid_first;
  for (const auto& delivery : newest_first) {
    auto& attempts = by_guid[delivery.guid];
    if (attempts.count++ == 0) {
      attempts.newest = delivery.id;
      attempts.newest_s = delivery.delivered_s;
      newest_guid_first.push_back(delivery.guid);
    }
    if (delivery.status >= 200 && delivery.status < 300) attempts.answered = true;
  }
  std::vector<std::int64_t> again;
  for (auto guid = newest_guid_first.rbegin(); guid != newest_guid_first.rend(); ++guid) {
    const auto& attempts = by_guid[*guid];
    if (attempts.answered || attempts.count >= k_hook_attempts_max) continue;
    const auto due_s = attempts.newest_s + (k_hook_pause_s << (attempts.count - 1));
    if (due_s <= now_s) again.push_back(attempts.newest);
  }
  return again;
}

Result<void> ask_again(AppClient& app, std::int64_t delivery, const std::stop_token& stop) {
  ApiRequest request;
  request.method = "POST";
  request.path = "/app/hook/deliveries/" + std::to_string(delivery) + "/attempts";
  ATLAS_TRY(const auto response, app.send_as_app(std::move(request), stop));
  if (response.status != 202) return unexpected_answer(response);
  return {};
}

Result<std::size_t> ask_for_missed_pushes(AppClient& app, const std::stop_token& stop) {
  constexpr std::int64_t k_kept_s = 3 * 24 * 3600;  // by GitHub
  ATLAS_TRY(auto deliveries,
            hook_deliveries(app, app.github_now_s() - k_kept_s, k_hook_deliveries_max, stop));
  // Nothing follows from the others that could be missed.
  std::erase_if(deliveries, [](const auto& delivery) { return delivery.event != "push"; });
  std::size_t count = 0;
  for (const auto delivery : failed_deliveries(deliveries, app.github_now_s())) {
    ATLAS_TRYV(ask_again(app, delivery, stop));
    ++count;
  }
  return count;
}

Result<std::string> hook_url(AppClient& app, const std::stop_token& stop) {
  ATLAS_TRY(const auto response,
            app.send_as_app({.path = "/app/hook/config", .remember_as = "app"}, stop));
  const auto found = response.json.is_object() ? response.json.find("url") : response.json.end();
  if (response.status != 200 || !response.json.is_object() || found == response.json.end() ||
      !found->is_string()) {
    return unexpected_answer(response);
  }
  return found->get<std::string>();
}

}  // namespace atlasflow::github
