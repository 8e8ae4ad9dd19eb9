#include "github/app_hook.hpp"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "base/rfc3339.hpp"

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

tl::unexpected<Error> unexpected_answer(const std::string& what, const ApiResponse& response) {
  return fail(ErrorCode::unavailable,
              "GitHub answered " + what + " with status " + std::to_string(response.status) +
                  (response.status < 300 ? " and without what belongs there" : "") +
                  "; try again later",
              response.message);
}

std::optional<HookDelivery> delivery_of(const Json& json) {
  try {
    HookDelivery delivery;
    delivery.id = json.at("id");
    delivery.guid = json.at("guid");
    delivery.status = json.at("status_code");
    delivery.event = json.at("event");
    delivery.repeated = json.value("redelivery", false);
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
  // Twice what full pages take: some are not full, and a list may lead to itself.
  constexpr std::size_t k_pages_max = 2 * k_hook_deliveries_max / k_page_max;
  std::vector<HookDelivery> found;
  auto path = "/app/hook/deliveries?per_page=" + std::to_string(std::min(count_max, k_page_max));
  for (std::size_t page = 0; !path.empty() && page < k_pages_max; ++page) {
    // What follows the first page has another address each time.
    const auto* remember_as = page == 0 ? "app" : "";
    ATLAS_TRY(const auto response,
              app.send_as_app({.path = path, .remember_as = remember_as}, stop));
    if (response.status != 200 || !response.json.is_array()) {
      return unexpected_answer("what became of the App's deliveries", response);
    }
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

namespace {

// What is known of one delivery: by GitHub's list, and by what was done about it.
struct Attempts {
  HookDelivery newest;
  std::size_t listed = 0;
  bool answered = false;
  bool has_first = false;

  // When the next one is due; nothing: never.
  [[nodiscard]] std::optional<std::int64_t> due_s(const AskedAgain& asked) const {
    const auto made = std::max(listed, 1 + asked.taken);
    if (answered || !has_first || made >= k_hook_attempts_max) return std::nullopt;
    const auto doublings = std::min(made - 1 + asked.refused, k_hook_attempts_max);
    return std::max(newest.delivered_s, asked.last_s) + (k_hook_pause_s << doublings);
  }
};

}  // namespace

std::vector<HookDelivery> failed_deliveries(const std::vector<HookDelivery>& newest_first,
                                            const AskedDeliveries& asked, std::int64_t now_s) {
  std::map<std::string, Attempts> by_guid;
  std::vector<std::string> guids;
  for (const auto& delivery : newest_first) {
    auto& attempts = by_guid[delivery.guid];
    if (attempts.listed++ == 0) {
      attempts.newest = delivery;
      guids.push_back(delivery.guid);
    }
    if (delivery.status >= 200 && delivery.status < 300) attempts.answered = true;
    if (!delivery.repeated) attempts.has_first = true;
  }
  std::reverse(guids.begin(), guids.end());  // the oldest delivery first
  std::vector<HookDelivery> again;
  for (const auto& guid : guids) {
    const auto known = asked.find(guid);
    const auto due_s = by_guid[guid].due_s(known == asked.end() ? AskedAgain{} : known->second);
    if (due_s && *due_s <= now_s) again.push_back(by_guid[guid].newest);
  }
  return again;
}

Result<void> ask_again(AppClient& app, std::int64_t delivery, const std::stop_token& stop) {
  ApiRequest request;
  request.method = "POST";
  request.path = "/app/hook/deliveries/" + std::to_string(delivery) + "/attempts";
  ATLAS_TRY(const auto response, app.send_as_app(std::move(request), stop));
  if (response.status == 202) return {};
  if (response.status < 400) {
    return unexpected_answer("the request to deliver " + std::to_string(delivery) + " again",
                             response);
  }
  return fail(ErrorCode::not_found,
              "GitHub does not deliver " + std::to_string(delivery) + " again (status " +
                  std::to_string(response.status) + ")",
              response.message);
}

Result<MissedPushes::Asked> MissedPushes::ask(AppClient& app, const std::stop_token& stop) {
  constexpr std::int64_t k_kept_s = std::int64_t{3} * 24 * 3600;  // by GitHub
  constexpr int k_silences_max = 3;  // in a row: the trouble is no delivery's own
  const auto now_s = app.github_now_s();
  ATLAS_TRY(auto deliveries, hook_deliveries(app, now_s - k_kept_s, k_hook_deliveries_max, stop));
  // Nothing follows from the others that could be missed.
  std::erase_if(deliveries, [](const auto& delivery) {
    return delivery.event != "push" && delivery.event != "pull_request";
  });
  std::set<std::string> listed;
  for (const auto& delivery : deliveries) listed.insert(delivery.guid);
  std::erase_if(asked_, [&](const auto& each) { return !listed.contains(each.first); });
  Asked asked;
  int silences = 0;
  for (const auto& delivery : failed_deliveries(deliveries, asked_, now_s)) {
    const auto done = ask_again(app, delivery.id, stop);
    if (!done && done.error().code == ErrorCode::cancelled) return tl::unexpected(done.error());
    auto& known = asked_[delivery.guid];
    known.last_s = now_s;
    ++(done ? known.taken : known.refused);
    ++(done ? asked.taken : asked.refused);
    if (!done) asked.problem = to_string(done.error());
    silences = done || done.error().code == ErrorCode::not_found ? 0 : silences + 1;
    if (silences == k_silences_max) break;
  }
  return asked;
}

Result<std::string> hook_url(AppClient& app, const std::stop_token& stop) {
  ATLAS_TRY(const auto response,
            app.send_as_app({.path = "/app/hook/config", .remember_as = "app"}, stop));
  const auto found = response.json.is_object() ? response.json.find("url") : response.json.end();
  if (response.status != 200 || !response.json.is_object() || found == response.json.end() ||
      !found->is_string()) {
    return unexpected_answer("where the App's webhook leads", response);
  }
  return found->get<std::string>();
}

}  // namespace atlasflow::github
