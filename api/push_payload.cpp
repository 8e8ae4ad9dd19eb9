#include "api/push_payload.hpp"

#include <algorithm>
#include <array>

#include "api/url.hpp"
#include "base/rfc3339.hpp"
#include "events/environment.hpp"
#include "events/settings.hpp"
#include "http/message.hpp"

namespace atlasflow::api {
namespace {

constexpr std::size_t k_text_bytes_max = 4096;  // of a ref, a URL or a name

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

// Push events say it in seconds, every other payload of GitHub's as text.
Result<void> read_pushed_at(const Members& repository, Push& push) {
  if (const auto seconds = repository.integer("pushed_at"); seconds) {
    push.pushed_at_s = seconds->value_or(0);
    if (push.pushed_at_s >= 0) return {};
  } else if (const auto text = repository.string("pushed_at"); text) {
    if (const auto at = parse_rfc3339_us(text->value_or("")); at && *at >= 0) {
      push.pushed_at_s = *at / k_second_us;
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
  ATLAS_TRY(const auto id, members.integer("id"));
  push.repository_id = id.value_or(0);
  if (auto read = read_pushed_at(members, push); !read) return read;
  return read_text(members, "default_branch", push.default_branch);
}

// `pusher` is whoever pushed by git; pushes made by apps have only a sender.
Result<void> read_pusher(const Members& payload, Push& push) {
  for (const auto& [object, name] : {std::pair{"pusher", "name"}, std::pair{"sender", "login"}}) {
    ATLAS_TRY(const auto json, payload.object(object));
    if (json == nullptr) continue;
    std::string text;
    if (auto read = read_text(Members(*json, object), name, text); !read) return read;
    if (push.pusher.empty()) push.pusher = std::move(text);
  }
  return {};
}

// ---- pull requests ----

// The id of the repository where one side's branch is; 0: that was deleted.
Result<std::int64_t> repository_of(const Members& side, std::string& full_name) {
  ATLAS_TRY(const auto json, side.object("repo"));
  if (json == nullptr) return 0;
  const Members repository(*json, side.path_of("repo"));
  ATLAS_TRY(const auto id, repository.integer("id"));
  ATLAS_TRYV(read_text(repository, "full_name", full_name));
  return id.value_or(0);
}

// Its branch is a fork's unless it says that both sides are the same repository.
Result<void> read_sides(const Members& pull_request, Push& push) {
  auto& head = push.pull_request->head;
  ATLAS_TRY(const auto from, required_object(pull_request, "head"));
  ATLAS_TRY(const auto to, required_object(pull_request, "base"));
  ATLAS_TRYV(read_commit(from, "sha", push.after));
  ATLAS_TRYV(read_text(from, "ref", *head.mutable_branch()));
  std::string base_name;
  ATLAS_TRY(const auto from_id, repository_of(from, *head.mutable_repository()));
  ATLAS_TRY(const auto to_id, repository_of(to, base_name));
  head.set_from_fork(from_id == 0 || from_id != to_id);
  return {};
}

Result<void> read_state(const Members& pull_request, PullRequestNews& news) {
  ATLAS_TRY(const auto number, pull_request.integer("number"));
  if (number.value_or(0) < 1 || *number > k_pull_request_max) {
    return fail(ErrorCode::invalid_argument, "'pull_request.number' is no pull request's number.");
  }
  news.head.set_number(*number);
  ATLAS_TRY(const auto state, pull_request.required_string("state"));
  if (state != "open" && state != "closed") {
    return fail(ErrorCode::invalid_argument, "'pull_request.state' must be open or closed.");
  }
  news.is_open = state == "open";
  ATLAS_TRY(const auto merged, pull_request.boolean("merged"));
  news.merged = merged.value_or(false);
  ATLAS_TRY(const auto updated_at, pull_request.required_string("updated_at"));
  const auto at = parse_rfc3339_us(updated_at);
  if (!at || *at <= 0) {
    return fail(ErrorCode::invalid_argument,
                "'pull_request.updated_at' must be a time such as 2026-11-24T06:00:00Z.");
  }
  news.head.set_updated_at_s(*at / k_second_us);
  return {};
}

// What the head was before, when the delivery is about this head.
Result<void> read_before(const Members& members, Push& push) {
  ATLAS_TRY(const auto after, members.string("after"));
  ATLAS_TRY(const auto before, members.string("before"));
  if (before && after == push.after && is_commit_sha(*before)) push.before = *before;
  return {};
}

}  // namespace

Result<void> read_text(const Members& members, const char* name, std::string& into) {
  ATLAS_TRY(auto text, members.string(name));
  into = text.value_or("");
  return check_text(members.path_of(name), into);
}

Result<void> read_commit(const Members& members, const char* name, std::string& into) {
  ATLAS_TRY(auto text, members.required_string(name));
  if (!is_commit_sha(text)) {
    return fail(ErrorCode::invalid_argument,
                "'" + members.path_of(name) + "' must be 40 hex digits in lower case.");
  }
  into = std::move(text);
  return {};
}

Result<Members> required_object(const Members& members, const char* name) {
  ATLAS_TRY(const auto json, members.object(name));
  if (json == nullptr) {
    return fail(ErrorCode::invalid_argument, "'" + members.path_of(name) + "' is missing.");
  }
  return Members(*json, members.path_of(name));
}

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
  ATLAS_TRYV(read_text(members, "ref", push.ref));
  if (push.ref.empty()) return fail(ErrorCode::invalid_argument, "'ref' is missing.");
  ATLAS_TRYV(read_commit(members, "before", push.before));
  ATLAS_TRYV(read_commit(members, "after", push.after));
  ATLAS_TRY(const auto deleted, members.boolean("deleted"));
  push.deleted = deleted.value_or(false) || push.after == k_no_commit;
  ATLAS_TRY(const auto forced, members.boolean("forced"));
  push.forced = forced.value_or(false);
  ATLAS_TRY(const auto repository, members.object("repository"));
  if (repository == nullptr) {
    return fail(ErrorCode::invalid_argument, "'repository' is missing.");
  }
  ATLAS_TRYV(read_repository(*repository, push));
  ATLAS_TRYV(read_pusher(members, push));
  return push;
}

Result<std::optional<Push>> parsed_pull_request(const ParsedJson& payload) {
  const Members members(payload);
  ATLAS_TRY(const auto action, members.required_string("action"));
  constexpr std::array<std::string_view, 4> k_actions = {"opened", "reopened", "synchronize",
                                                         "closed"};
  if (std::ranges::find(k_actions, action) == k_actions.end()) return std::optional<Push>();
  ATLAS_TRY(const auto pull_request, required_object(members, "pull_request"));
  Push push;
  push.pull_request = PullRequestNews{.is_first = action == "opened"};
  ATLAS_TRYV(read_state(pull_request, *push.pull_request));
  ATLAS_TRYV(read_sides(pull_request, push));
  ATLAS_TRYV(read_before(members, push));
  push.ref = "refs/pull/" + std::to_string(push.pull_request->head.number()) + "/head";
  ATLAS_TRY(const auto repository, members.object("repository"));
  if (repository == nullptr) {
    return fail(ErrorCode::invalid_argument, "'repository' is missing.");
  }
  ATLAS_TRYV(read_repository(*repository, push));
  push.pushed_at_s = 0;  // of the repository, which the pull request has nothing to do with
  ATLAS_TRYV(read_pusher(members, push));
  return std::optional(std::move(push));
}

}  // namespace atlasflow::api
