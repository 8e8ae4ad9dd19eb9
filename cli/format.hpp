// How values look on a terminal: times, sizes, tables and one line per event. Pure but for the
// local time zone; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "events/deployment.hpp"
#include "events/ids.hpp"

namespace atlasflow::cli {

[[nodiscard]] std::string local_time(TimestampUs at);              // "2026-11-23 06:53:35"
[[nodiscard]] std::string clock_time(TimestampUs at);              // "06:53:35.123"
[[nodiscard]] std::string age(TimestampUs now, TimestampUs then);  // "5 min ago"
[[nodiscard]] std::string duration(std::int64_t us);        // "850 ms", "12.3 s", "4 min 3 s"
[[nodiscard]] std::string byte_size(std::int64_t bytes);    // "4.2 MiB"
[[nodiscard]] std::string short_sha(std::string_view sha);  // 7 digits

// Without control characters: text from a repository must not steer the terminal.
[[nodiscard]] std::string printable(std::string_view text);
// At most `columns` characters, the last an ellipsis when some were left out.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t columns);

// Rows in columns, two spaces apart; the first row is the heading. No space at a line's end.
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows);

// "Built: dockerfile in 1.2 s": what a person wants of an event of the API, without its time.
[[nodiscard]] std::string event_detail(const std::string& type, const nlohmann::json& data);

// "  [webhook:github]" of an event that somebody outside asked for, unless the detail says so;
// empty for what happens by itself, and in a log of an older build.
[[nodiscard]] std::string asker_mark(const std::string& actor, const std::string& detail);

// Of a deployment in the API's JSON: what made it, as "rollback to d7k2m9qa" or "push by ada"; its
// status, unless a newer server has one that this build does not know; its healthy instances of
// those that it should have, "2/3".
[[nodiscard]] std::string made_by(const nlohmann::json& deployment);
[[nodiscard]] std::optional<DeploymentStatus> status_of(const nlohmann::json& deployment);
[[nodiscard]] std::string healthy_share(const nlohmann::json& deployment);
// "VM start of instance 1: attempt 3, due in 4.0 s", of an entry of its waiting_for.
[[nodiscard]] std::string wait_line(const nlohmann::json& wait, TimestampUs now);

// "[=====     ]  50 %", 40 columns wide, of steps that are done.
[[nodiscard]] std::string progress_bar(std::uint64_t done, std::uint64_t total);

// "06:53:35.123  200  GET shop.example.com/cart  12 ms, 4.2 KiB  to 192.0.2.7", of a line of the
// access log; with why it ended early and in what, if it did: "  client_left (response)".
[[nodiscard]] std::string request_line(const nlohmann::json& request);

// A field of the API's JSON, whichever way it came: null and absent are empty, Protobuf's int64 are
// text.
[[nodiscard]] std::string text_of(const nlohmann::json& object, const char* key);
[[nodiscard]] std::int64_t number_of(const nlohmann::json& object, const char* key);

}  // namespace atlasflow::cli
