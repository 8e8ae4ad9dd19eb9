// A private repository on an SSH host, from the verbs to the app, and a kill in between.
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include "tests/builder/ssh_server.hpp"
#include "tests/end_to_end/server_fixture.hpp"

namespace atlasflow::end_to_end {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Private : public ServerFixture {
 protected:
  std::size_t records_of(const std::string& type) {
    std::size_t count = 0;
    for (const auto& event : events("web")) {
      if (event.at("type") == type) ++count;
    }
    return count;
  }
};

// The host's key is recorded before the clone logs in; what comes after a kill goes on from there.
TEST_F(Private, a_server_killed_after_it_kept_the_hosts_key_clones_on_with_the_deploy_key) {
  write_app("from a private repository\n");
  const auto sha = repository().commit_all("Private");
  builder::SshServer host(repository().folder().parent_path(), folder() / "sshd");
  start_server();
  const auto created = atlasflow(
      {"project", "create", "web", "--branch", "main", "--repo",
       host.url("/" + repository().folder().filename().string()), "--webhook-secret-file", "-"},
      k_webhook_secret);
  ASSERT_EQ(created.code, 0) << created.err;
  EXPECT_THAT(created.out, HasSubstr("atlasflow project deploy-key web"));
  const auto key = atlasflow({"project", "deploy-key", "web"});
  ASSERT_EQ(key.code, 0) << key.err;
  host.let_in(key.out);
  stop_server();

  start_server({{"ATLASFLOW_TEST_CRASH_AFTER", "HostKeyPinned"}});
  // With its commit named nobody looks at the branch: it is the clone that meets the host first.
  // The answer may be lost with the server.
  static_cast<void>(tell_by_hand("web", {{"ref", "refs/heads/main"}, {"sha", sha}}));
  ASSERT_EQ(signal_that_ended_server(), SIGKILL);
  start_server();
  const auto id =
      atlasflow_json({"deployments", "web"}).at("deployments").at(0).at("id").get<std::string>();
  EXPECT_TRUE(eventually(240s, [&] { return deployment("web", id).value("status", "") == "live"; }))
      << deployment("web", id).dump(2);
  EXPECT_EQ(get("web." + k_domain).body, "from a private repository\n");
  EXPECT_EQ(records_of("HostKeyPinned"), 1U);
  EXPECT_THAT(atlasflow({"project", "host-key", "web"}).out, HasSubstr(host.fingerprint()));
  EXPECT_THAT(server_log(), Not(HasSubstr("PRIVATE KEY")));

  // Another key of the host stops it with a sentence, and the verb in that lets it go on.
  host.change_host_key();
  const auto refused = atlasflow({"deploy", "web", "--wait"});
  EXPECT_EQ(refused.code, 1);
  const auto verb = "atlasflow project host-key web --accept " + host.fingerprint();
  EXPECT_THAT(refused.err, HasSubstr(verb));
  EXPECT_EQ(atlasflow({"project", "host-key", "web", "--accept", host.fingerprint()}).code, 0);
  EXPECT_EQ(atlasflow({"deploy", "web", "--wait"}).code, 0);
}

}  // namespace
}  // namespace atlasflow::end_to_end
