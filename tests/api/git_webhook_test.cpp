#include "api/git_webhook.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/digest.hpp"
#include "tests/api/webhook_fixture.hpp"

namespace atlasflow::api {
namespace {

using actors::PushReceipt;
using nlohmann::json;
using testing::Answer;
using ::testing::HasSubstr;
using testing::hex;
using ::testing::IsEmpty;
using testing::k_after;
using testing::k_before;
using testing::k_secret;
using testing::request_text;

using Fields = std::vector<std::string>;

constexpr const char* k_own = "the-secret-of-shop";
constexpr const char* k_earlier = "1111111111111111111111111111111111111111";

// A host's words for one push of main from k_earlier to k_after; the proof is still to be added.
struct HostSample {
  const char* name;
  Fields fields;
  const char* proof;
  const char* prefix;  // of the hex digits; null: the secret itself
  json body;
};

json cloud_change(json before, json after) {
  const auto side = [](const json& hash) {
    return hash.is_null()
               ? json()
               : json{{"type", "branch"}, {"name", "main"}, {"target", {{"hash", hash}}}};
  };
  return {{"old", side(before)}, {"new", side(after)}, {"forced", false}, {"created", false}};
}

std::vector<HostSample> samples() {
  const json gitea = {{"ref", "refs/heads/main"},
                      {"before", k_earlier},
                      {"after", k_after},
                      {"repository", {{"default_branch", "main"}, {"full_name", "acme/shop"}}},
                      {"pusher", {{"login", "ada"}, {"username", "ada"}}}};
  // Forgejo sends the fields of Gitea, Gogs and GitHub beside its own.
  const Fields like_github = {"X-GitHub-Event: push", "X-Hub-Signature: sha1=00",
                              "X-Hub-Signature-256: sha256=00"};
  const auto with = [](Fields fields, const Fields& more) {
    fields.insert(fields.end(), more.begin(), more.end());
    return fields;
  };
  return {
      {"gitlab",
       {"X-Gitlab-Event: Push Hook", "Idempotency-Key: 908a6d9e-45fd"},
       "X-Gitlab-Token",
       nullptr,
       {{"object_kind", "push"},
        {"ref", "refs/heads/main"},
        {"before", k_earlier},
        {"after", k_after},
        {"checkout_sha", k_after},
        {"user_username", "ada"},
        {"project", {{"default_branch", "main"}, {"web_url", "https://git.example/acme/shop"}}}}},
      {"gitea",
       with({"X-Gitea-Event: push", "X-Gogs-Event: push", "X-Gogs-Signature: 00"}, like_github),
       "X-Gitea-Signature", "", gitea},
      {"forgejo", with({"X-Forgejo-Event: push", "X-Gitea-Event: push"}, like_github),
       "X-Forgejo-Signature", "", gitea},
      {"gogs", {"X-Gogs-Event: push"}, "X-Gogs-Signature", "", gitea},
      {"bitbucket",
       {"X-Event-Key: repo:push", "X-Hook-UUID: 1", "X-Request-UUID: 2"},
       "X-Hub-Signature",
       "sha256=",
       {{"actor", {{"nickname", "ada"}}},
        {"push", {{"changes", json::array({cloud_change(k_earlier, k_after)})}}}}},
      {"bitbucket data center",
       {"X-Event-Key: repo:refs_changed", "X-Request-Id: 2"},
       "X-Hub-Signature",
       "sha256=",
       {{"actor", {{"name", "ada"}}},
        {"date", "2026-11-24T16:00:00+1000"},
        {"changes", json::array({{{"ref", {{"id", "refs/heads/main"}, {"displayId", "main"}}},
                                  {"fromHash", k_earlier},
                                  {"toHash", k_after},
                                  {"type", "UPDATE"}}})}}},
  };
}

std::string proof_of(const HostSample& sample, const std::string& secret, const std::string& text) {
  return std::string(sample.proof) + ": " +
         (sample.prefix == nullptr ? secret : sample.prefix + hex(hmac_sha256(secret, text)));
}

class GitWebhook : public testing::Webhook {
 protected:
  GitWebhook() {
    control_.add_project("shop", k_own);
    control_.add_project("open");  // signed for by the server's secret
    control_.receipts = std::vector<PushReceipt>{deployed()};
  }

  Answer post(const std::string& project, const Fields& fields, const std::string& body) {
    auto answer =
        connect_webhook().ask(request_text("POST", "/webhooks/git/" + project, fields, body));
    EXPECT_TRUE(answer.has_value());
    return answer.value_or(Answer{});
  }
  // As a host does.
  Answer send(const HostSample& sample, const std::string& project = "shop",
              const std::string& secret = k_own) {
    auto fields = sample.fields;
    const auto body = sample.body.dump();
    fields.push_back(proof_of(sample, secret, body));
    fields.emplace_back("Content-Type: application/json");
    return post(project, fields, body);
  }
  // As the curl line in docs/api.md does.
  Answer tell(const std::string& body, const std::string& secret = k_own,
              const std::string& project = "shop") {
    return post(project, {"X-Atlasflow-Signature: sha256=" + hex(hmac_sha256(secret, body))}, body);
  }
  std::vector<Push> pushes() {
    std::vector<Push> found;
    for (const auto& command : control_.asked<commands::TakeProjectPush>()) {
      found.push_back(command.push);
    }
    return found;
  }
};

// ---- what hosts send ----

TEST_F(GitWebhook, a_push_of_each_host_is_received_with_all_it_says) {
  for (const auto& sample : samples()) {
    SCOPED_TRACE(sample.name);
    control_.forget_calls();
    const auto answer = send(sample);
    ASSERT_EQ(answer.status, 202) << answer.body;
    EXPECT_EQ(json::parse(answer.body)["receipts"][0]["deployment"], "abcdefg2");
    ASSERT_EQ(pushes().size(), 1U);
    const auto push = pushes()[0];
    EXPECT_EQ(control_.asked<commands::TakeProjectPush>()[0].project, "shop");
    EXPECT_EQ(control_.calls()[0].by, Principal::webhook("git"));
    EXPECT_EQ(push.ref, "refs/heads/main");
    EXPECT_EQ(push.before, k_earlier);
    EXPECT_EQ(push.after, k_after);
    EXPECT_EQ(push.pusher, "ada");
    EXPECT_FALSE(push.deleted);
    EXPECT_FALSE(push.only_news) << "what it replaced tells the order";
    const bool is_timed = sample.name == std::string("bitbucket data center");
    EXPECT_EQ(push.pushed_at_s, is_timed ? 1'795'500'000 : 0);
  }
}

TEST_F(GitWebhook, the_default_branch_is_read_where_a_host_tells_it) {
  for (const auto& sample : samples()) {
    control_.forget_calls();
    ASSERT_EQ(send(sample).status, 202);
    const bool tells = std::string(sample.name).find("bitbucket") == std::string::npos;
    EXPECT_EQ(pushes().at(0).default_branch, tells ? "main" : "") << sample.name;
  }
}

TEST_F(GitWebhook, deletions_and_tags_are_passed_on_for_the_record) {
  auto all = samples();
  auto& gitlab = all[0];
  gitlab.body["after"] = k_before;
  EXPECT_EQ(send(gitlab).status, 202);
  gitlab.fields[0] = "X-Gitlab-Event: Tag Push Hook";
  gitlab.body["after"] = k_after;
  gitlab.body["ref"] = "refs/tags/v1";
  EXPECT_EQ(send(gitlab).status, 202);
  auto& gitea = all[1];
  gitea.fields[0] = "X-Gitea-Event: delete";
  gitea.body = {{"ref", "topic/x"}, {"ref_type", "branch"}, {"sender", {{"login", "bob"}}}};
  EXPECT_EQ(send(gitea).status, 202);
  auto& cloud = all[4];
  cloud.body["push"]["changes"] = json::array({cloud_change(k_earlier, nullptr)});
  EXPECT_EQ(send(cloud).status, 202);
  ASSERT_EQ(pushes().size(), 4U);
  EXPECT_TRUE(pushes()[0].deleted);
  EXPECT_EQ(pushes()[1].ref, "refs/tags/v1");
  EXPECT_TRUE(pushes()[2].deleted);
  EXPECT_EQ(pushes()[2].ref, "refs/heads/topic/x");
  EXPECT_EQ(pushes()[2].pusher, "bob");
  EXPECT_TRUE(pushes()[3].deleted);
  EXPECT_EQ(pushes()[3].before, k_earlier);
}

TEST_F(GitWebhook, what_is_no_push_is_ignored_with_the_reason) {
  for (auto [index, field] :
       std::vector<std::pair<std::size_t, const char*>>{{0, "X-Gitlab-Event: Merge Request Hook"},
                                                        {1, "X-Gitea-Event: issues"},
                                                        {4, "X-Event-Key: repo:fork"}}) {
    auto sample = samples()[index];
    sample.fields[0] = field;
    const auto answer = send(sample);
    EXPECT_EQ(answer.status, 202) << field;
    EXPECT_THAT(answer.body, HasSubstr("send push events only")) << field;
  }
  // The button "Test delivery" of Gitea.
  auto tested = samples()[1];
  tested.body["before"] = k_after;
  const auto answer = send(tested);
  EXPECT_EQ(answer.status, 202);
  EXPECT_THAT(answer.body, HasSubstr("nothing was pushed"));
  EXPECT_THAT(pushes(), IsEmpty());
}

TEST_F(GitWebhook, several_branches_in_one_delivery_are_each_a_push_of_its_own) {
  auto sample = samples()[4];
  sample.body["push"]["changes"].push_back(cloud_change(k_before, k_earlier));
  EXPECT_EQ(send(sample).status, 202);
  ASSERT_EQ(pushes().size(), 2U);
  EXPECT_NE(pushes()[0].delivery_id, pushes()[1].delivery_id);
  EXPECT_EQ(pushes()[1].after, k_earlier);
  control_.forget_calls();
  for (int i = 0; i < 99; ++i) {
    sample.body["push"]["changes"].push_back(cloud_change(k_before, k_earlier));
  }
  const auto answer = send(sample);
  EXPECT_EQ(answer.status, 400);
  EXPECT_THAT(answer.body, HasSubstr("More than 100 branches"));
  EXPECT_THAT(pushes(), IsEmpty());
}

TEST_F(GitWebhook, a_form_of_gitea_is_signed_by_its_payload) {
  auto sample = samples()[1];
  const auto text = sample.body.dump();
  std::string body = "payload=";
  for (const char c : text) body += "%" + hex(Sha256{static_cast<std::uint8_t>(c)}).substr(0, 2);
  auto fields = sample.fields;
  fields.emplace_back("Content-Type: application/x-www-form-urlencoded");
  auto signed_fields = fields;
  signed_fields.push_back(proof_of(sample, k_own, text));
  EXPECT_EQ(post("shop", signed_fields, body).status, 202);
  ASSERT_EQ(pushes().size(), 1U);
  EXPECT_EQ(pushes()[0].after, k_after);
  fields.push_back(proof_of(sample, k_own, "another"));
  EXPECT_EQ(post("shop", fields, body).status, 401);
  EXPECT_EQ(post("shop", fields, "payload=%zz").status, 401) << "unsigned, so nothing is told";
}

TEST_F(GitWebhook, members_that_are_wrong_are_named) {
  struct Case {
    std::size_t sample;
    const char* pointer;
    json value;
    const char* sentence;
  };
  for (const auto& [index, pointer, value, sentence] : std::vector<Case>{
           {0, "/after", "abc", "'after' must be 40 hex digits"},
           {0, "/ref", 7, "'ref'"},
           {0, "/ref", "", "'ref' is missing"},
           {0, "/ref", "refs/heads/a\nb", "control character"},
           {0, "/project", "x", "'project'"},
           {1, "/before", nullptr, "'before'"},
           {1, "/pusher", 3, "'pusher'"},
           {4, "/push", nullptr, "'push.changes' must be a list"},
           {4, "/push/changes", "x", "'push.changes' must be a list"},
           {4, "/push/changes/0", 1, "'push.changes[0]' must be an object"},
           {4, "/push/changes/0", json::object(), "must be there"},
           {4, "/push/changes/0/new/target", nullptr, "'push.changes[0].new.target' is missing"},
           {4, "/push/changes/0/new/target/hash", "x", "'push.changes[0].new.target.hash'"},
           {4, "/push/changes/0/new/name", "", "'push.changes[0].new.name' is missing"},
           {5, "/changes/0/ref", nullptr, "'changes[0].ref' is missing"},
           {5, "/changes/0/toHash", 1, "'changes[0].toHash'"}}) {
    auto sample = samples()[index];
    sample.body[json::json_pointer(pointer)] = value;
    const auto answer = send(sample);
    EXPECT_EQ(answer.status, 400) << pointer << answer.body;
    EXPECT_THAT(answer.body, HasSubstr(sentence)) << pointer;
  }
  EXPECT_EQ(tell("not JSON").status, 400);
  EXPECT_EQ(tell("[]").status, 400);
  EXPECT_THAT(pushes(), IsEmpty());
}

// ---- our own body ----

TEST_F(GitWebhook, a_commit_can_be_told_with_what_it_replaced_or_without) {
  const json full = {{"ref", "refs/heads/main"}, {"sha", k_after}, {"before", k_earlier}};
  EXPECT_EQ(tell(full.dump()).status, 202);
  EXPECT_EQ(tell(json{{"ref", "refs/heads/main"}, {"sha", k_after}}.dump()).status, 202);
  ASSERT_EQ(pushes().size(), 2U);
  EXPECT_EQ(pushes()[0].before, k_earlier);
  EXPECT_FALSE(pushes()[0].only_news);
  EXPECT_EQ(pushes()[1].after, k_after);
  EXPECT_TRUE(pushes()[1].only_news);
}

TEST_F(GitWebhook, without_a_commit_the_branch_is_looked_at) {
  for (const char* body : {"{}", R"({"ref":"refs/heads/topic"})"}) {
    control_.forget_calls();
    EXPECT_EQ(tell(body).status, 202) << body;
    ASSERT_EQ(pushes().size(), 1U) << body;
    EXPECT_EQ(pushes()[0].after, "") << body;
  }
  EXPECT_EQ(pushes()[0].ref, "refs/heads/topic");
  control_.forget_calls();
  EXPECT_THAT(tell(R"({"ref":"refs/tags/v1"})").body, HasSubstr("is no branch"));
  EXPECT_EQ(tell(R"({"ref":"main"})").status, 400);
  EXPECT_EQ(tell(json{{"before", k_after}}.dump()).status, 400);
  EXPECT_EQ(tell(R"({"sha":"abc"})").status, 400);
  EXPECT_THAT(pushes(), IsEmpty());
}

TEST_F(GitWebhook, the_line_in_the_documentation_signs_as_it_is_read) {
  // printf %s "$body" | openssl dgst -sha256 -hmac the-secret-of-shop -r
  const auto answer = post("shop",
                           {"X-Atlasflow-Signature: sha256="
                            "c5282201000e7e0843c1fad233b980ba7ada3581bf358b833d3cfba1c0277610",
                            "Content-Type: application/x-www-form-urlencoded"},
                           R"({"ref":"refs/heads/main"})");
  EXPECT_EQ(answer.status, 202) << answer.body;
  ASSERT_EQ(pushes().size(), 1U);
}

// ---- who may send ----

TEST_F(GitWebhook, a_project_that_is_not_there_looks_like_a_wrong_secret) {
  for (const auto& sample : samples()) {
    SCOPED_TRACE(sample.name);
    const auto wrong = send(sample, "shop", "another secret");
    const auto absent = send(sample, "nowhere", k_own);
    EXPECT_EQ(wrong.status, 401);
    EXPECT_EQ(absent.status, 401);
    EXPECT_EQ(wrong.body, absent.body);
    EXPECT_EQ(send(sample, "nowhere", "no secret").status, 401) << "what is compared in its place";
    auto unsigned_fields = sample.fields;
    EXPECT_EQ(post("shop", unsigned_fields, sample.body.dump()).body, absent.body);
    unsigned_fields.push_back(std::string(sample.proof) + ": ");
    EXPECT_EQ(post("shop", unsigned_fields, sample.body.dump()).body, absent.body);
    unsigned_fields.back() = proof_of(sample, k_own, sample.body.dump());
    unsigned_fields.push_back(unsigned_fields.back());
    EXPECT_EQ(post("shop", unsigned_fields, sample.body.dump()).status, 401) << "two proofs";
  }
  EXPECT_EQ(tell("{}", "another secret").status, 401);
  EXPECT_EQ(post("shop", {}, "{}").status, 401);
  EXPECT_THAT(pushes(), IsEmpty());
}

TEST_F(GitWebhook, a_secret_speaks_for_its_own_project_and_the_servers_for_those_without_one) {
  control_.add_project("other", "the-secret-of-other");
  EXPECT_EQ(tell("{}", k_own, "other").status, 401);
  EXPECT_EQ(tell("{}", k_secret, "other").status, 401);
  EXPECT_EQ(tell("{}", "the-secret-of-other", "other").status, 202);
  EXPECT_EQ(tell("{}", k_secret, "open").status, 202);
  EXPECT_EQ(tell("{}", k_own, "open").status, 401);
}

TEST_F(GitWebhook, without_any_secret_nobody_can_sign) {
  config_.webhook_secret = "";
  EXPECT_EQ(tell("{}", "", "open").status, 401);
  auto gitlab = samples()[0];
  EXPECT_EQ(send(gitlab, "open", "").status, 401);
  EXPECT_EQ(send(gitlab, "open", "no secret").status, 401);
  EXPECT_THAT(pushes(), IsEmpty());
}

TEST_F(GitWebhook, a_proof_of_another_kind_is_none) {
  // SHA-1, as Gitea sends it beside its own; a bare secret where a signature is wanted.
  const std::string body = "{}";
  EXPECT_EQ(post("shop", {"X-Event-Key: repo:push", "X-Hub-Signature: sha1=00"}, body).status, 401);
  EXPECT_EQ(post("shop", {std::string("X-Atlasflow-Signature: ") + k_own}, body).status, 401);
  EXPECT_EQ(
      post("shop",
           {"X-GitHub-Event: push", "X-Hub-Signature-256: sha256=" + hex(hmac_sha256(k_own, body))},
           body)
          .status,
      401);
}

// ---- what comes again ----

TEST_F(GitWebhook, a_signed_body_is_one_delivery_whatever_id_a_header_gives_it) {
  auto sample = samples()[1];
  sample.fields.emplace_back("X-Gitea-Delivery: 1");
  send(sample);
  sample.fields.back() = "X-Gitea-Delivery: 2";
  send(sample);
  ASSERT_EQ(pushes().size(), 2U);
  EXPECT_EQ(pushes()[0].delivery_id, "sha256:" + sha256_hex(sample.body.dump()));
  EXPECT_EQ(pushes()[1].delivery_id, pushes()[0].delivery_id);
}

TEST_F(GitWebhook, gitlabs_bodies_may_repeat_so_its_id_counts) {
  auto sample = samples()[0];
  send(sample);
  sample.fields[1] = "X-Gitlab-Event-UUID: another";
  send(sample);
  sample.fields.pop_back();
  send(sample);
  ASSERT_EQ(pushes().size(), 3U);
  EXPECT_EQ(pushes()[0].delivery_id, "908a6d9e-45fd");
  EXPECT_EQ(pushes()[1].delivery_id, "another");
  EXPECT_EQ(pushes()[2].delivery_id, "sha256:" + sha256_hex(sample.body.dump()));
  sample.fields.emplace_back("Idempotency-Key: " + std::string(200, 'x'));
  EXPECT_EQ(send(sample).status, 400);
}

TEST_F(GitWebhook, what_was_recorded_before_is_200_and_what_could_not_be_is_no_2xx) {
  control_.receipts = std::vector<PushReceipt>{
      {PushReceipt::Verdict::duplicate, "shop", DeploymentId("abcdefg2"), ""}};
  EXPECT_EQ(send(samples()[0]).status, 200);
  control_.receipts = fail(ErrorCode::unavailable, "the log is busy");
  EXPECT_EQ(send(samples()[0]).status, 503);
}

TEST_F(GitWebhook, a_body_beyond_the_limit_is_refused_unread) {
  const auto answer = connect_webhook().ask(
      "POST /webhooks/git/shop HTTP/1.1\r\nHost: a\r\nContent-Length: 26214401\r\n\r\n");
  ASSERT_TRUE(answer.has_value());
  EXPECT_EQ(answer->status, 413);
  const auto got = connect_webhook().ask(request_text("GET", "/webhooks/git/shop", {}, ""));
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->status, 405);
}

// A project without a branch of its own: the repository is asked once for a delivery's branches.
TEST_F(GitWebhook, the_default_branch_that_was_found_for_one_branch_is_not_asked_for_again) {
  const auto all = samples();
  auto sample = *std::find_if(all.begin(), all.end(), [](const auto& each) {
    return std::string(each.name) == "bitbucket";
  });
  auto changes = json::array();
  for (const char* branch : {"one", "two", "three"}) {
    auto change = cloud_change(k_earlier, k_after);
    change["new"]["name"] = branch;
    change["old"]["name"] = branch;
    changes.push_back(change);
  }
  sample.body["push"]["changes"] = changes;
  PushReceipt found = deployed();
  found.default_branch = "trunk";
  control_.receipts = std::vector<PushReceipt>{found};
  const auto answer = send(sample);
  ASSERT_EQ(answer.status, 202) << answer.body;
  EXPECT_THAT(answer.body, Not(HasSubstr("trunk")));
  ASSERT_EQ(pushes().size(), 3U);
  EXPECT_EQ(pushes()[0].default_branch, "");
  EXPECT_EQ(pushes()[1].default_branch, "trunk");
  EXPECT_EQ(pushes()[2].default_branch, "trunk");
}

}  // namespace
}  // namespace atlasflow::api
