#include "server/restart.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string_view>

#include <linux/close_range.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "base/backoff.hpp"
#include "base/file.hpp"
#include "base/log.hpp"

namespace atlasflow::server {
namespace {

using nlohmann::json;

constexpr std::size_t k_kept = 20;
constexpr std::uint64_t k_record_bytes_max = 1U << 20U;
constexpr std::size_t k_reason_bytes_max = 500;
constexpr std::uint64_t k_arguments_bytes_max = 4U << 20U;  // what execve(2) lets through
constexpr std::int64_t k_window_us = 600'000'000;

std::filesystem::path record_in(const std::filesystem::path& state) {
  return state / "restarts.json";
}

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

// What a person accepted once is not accepted for every start to come. A flag may be written with
// its value, "--accept-loss=true".
bool is_accepted_once(std::string_view word) {
  const auto flag = word.substr(0, word.find('='));
  return flag == "--accept-loss" || flag == "--accept-new-fold";
}

void record(const std::filesystem::path& state, std::vector<Restart> restarts) {
  if (restarts.size() > k_kept) restarts.erase(restarts.begin(), restarts.end() - k_kept);
  json document = json::array();
  for (const auto& restart : restarts) {
    document.push_back({{"at_us", restart.at_us}, {"reason", restart.reason}});
  }
  const auto text = document.dump(1, ' ', false, json::error_handler_t::replace) + "\n";
  // Not synced: it only makes the pauses longer and `status` more telling.
  if (auto written = replace_file(record_in(state), text, 0600, Sync::skipped); !written) {
    log_event(LogLevel::warn, "server", "restart_not_recorded",
              {{"error", to_string(written.error())}});
  }
}

}  // namespace

std::vector<Restart> recorded_restarts(const std::filesystem::path& state) {
  const auto text = read_file(record_in(state), k_record_bytes_max).value_or("");
  const auto document = json::parse(text, nullptr, false);
  std::vector<Restart> restarts;
  if (!document.is_array()) return restarts;
  for (const auto& entry : document) {
    if (!entry.is_object() || !entry.contains("at_us") || !entry.contains("reason")) continue;
    if (!entry["at_us"].is_number_integer() || !entry["reason"].is_string()) continue;
    restarts.push_back({entry["at_us"].get<std::int64_t>(), entry["reason"].get<std::string>()});
  }
  return restarts;
}

std::chrono::seconds pause_before_restart(const std::vector<Restart>& earlier, std::int64_t now) {
  const auto recent = std::count_if(earlier.begin(), earlier.end(), [now](const Restart& restart) {
    return restart.at_us > now - k_window_us && restart.at_us <= now;
  });
  return doubled_pause(static_cast<std::size_t>(recent), std::chrono::seconds(60));
}

Result<void> restart_process(const std::filesystem::path& state, const Error& why,
                             const StopSignal& stop) {
  auto restarts = recorded_restarts(state);
  const auto now = now_us();
  const auto pause = pause_before_restart(restarts, now);
  restarts.push_back({now, to_string(why).substr(0, k_reason_bytes_max)});
  record(state, std::move(restarts));
  log_event(LogLevel::critical, "server", "starting_anew",
            {{"in_s", pause.count()}, {"reason", to_string(why)}});
  // Before the pause: the program's name leads to another file once it has been replaced.
  ATLAS_TRY(auto words, read_file("/proc/self/cmdline", k_arguments_bytes_max));
  if (stop.wait_for(pause)) return {};
  std::vector<char*> arguments;
  for (std::size_t at = 0; at < words.size(); at += std::strlen(words.data() + at) + 1) {
    if (!is_accepted_once(words.data() + at)) arguments.push_back(words.data() + at);
  }
  arguments.push_back(nullptr);
  spdlog::shutdown();
  // The locks of the state folder and of the log go with their descriptors. What was opened by a
  // library in some other way must not reach the next program either.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  ::execv("/proc/self/exe", arguments.data());
  return fail(ErrorCode::internal, "the server cannot start itself anew; start it again",
              std::strerror(errno));
}

}  // namespace atlasflow::server
