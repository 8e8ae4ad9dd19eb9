#include "api/push_payload.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "api/url.hpp"
#include "events/settings.hpp"
#include "http/message.hpp"

namespace atlasflow::api {
namespace {

constexpr std::size_t k_text_bytes_max = 4096;  // of a ref, a URL or a name
constexpr std::string_view k_no_commit = "0000000000000000000000000000000000000000";

Result<void> check_text(const std::string& path, const std::string& text) {
  if (text.size() > k_text_bytes_max) {
    return fail(ErrorCode::invalid_argument, "'" + path + "' is longer than 4096 bytes.");
  }
  const bool has_control = std::any_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  });
  if (has_control) {
    return fail(ErrorCode::invalid_argument, "'" + path + "' has a control character.");
  }
  return {};
}

Result<void> read_text(const Members& members, const char* name, std::string& into) {
  auto text = members.string(name);
  if (!text) return tl::unexpected(std::move(text.error()));
  into = text->value_or("");
  return check_text(members.path_of(name), into);
}

Result<void> read_commit(const Members& members, const char* name, std::string& into) {
  auto text = members.required_string(name);
  if (!text) return tl::unexpected(std::move(text.error()));
  if (!is_commit_sha(*text)) {
    return fail(ErrorCode::invalid_argument,
                "'" + members.path_of(name) + "' must be 40 hex digits in lower case.");
  }
  into = *std::move(text);
  return {};
}

// Exactly `digits` digits from `at` on, or -1.
int number_at(std::string_view text, std::size_t at, std::size_t digits) {
  if (text.size() < at + digits) return -1;
  int number = 0;
  const auto* end = text.data() + at + digits;
  const auto parsed = std::from_chars(text.data() + at, end, number);
  return parsed.ec == std::errc() && parsed.ptr == end && number >= 0 ? number : -1;
}

// What follows the seconds: "Z", "+02:00" or "-0700", in s east of Greenwich.
std::optional<std::int64_t> offset_of(std::string_view zone) {
  if (zone == "Z" || zone == "z") return 0;
  const bool has_colon = zone.size() == 6 && zone[3] == ':';
  if (!has_colon && zone.size() != 5) return std::nullopt;
  if (zone[0] != '+' && zone[0] != '-') return std::nullopt;
  const int hours = number_at(zone, 1, 2);
  const int minutes = number_at(zone, has_colon ? 4 : 3, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  const std::int64_t offset = std::int64_t{60} * (hours * 60 + minutes);
  return zone[0] == '-' ? -offset : offset;
}

// "2019-05-15T15:20:33Z" (RFC 3339 section 5.6) in s since 1970.
std::optional<std::int64_t> seconds_of(std::string_view text) {
  constexpr std::size_t k_fixed = 19;  // up to the seconds
  if (text.size() <= k_fixed || text[4] != '-' || text[7] != '-' || text[13] != ':' ||
      text[16] != ':' || (text[10] != 'T' && text[10] != 't' && text[10] != ' ')) {
    return std::nullopt;
  }
  const int year = number_at(text, 0, 4);
  const int month = number_at(text, 5, 2);
  const int day = number_at(text, 8, 2);
  const int hour = number_at(text, 11, 2);
  const int minute = number_at(text, 14, 2);
  const int second = number_at(text, 17, 2);
  if (year < 0 || month < 0 || day < 0 || hour < 0 || hour > 23 || minute < 0 || minute > 59 ||
      second < 0 || second > 60) {
    return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  auto zone = text.substr(k_fixed);
  if (zone.starts_with('.')) {
    const auto end = zone.find_first_not_of("0123456789", 1);
    if (end == 1 || end == std::string_view::npos) return std::nullopt;
    zone.remove_prefix(end);
  }
  const auto offset = offset_of(zone);
  if (!offset) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  const std::int64_t minutes = (days * 24 + hour) * 60 + minute;
  return minutes * 60 + second - *offset;
}

// Push events say it in seconds, every other payload of GitHub's as text.
Result<void> read_pushed_at(const Members& repository, Push& push) {
  if (const auto seconds = repository.integer("pushed_at"); seconds) {
    push.pushed_at_s = seconds->value_or(0);
    if (push.pushed_at_s >= 0) return {};
  } else if (const auto text = repository.string("pushed_at"); text) {
    if (const auto parsed = seconds_of(text->value_or("")); parsed && *parsed >= 0) {
      push.pushed_at_s = *parsed;
      return {};
    }
  }
  return fail(ErrorCode::invalid_argument,
              "'repository.pushed_at' must be seconds since 1970 or a time such as "
              "2026-11-24T06:00:00Z.");
}

Result<void> read_repository(const ParsedJson& json, Push& push) {
  const Members members(json, "repository");
  for (const char* name : {"clone_url", "ssh_url", "html_url", "git_url", "url"}) {
    std::string url;
    if (auto read = read_text(members, name, url); !read) return read;
    if (!url.empty()) push.repository_urls.push_back(std::move(url));
  }
  if (push.repository_urls.empty()) {
    return fail(ErrorCode::invalid_argument,
                "'repository' has none of clone_url, ssh_url, html_url, git_url and url.");
  }
  if (auto read = read_pushed_at(members, push); !read) return read;
  return read_text(members, "default_branch", push.default_branch);
}

// `pusher` is whoever pushed by git; pushes made by apps have only a sender.
Result<void> read_pusher(const Members& payload, Push& push) {
  for (const auto& [object, name] : {std::pair{"pusher", "name"}, std::pair{"sender", "login"}}) {
    const auto json = payload.object(object);
    if (!json) return tl::unexpected(json.error());
    if (*json == nullptr) continue;
    std::string text;
    if (auto read = read_text(Members(**json, object), name, text); !read) return read;
    if (push.pusher.empty()) push.pusher = std::move(text);
  }
  return {};
}

}  // namespace

Result<std::string> payload_text(std::string_view content_type, std::string_view body) {
  auto media_type = content_type.substr(0, content_type.find(';'));
  while (media_type.ends_with(' ')) media_type.remove_suffix(1);
  if (!http::equal_ignoring_case(media_type, "application/x-www-form-urlencoded")) {
    return std::string(body);
  }
  const auto form = parsed_query(body);
  if (!form) {
    return fail(ErrorCode::invalid_argument, "The form is not well percent-encoded.");
  }
  for (const auto& [name, value] : *form) {
    if (name == "payload") return value;
  }
  return fail(ErrorCode::invalid_argument,
              "The form has no field 'payload'; application/json is the better content type.");
}

Result<Push> parsed_push(const ParsedJson& payload) {
  const Members members(payload);
  Push push;
  if (auto read = read_text(members, "ref", push.ref); !read) {
    return tl::unexpected(std::move(read.error()));
  }
  if (push.ref.empty()) return fail(ErrorCode::invalid_argument, "'ref' is missing.");
  if (auto read = read_commit(members, "before", push.before); !read) {
    return tl::unexpected(std::move(read.error()));
  }
  if (auto read = read_commit(members, "after", push.after); !read) {
    return tl::unexpected(std::move(read.error()));
  }
  const auto deleted = members.boolean("deleted");
  if (!deleted) return tl::unexpected(deleted.error());
  push.deleted = deleted->value_or(false) || push.after == k_no_commit;
  const auto forced = members.boolean("forced");
  if (!forced) return tl::unexpected(forced.error());
  push.forced = forced->value_or(false);
  const auto repository = members.object("repository");
  if (!repository) return tl::unexpected(repository.error());
  if (*repository == nullptr) {
    return fail(ErrorCode::invalid_argument, "'repository' is missing.");
  }
  if (auto read = read_repository(**repository, push); !read) {
    return tl::unexpected(std::move(read.error()));
  }
  if (auto read = read_pusher(members, push); !read) {
    return tl::unexpected(std::move(read.error()));
  }
  return push;
}

}  // namespace atlasflow::api
