// The App's webhook as GitHub sees it: where it leads, what became of the deliveries, and asking
// for those again that failed. GitHub repeats none by itself. Blocking, any thread; the choice is
// pure. Source: docs.github.com, "REST API endpoints for GitHub App webhooks", "Handling failed
// webhook deliveries".
#pragma once

#include <cstdint>
#include <stop_token>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

struct HookDelivery {
  std::int64_t id = 0;           // of this attempt
  std::string guid;              // of all attempts: X-GitHub-Delivery
  std::int64_t delivered_s = 0;  // since 1970, by GitHub's clock
  int status = 0;                // that it was answered with; 0: not at all
  std::string event;
};

inline constexpr std::size_t k_hook_deliveries_max = 1'000;

// Newest first, those since then, at most count_max. GitHub keeps them for three days.
[[nodiscard]] Result<std::vector<HookDelivery>> hook_deliveries(AppClient& app,
                                                                std::int64_t since_s,
                                                                std::size_t count_max,
                                                                const std::stop_token& stop);

// Which attempts to ask for again: the newest of each delivery none of whose attempts was answered
// with 2xx, oldest delivery first. One that failed before is due later, each time twice as late,
// and never again after k_hook_attempts_max: somebody who refuses it for an hour may yet take it.
inline constexpr std::size_t k_hook_attempts_max = 10;
inline constexpr std::int64_t k_hook_pause_s = 2 * 60;  // before the second attempt
[[nodiscard]] std::vector<std::int64_t> failed_deliveries(
    const std::vector<HookDelivery>& newest_first, std::int64_t now_s);

// It comes under the same GUID.
[[nodiscard]] Result<void> ask_again(AppClient& app, std::int64_t delivery,
                                     const std::stop_token& stop);

// All of that for the pushes of the last three days; how many were asked for. The rest is left for
// the next time when one of them can't be asked for.
[[nodiscard]] Result<std::size_t> ask_for_missed_pushes(AppClient& app,
                                                        const std::stop_token& stop);

// Where the App's deliveries go.
[[nodiscard]] Result<std::string> hook_url(AppClient& app, const std::stop_token& stop);

}  // namespace atlasflow::github
