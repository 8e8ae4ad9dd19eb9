// A backup of a server that serves and deploys, and what comes of it after the machine's state is
// lost.

#include <atomic>
#include <thread>

#include <gmock/gmock.h>

#include "tests/end_to_end/server_fixture.hpp"
#include "tests/end_to_end/visitors.hpp"

namespace atlasflow::end_to_end {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

class Backups : public ServerFixture {
 protected:
  void deploy_version(const std::string& page) {
    write_app(page);
    repository().commit_all("Say " + page);
    const auto deployed = atlasflow({"deploy", "web", "--wait"});
    ASSERT_EQ(deployed.code, 0) << deployed.err;
    ASSERT_EQ(get("web." + k_domain).body, page);
  }
  [[nodiscard]] std::string backups() const { return (folder() / "backups").string(); }
};

TEST_F(Backups, what_was_acknowledged_before_one_is_there_after_the_state_folder_was_lost) {
  start_server();
  create_project("web");
  ASSERT_EQ(atlasflow({"env", "set", "web", "--stdin", "GREETING"}, "a sealed greeting").code, 0);
  ASSERT_NO_FATAL_FAILURE(deploy_version("version one\n"));
  const auto first = atlasflow({"backup", backups()});
  ASSERT_EQ(first.code, 0) << first.err;
  ASSERT_NO_FATAL_FAILURE(deploy_version("version two\n"));
  const auto ca = read_file(ca_certificate());

  // Visitors come, and events are acknowledged, all the while.
  std::atomic<int> acknowledged{0};
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    for (int i = 1; !stop; ++i) {
      const auto name = "LOAD_" + std::to_string(i);
      if (atlasflow({"env", "set", "web", name + "=x"}).code == 0) acknowledged = i;
    }
  });
  Visitors visitors(*this, "web." + k_domain, "version two\n");
  EXPECT_TRUE(eventually(30s, [&] { return acknowledged > 2; }));
  const int before = acknowledged;
  const auto second = atlasflow({"backup", backups()});
  stop = true;
  writer.join();
  const auto visits = visitors.leave();
  EXPECT_EQ(visits.failed, 0) << visits.first_failure;
  ASSERT_EQ(second.code, 0) << second.err;
  EXPECT_THAT(second.out, HasSubstr("Backup 2 is made"));
  const auto checked = atlasflow({"backup", backups(), "--check"});
  EXPECT_EQ(checked.code, 0) << checked.err;

  kill_server();
  ASSERT_EQ(atlasflow({"halt"}).code, 0);
  std::error_code error;
  fs::remove_all(state_dir(), error);
  ASSERT_FALSE(error) << error.message();
  const auto restored = atlasflow({"restore", backups()});
  ASSERT_EQ(restored.code, 0) << restored.err;
  ASSERT_EQ(atlasflow({"log", "verify"}).code, 0);

  start_server();
  EXPECT_TRUE(eventually(120s, [&] { return get("web." + k_domain).body == "version two\n"; }))
      << get("web." + k_domain).body;
  EXPECT_EQ(get("web." + k_domain, "/cgi-bin/env").body, "a sealed greeting");
  EXPECT_EQ(read_file(ca_certificate()), ca);
  const auto env = atlasflow({"env", "list", "web"}).out;
  for (int i = 1; i <= before; ++i) EXPECT_THAT(env, HasSubstr("LOAD_" + std::to_string(i)));
  EXPECT_THAT(atlasflow({"logs", "web", "--build"}).out, HasSubstr("Built"));
  const auto rolled_back = atlasflow({"rollback", "web", "--wait"});
  EXPECT_EQ(rolled_back.code, 0) << rolled_back.err;
  EXPECT_EQ(get("web." + k_domain).body, "version one\n");
  ASSERT_NO_FATAL_FAILURE(deploy_version("version three\n"));

  // No value is in the log in any form that can be read.
  const auto exported = atlasflow({"log", "export", "-"});
  ASSERT_EQ(exported.code, 0) << exported.err;
  EXPECT_THAT(exported.out, Not(HasSubstr("a sealed greeting")));
  const auto third = atlasflow({"backup", backups()});
  EXPECT_EQ(third.code, 0) << third.err;
}

}  // namespace
}  // namespace atlasflow::end_to_end
