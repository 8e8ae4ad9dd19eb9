#include "api/git_payload.hpp"

#include <utility>

#include "api/push_payload.hpp"
#include "base/rfc3339.hpp"
#include "events/settings.hpp"

namespace atlasflow::api {
namespace {

constexpr std::string_view k_heads = "refs/heads/";
constexpr std::size_t k_named_bytes_max = 128;  // of an event, in an answer

GitDelivery ignored(std::string reason) { return {.pushes = {}, .ignored = std::move(reason)}; }

// Nobody pushed when nothing changed: so the test button of a host's page tells of it.
GitDelivery told(Push push) {
  if (!push.after.empty() && push.before == push.after) {
    return ignored("nothing was pushed: 'before' and 'after' are the same commit");
  }
  push.deleted = push.after == k_no_commit;
  GitDelivery delivery;
  delivery.pushes.push_back(std::move(push));
  return delivery;
}

GitDelivery of_another_event(std::string_view event) {
  return ignored("nothing follows here from the event '" +
                 std::string(event.substr(0, k_named_bytes_max)) + "'; send push events only");
}

// The first of the members that is there and not empty.
Result<void> read_first(const Members& members, std::initializer_list<const char*> names,
                        std::string& into) {
  for (const char* name : names) {
    ATLAS_TRYV(read_text(members, name, into));
    if (!into.empty()) return {};
  }
  return {};
}

Result<Push> read_move(const Members& payload) {
  Push push;
  ATLAS_TRYV(read_text(payload, "ref", push.ref));
  if (push.ref.empty()) return fail(ErrorCode::invalid_argument, "'ref' is missing.");
  ATLAS_TRYV(read_commit(payload, "before", push.before));
  ATLAS_TRYV(read_commit(payload, "after", push.after));
  return push;
}

// ---- our own: {"ref"?, "sha"?, "before"?} ----

Result<void> read_optional_commit(const Members& members, const char* name, std::string& into) {
  ATLAS_TRY(const auto text, members.string(name));
  return text ? read_commit(members, name, into) : Result<void>{};
}

Result<GitDelivery> parsed_generic(const ParsedJson& json) {
  const Members payload(json);
  Push push;
  ATLAS_TRYV(read_text(payload, "ref", push.ref));
  ATLAS_TRYV(read_optional_commit(payload, "sha", push.after));
  ATLAS_TRYV(read_optional_commit(payload, "before", push.before));
  if (!push.ref.empty() && !push.ref.starts_with("refs/")) {
    return fail(ErrorCode::invalid_argument,
                "'ref' must be a full name, such as refs/heads/main, and not only the branch's.");
  }
  if (push.after.empty() && !push.before.empty()) {
    return fail(ErrorCode::invalid_argument,
                "'before' is what 'sha' replaced, and there is no 'sha'.");
  }
  if (push.after.empty() && !push.ref.empty() && !push.ref.starts_with(k_heads)) {
    return ignored("'" + push.ref + "' is no branch");
  }
  push.only_news = push.before.empty();
  return told(std::move(push));
}

// ---- GitLab ----

Result<GitDelivery> parsed_gitlab(std::string_view event, const ParsedJson& json) {
  if (event != "Push Hook" && event != "Tag Push Hook") return of_another_event(event);
  const Members payload(json);
  ATLAS_TRY(auto push, read_move(payload));
  ATLAS_TRY(const auto* project, payload.object("project"));
  if (project != nullptr) {
    ATLAS_TRYV(read_text(Members(*project, "project"), "default_branch", push.default_branch));
  }
  ATLAS_TRYV(read_first(payload, {"user_username", "user_name"}, push.pusher));
  return told(std::move(push));
}

// ---- Gitea, Forgejo and Gogs ----

// The deletion of a branch is no push there: {"ref": "old", "ref_type": "branch"}.
Result<Push> read_deletion(const Members& payload) {
  Push push;
  ATLAS_TRYV(read_text(payload, "ref", push.ref));
  ATLAS_TRY(const auto type, payload.required_string("ref_type"));
  if (push.ref.empty()) return fail(ErrorCode::invalid_argument, "'ref' is missing.");
  if (!push.ref.starts_with("refs/")) {
    push.ref.insert(0, type == "tag" ? std::string_view("refs/tags/") : k_heads);
  }
  push.after = k_no_commit;
  return push;
}

Result<GitDelivery> parsed_gitea(std::string_view event, const ParsedJson& json) {
  if (event != "push" && event != "delete") return of_another_event(event);
  const Members payload(json);
  ATLAS_TRY(auto push, event == "push" ? read_move(payload) : read_deletion(payload));
  ATLAS_TRY(const auto* repository, payload.object("repository"));
  if (repository != nullptr) {
    ATLAS_TRYV(
        read_text(Members(*repository, "repository"), "default_branch", push.default_branch));
  }
  for (const char* name : {"pusher", "sender"}) {
    ATLAS_TRY(const auto* user, payload.object(name));
    if (user == nullptr || !push.pusher.empty()) continue;
    ATLAS_TRYV(read_first(Members(*user, name), {"login", "username"}, push.pusher));
  }
  return told(std::move(push));
}

// ---- Bitbucket ----

// One side of a change in Bitbucket Cloud; null: the branch was not there.
Result<void> read_side(const Members& change, const char* name, Push& push, std::string& commit) {
  commit = k_no_commit;
  ATLAS_TRY(const auto* json, change.object(name));
  if (json == nullptr) return {};
  const Members side(*json, change.path_of(name));
  ATLAS_TRY(const auto type, side.required_string("type"));
  std::string ref;
  ATLAS_TRYV(read_text(side, "name", ref));
  if (ref.empty()) {
    return fail(ErrorCode::invalid_argument, "'" + side.path_of("name") + "' is missing.");
  }
  push.ref = (type == "tag" ? "refs/tags/" : std::string(k_heads)) + ref;
  ATLAS_TRY(const auto target, required_object(side, "target"));
  return read_commit(target, "hash", commit);
}

Result<Push> read_cloud_change(const Members& change) {
  Push push;
  ATLAS_TRYV(read_side(change, "old", push, push.before));
  ATLAS_TRYV(read_side(change, "new", push, push.after));
  if (push.ref.empty()) {
    return fail(ErrorCode::invalid_argument, "one of '" + change.path_of("old") + "' and '" +
                                                 change.path_of("new") + "' must be there.");
  }
  ATLAS_TRY(const auto forced, change.boolean("forced"));
  push.forced = forced.value_or(false);
  return push;
}

Result<Push> read_server_change(const Members& change) {
  Push push;
  ATLAS_TRY(const auto ref, required_object(change, "ref"));
  ATLAS_TRYV(read_text(ref, "id", push.ref));
  if (push.ref.empty()) {
    return fail(ErrorCode::invalid_argument, "'" + ref.path_of("id") + "' is missing.");
  }
  ATLAS_TRYV(read_commit(change, "fromHash", push.before));
  ATLAS_TRYV(read_commit(change, "toHash", push.after));
  return push;
}

Result<std::string> read_actor(const Members& payload) {
  std::string name;
  ATLAS_TRY(const auto* actor, payload.object("actor"));
  if (actor == nullptr) return name;
  ATLAS_TRYV(read_first(Members(*actor, "actor"), {"nickname", "name", "display_name"}, name));
  return name;
}

Result<GitDelivery> parsed_bitbucket(std::string_view event, const ParsedJson& json) {
  const bool is_cloud = event == "repo:push";
  if (!is_cloud && event != "repo:refs_changed") return of_another_event(event);
  const Members payload(json);
  const ParsedJson* holder = &json;
  if (is_cloud) {
    ATLAS_TRY(holder, payload.object("push"));
  }
  const std::string path = is_cloud ? "push.changes" : "changes";
  const auto* changes =
      holder != nullptr && holder->contains("changes") ? &(*holder)["changes"] : nullptr;
  if (changes == nullptr || !changes->is_array()) {
    return fail(ErrorCode::invalid_argument, "'" + path + "' must be a list.");
  }
  if (changes->size() > k_pushes_max) {
    return fail(ErrorCode::invalid_argument,
                "More than 100 branches were pushed at once; push the one to deploy by itself.");
  }
  ATLAS_TRY(const auto actor, read_actor(payload));
  std::int64_t pushed_at_s = 0;
  if (!is_cloud) {
    ATLAS_TRY(const auto date, payload.string("date"));
    const auto at = parse_rfc3339_us(date.value_or(""));
    pushed_at_s = at && *at > 0 ? *at / k_second_us : 0;
  }
  GitDelivery delivery;
  for (std::size_t i = 0; i < changes->size(); ++i) {
    const auto& item = (*changes)[i];
    const auto place = path + "[" + std::to_string(i) + "]";
    if (!item.is_object()) {
      return fail(ErrorCode::invalid_argument, "'" + place + "' must be an object.");
    }
    const Members change(item, place);
    ATLAS_TRY(auto push, is_cloud ? read_cloud_change(change) : read_server_change(change));
    push.pusher = actor;
    push.pushed_at_s = pushed_at_s;
    auto one = told(std::move(push));
    if (one.pushes.empty()) {
      delivery.ignored = std::move(one.ignored);
    } else {
      delivery.pushes.push_back(std::move(one.pushes.front()));
    }
  }
  if (delivery.pushes.empty() && delivery.ignored.empty()) {
    delivery.ignored = "'" + path + "' names no branch";
  }
  return delivery;
}

}  // namespace

Result<GitDelivery> parsed_delivery(GitHost host, std::string_view event,
                                    const ParsedJson& payload) {
  switch (host) {
    case GitHost::gitlab:
      return parsed_gitlab(event, payload);
    case GitHost::gitea:
      return parsed_gitea(event, payload);
    case GitHost::bitbucket:
      return parsed_bitbucket(event, payload);
    case GitHost::generic:
      break;
  }
  return parsed_generic(payload);
}

}  // namespace atlasflow::api
