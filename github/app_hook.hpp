// The App's webhook as GitHub sees it: where it leads, what became of the deliveries, and asking
// for those again that failed. GitHub repeats none by itself. Blocking, any thread; the choice is
// pure. Source: docs.github.com, "REST API endpoints for GitHub App webhooks", "Handling failed
// webhook deliveries".
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
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
  bool repeated = false;  // asked for again; the first attempt was another
};

inline constexpr std::size_t k_hook_deliveries_max = 1'000;

// Newest first, those since then, at most count_max, and of 20 pages. GitHub keeps them for three
// days.
[[nodiscard]] Result<std::vector<HookDelivery>> hook_deliveries(AppClient& app,
                                                                std::int64_t since_s,
                                                                std::size_t count_max,
                                                                const std::stop_token& stop);

// What was done about a delivery that GitHub's list does not tell of, or not yet.
struct AskedAgain {
  std::size_t taken = 0;    // GitHub said that it delivers it again
  std::size_t refused = 0;  // or that it does not, or nothing
  std::int64_t last_s = 0;  // by GitHub's clock
};
using AskedDeliveries = std::map<std::string, AskedAgain>;  // by GUID

// Which attempts to ask for again: the newest of each delivery none of whose attempts was answered
// with 2xx, oldest delivery first. Each time the next one is due twice as late, and after
// k_hook_attempts_max none is: somebody who refuses it for an hour may yet take it. One whose first
// attempt is not listed any more is over, as nobody knows how many followed.
inline constexpr std::size_t k_hook_attempts_max = 10;
inline constexpr std::int64_t k_hook_pause_s = std::int64_t{2} * 60;  // before the second attempt
[[nodiscard]] std::vector<HookDelivery> failed_deliveries(
    const std::vector<HookDelivery>& newest_first, const AskedDeliveries& asked,
    std::int64_t now_s);

// It comes under the same GUID. not_found: GitHub will not deliver it again, and says so.
[[nodiscard]] Result<void> ask_again(AppClient& app, std::int64_t delivery,
                                     const std::stop_token& stop);

// All of that for the pushes and pull requests of the last three days, from time to time. Remembers
// what it asked for, so one that GitHub refuses or never delivers comes ever more rarely and holds
// up no other. One thread at a time.
class MissedPushes {
 public:
  struct Asked {
    std::size_t taken = 0;
    std::size_t refused = 0;
    std::string problem;  // of the last one that was refused
  };
  // An error: what became of the deliveries is not known, and nothing was asked for.
  [[nodiscard]] Result<Asked> ask(AppClient& app, const std::stop_token& stop);

 private:
  AskedDeliveries asked_;
};

// Where the App's deliveries go.
[[nodiscard]] Result<std::string> hook_url(AppClient& app, const std::stop_token& stop);

}  // namespace atlasflow::github
