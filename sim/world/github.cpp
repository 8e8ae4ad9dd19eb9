#include "sim/world/github.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "api/json.hpp"
#include "api/push_payload.hpp"
#include "api/signature.hpp"

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
  for (const auto& project : projects) repositories_.push_back({project, {}, std::nullopt});
}

std::string GitHub::secret_of(int installation) const {
  return fmt::format("{}installation-{}", secret_mark(), installation);
}

Delivery GitHub::tell(int project, const std::string& ref, const std::string& before,
                      const std::string& after, bool forced, TimestampUs now) {
  Delivery delivery;
  ++pushes_;
  delivery.id = era_ == 0 ? fmt::format("delivery-{}", pushes_)
                          : fmt::format("delivery-{}-{}", era_, pushes_);
  delivery.body = nlohmann::json{{"ref", ref},
                                 {"before", before},
                                 {"after", after},
                                 {"deleted", after == k_no_commit},
                                 {"forced", forced},
                                 {"repository",
                                  {{"clone_url", clone_url(project)},
                                   {"default_branch", main_branch(project)},
                                   {"pushed_at", now / 1'000'000}}},
                                 {"pusher", {{"name", "ada"}}}}
                      .dump();
  delivery.signature =
      "sha256=" + hex_of(api::hmac_sha256(secret_of(project % installations_), delivery.body));
  sent_[delivery.id] = {pushes_, now / 1'000'000, before, after};
  at(project).newest = delivery;
  return delivery;
}

Delivery GitHub::push(int project, const std::string& branch, AppKind app, bool forced,
                      TimestampUs now) {
  const auto sha = fmt::format("{:016x}{:024x}", era_, commits_.size() + 0xabc000000);
  commits_[sha] = Commit{app, ""};
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
  auto push = api::parsed_push(json);
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
