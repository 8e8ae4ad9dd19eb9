// A pull request's preview, from its opening to its end.

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

class PullRequests : public ServerFixture {
 protected:
  // As GitHub tells of pull request 7, at that second of a minute.
  HttpAnswer tell(const std::string& action, const std::string& sha, int second,
                  bool fork = false) {
    const auto url = repository().folder().string();
    const json base = {{"id", 186853002}, {"full_name", "mona/app"}};
    const json head = fork ? json{{"id", 666}, {"full_name", "mallory/app"}} : base;
    return deliver("pull_request", action + "-" + std::to_string(second),
                   {{"action", action},
                    {"number", 7},
                    {"pull_request",
                     {{"number", 7},
                      {"state", action == "closed" ? "closed" : "open"},
                      {"merged", false},
                      {"updated_at", "2026-11-28T04:00:" + std::to_string(second) + "Z"},
                      {"head", {{"ref", "topic"}, {"sha", sha}, {"repo", head}}},
                      {"base", {{"ref", "main"}, {"repo", base}}},
                      {"user", {{"login", "mona"}}}}},
                    {"repository",
                     {{"id", 186853002},
                      {"full_name", "mona/app"},
                      {"default_branch", "main"},
                      {"clone_url", url}}},
                    {"sender", {{"login", "mona"}}}});
  }
  // A commit that no branch has, as a fork's.
  std::string commit_of_pull_request(const std::string& page) {
    write_app("main\n");
    const auto main = repository().commit_all("Main");
    write_app(page);
    const auto sha = repository().commit_all("A change");
    repository().set_ref("refs/pull/7/head", sha);
    repository().set_ref("refs/heads/main", main);
    return sha;
  }
  [[nodiscard]] bool is_live(const std::string& id) {
    return eventually(240s, [&] { return deployment("web", id).value("status", "") == "live"; });
  }
  [[nodiscard]] std::string page_status(const std::string& host) {
    return std::to_string(get(host).status);
  }

  inline static const std::string k_host = "pr-7-web." + k_domain;
};

TEST_F(PullRequests,
       an_opened_one_has_a_page_of_its_own_and_a_closed_one_neither_page_nor_microvm) {
  const auto sha = commit_of_pull_request("the change\n");
  start_server();
  create_project("web");
  EXPECT_THAT(tell("opened", sha, 10).body, HasSubstr("pull_requests=true"));
  ASSERT_EQ(atlasflow({"project", "set", "web", "pull_requests=true"}).code, 0);
  const auto id = deployment_in(tell("reopened", sha, 11));
  ASSERT_TRUE(is_live(id)) << deployment("web", id).dump(2);
  EXPECT_EQ(get(k_host).body, "the change\n");
  EXPECT_EQ(get("web." + k_domain).status, 404) << "production was never deployed";
  EXPECT_EQ(vm_processes().size(), 1U);
  EXPECT_THAT(atlasflow({"deployments", "web"}).out, HasSubstr("pull/7"));
  EXPECT_THAT(atlasflow({"status"}).out, HasSubstr("https://pr-7-web." + k_domain));
  // The same head once more, under another name.
  EXPECT_EQ(json::parse(tell("synchronize", sha, 12).body)["receipts"][0]["verdict"], "ignored");

  EXPECT_EQ(tell("closed", sha, 20).status, 202);
  EXPECT_TRUE(eventually(90s, [&] { return vm_processes().empty(); }));
  EXPECT_TRUE(eventually(30s, [&] { return get(k_host).status == 404; })) << page_status(k_host);
  // One that comes late does not bring it back.
  EXPECT_THAT(tell("synchronize", std::string(40, 'b'), 15).body, HasSubstr("late"));
  EXPECT_THAT(vm_processes(), IsEmpty());
}

TEST_F(PullRequests, of_a_fork_waits_for_an_approval_and_gets_no_variable) {
  const auto sha = commit_of_pull_request("the fork's\n");
  start_server();
  create_project("web");
  ASSERT_EQ(
      atlasflow({"project", "set", "web", "pull_requests=true", "pull_requests_from_forks=true"})
          .code,
      0);
  ASSERT_EQ(atlasflow({"env", "set", "web", "--stdin", "GREETING"}, "sentinel-4711\n").code, 0);
  EXPECT_THAT(tell("opened", sha, 10, true).body, HasSubstr("atlasflow approve web 7"));
  EXPECT_THAT(atlasflow({"project", "show", "web"}).out, HasSubstr(sha));
  EXPECT_THAT(atlasflow_json({"deployments", "web"}).at("deployments"), IsEmpty());

  EXPECT_EQ(atlasflow({"approve", "web", "7", "--sha", std::string(40, 'b')}).code, 2);
  const auto approved = atlasflow({"approve", "web", "7", "--sha", sha, "--wait"});
  ASSERT_EQ(approved.code, 0) << approved.err << approved.out;
  EXPECT_EQ(get(k_host).body, "the fork's\n");
  EXPECT_EQ(get(k_host, "/cgi-bin/env").body, "");
  EXPECT_EQ(atlasflow({"approve", "web", "7"}).code, 2) << "it is deployed";
}

}  // namespace
}  // namespace atlasflow::end_to_end
