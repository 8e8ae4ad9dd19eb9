#include "sim/world/github.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "api/push_payload.hpp"
#include "api/signature.hpp"
#include "base/rfc3339.hpp"

namespace atlasflow::sim {
namespace {

constexpr std::string_view k_no_commit = "0000000000000000000000000000000000000000";
constexpr std::string_view k_owner = "https://git.example.test/acme/";

std::string hex_of(const api::Sha256& digest) {
  std::string hex;
  for (const auto byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

}  // namespace

std::vector<Hosted> made_up_projects(int count) {
  std::vector<Hosted> projects;
  for (int i = 0; i < count; ++i) {
    const auto name = fmt::format("app-{}", i);
    projects.push_back({name, fmt::format("{}{}.git", k_owner, name), "main"});
  }
  return projects;
}

GitHub::GitHub(const std::vector<Hosted>& projects, int installations, std::uint64_t era)
    : installations_(installations), era_(era) {
  for (const auto& project : projects) repositories_.push_back({project, {}, {}, std::nullopt});
}

std::string GitHub::secret_of(int installation) const {
  return fmt::format("{}installation-{}", secret_mark(), installation);
}

Delivery GitHub::tell(int project, const std::string& ref, const std::string& before,
                      const std::string& after, bool forced, TimestampUs now) {
  const auto body = nlohmann::json{{"ref", ref},
                                   {"before", before},
                                   {"after", after},
                                   {"deleted", after == k_no_commit},
                                   {"forced", forced},
                                   {"repository",
                                    {{"clone_url", clone_url(project)},
                                     {"default_branch", main_branch(project)},
                                     {"pushed_at", now / 1'000'000}}},
                                   {"pusher", {{"name", "ada"}}}};
  auto delivery = signed_delivery(project, "push", body.dump());
  sent_[delivery.id] = {pushes_, now / 1'000'000, before, after};
  return delivery;
}

Delivery GitHub::signed_delivery(int project, const char* event, const std::string& body) {
  Delivery delivery;
  ++pushes_;
  delivery.id = era_ == 0 ? fmt::format("delivery-{}", pushes_)
                          : fmt::format("delivery-{}-{}", era_, pushes_);
  delivery.event = event;
  delivery.body = body;
  delivery.signature =
      "sha256=" + hex_of(api::hmac_sha256(secret_of(project % installations_), delivery.body));
  at(project).newest = delivery;
  return delivery;
}

std::string GitHub::make_commit(AppKind app) {
  auto sha = fmt::format("{:016x}{:024x}", era_, commits_.size() + 0xabc000000);
  commits_[sha] = Commit{app, ""};
  return sha;
}

Delivery GitHub::tell_of_pull_request(int project, std::int64_t number, const char* action,
                                      const std::string& before, TimestampUs now) {
  const auto& pull_request = at(project).pull_requests.at(number);
  constexpr std::int64_t k_own_id = 100;
  const nlohmann::json base{{"id", k_own_id}, {"full_name", "acme/" + project_name(project)}};
  auto head = base;
  if (is_fork(number)) head = {{"id", k_own_id + number}, {"full_name", fork_name()}};
  nlohmann::json body{
      {"action", action},
      {"number", number},
      {"pull_request",
       {{"number", number},
        {"state", pull_request.open ? "open" : "closed"},
        {"merged", false},
        {"updated_at", rfc3339(now / 1'000'000 * 1'000'000)},
        {"head",
         {{"ref", fmt::format("topic-{}", number)}, {"sha", pull_request.head}, {"repo", head}}},
        {"base", {{"ref", main_branch(project)}, {"repo", base}}},
        {"user", {{"login", "ada"}}}}},
      {"repository", {{"clone_url", clone_url(project)}, {"default_branch", main_branch(project)}}},
      {"sender", {{"login", "ada"}}}};
  if (!before.empty()) {
    body["before"] = before;
    body["after"] = pull_request.head;
  }
  return signed_delivery(project, "pull_request", body.dump());
}

Delivery GitHub::change_pull_request(int project, std::int64_t number, AppKind app,
                                     TimestampUs now) {
  auto& pull_request = at(project).pull_requests[number];
  const auto before = pull_request.head;
  const bool is_new = before.empty();
  const bool was_open = std::exchange(pull_request.open, true);
  if (is_new || was_open) pull_request.head = make_commit(app);
  const auto* action = is_new ? "opened" : was_open ? "synchronize" : "reopened";
  return tell_of_pull_request(project, number, action, was_open ? before : "", now);
}

std::optional<Delivery> GitHub::close_pull_request(int project, std::int64_t number,
                                                   TimestampUs now) {
  auto& pull_requests = at(project).pull_requests;
  const auto found = pull_requests.find(number);
  if (found == pull_requests.end() || !found->second.open) return std::nullopt;
  found->second.open = false;
  return tell_of_pull_request(project, number, "closed", "", now);
}

Delivery GitHub::push(int project, const std::string& branch, AppKind app, bool forced,
                      TimestampUs now) {
  const auto sha = make_commit(app);
  auto& head = at(project).heads[branch];
  const auto before = head.empty() ? std::string(k_no_commit) : head;
  head = sha;
  auto told = tell(project, "refs/heads/" + branch, before, sha, forced, now);
  commits_[sha].delivery = told.id;
  return told;
}

std::optional<Delivery> GitHub::delete_branch(int project, const std::string& branch,
                                              TimestampUs now) {
  auto& heads = at(project).heads;
  const auto found = heads.find(branch);
  if (found == heads.end()) return std::nullopt;
  const auto before = found->second;
  heads.erase(found);
  return tell(project, "refs/heads/" + branch, before, std::string(k_no_commit), false, now);
}

std::optional<Delivery> GitHub::newest_delivery(int project) const { return at(project).newest; }

std::optional<std::string> GitHub::head(int project, const std::string& branch) const {
  const auto& heads = at(project).heads;
  const auto found = heads.find(branch);
  if (found == heads.end()) return std::nullopt;
  return found->second;
}

AppKind GitHub::app_of(const std::string& sha) const {
  const auto found = commits_.find(sha);
  return found == commits_.end() ? AppKind::good : found->second.app;
}

std::string GitHub::delivery_of(const std::string& sha) const {
  const auto found = commits_.find(sha);
  return found == commits_.end() ? "" : found->second.delivery;
}

Result<Push> GitHub::received(const Delivery& delivery) const {
  const auto signature = api::parsed_signature(delivery.signature);
  if (!signature) return fail(ErrorCode::unauthorized, "the signature is none");
  std::vector<std::string> signed_for;
  for (int installation = 0; installation < installations_; ++installation) {
    const auto digest = api::hmac_sha256(secret_of(installation), delivery.body);
    if (!api::equal_in_constant_time(digest, *signature)) continue;
    for (int project = installation; project < projects(); project += installations_) {
      signed_for.push_back(project_name(project));
    }
  }
  if (signed_for.empty()) return fail(ErrorCode::unauthorized, "the signature fits no secret");
  ATLAS_TRY(const auto json, api::parsed_object(delivery.body, "The delivery"));
  Result<Push> push = Push{};
  if (delivery.event == "push") {
    push = api::parsed_push(json);
  } else {
    ATLAS_TRY(auto of_pull_request, api::parsed_pull_request(json));
    push = std::move(of_pull_request.value());
  }
  if (!push) return push;
  push->delivery_id = delivery.id;
  push->signed_for = std::move(signed_for);
  return push;
}

bool GitHub::provably_older(const std::string& older, const std::string& newer) const {
  const auto first = sent_.find(older);
  const auto second = sent_.find(newer);
  if (first == sent_.end() || second == sent_.end()) return false;
  if (first->second.order >= second->second.order) return false;
  return first->second.second < second->second.second || first->second.before == k_no_commit ||
         first->second.after == second->second.before;
}

}  // namespace atlasflow::sim
