#include "api/push_payload.hpp"

#include <algorithm>
#include <array>

#include "api/url.hpp"
#include "edge/http_message.hpp"
#include "events/settings.hpp"

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

Result<void> read_repository(const ParsedJson& json, actors::Push& push) {
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
  return read_text(members, "default_branch", push.default_branch);
}

// `pusher` is whoever pushed by git; pushes made by apps have only a sender.
Result<void> read_pusher(const Members& payload, actors::Push& push) {
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
  if (!edge::equal_ignoring_case(media_type, "application/x-www-form-urlencoded")) {
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

Result<actors::Push> parsed_push(const ParsedJson& payload) {
  const Members members(payload);
  actors::Push push;
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
