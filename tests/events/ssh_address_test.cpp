// How SSH remotes are written, and what their hosts may show.
#include "events/ssh_address.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/project.hpp"
#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

TEST(SshAddress, both_ways_to_write_one_are_read) {
  struct Case {
    const char* url;
    const char* user;
    const char* host;
    int port;
    const char* path;
    const char* name;
  };
  for (const auto& each : {
           Case{"git@github.com:acme/web.git", "git", "github.com", 22, "acme/web.git",
                "github.com"},
           Case{"git@Git.Example.com:/srv/web", "git", "git.example.com", 22, "/srv/web",
                "git.example.com"},
           Case{"ssh://git@git.example.com:2222/acme/web.git", "git", "git.example.com", 2222,
                "/acme/web.git", "[git.example.com]:2222"},
           Case{"ssh://git.example.com/web", "git", "git.example.com", 22, "/web",
                "git.example.com"},
           Case{"ssh://me@[2001:db8::1]:29418/web", "me", "2001:db8::1", 29418, "/web",
                "[2001:db8::1]:29418"},
           Case{"ssh://me@[2001:db8::1]/web", "me", "2001:db8::1", 22, "/web", "2001:db8::1"},
           Case{"me@[2001:db8::1]:web", "me", "2001:db8::1", 22, "web", "2001:db8::1"},
       }) {
    SCOPED_TRACE(each.url);
    ASSERT_TRUE(is_ssh_url(each.url));
    const auto address = parsed_ssh_url(each.url);
    ASSERT_TRUE(address) << to_string(address.error());
    EXPECT_EQ(address->user, each.user);
    EXPECT_EQ(address->host, each.host);
    EXPECT_EQ(address->port, each.port);
    EXPECT_EQ(address->path, each.path);
    EXPECT_EQ(host_name_of(*address), each.name);
    EXPECT_TRUE(validate_repository_url(each.url));
  }
}

TEST(SshAddress, what_is_none_of_ssh_stays_what_it_is) {
  for (const char* url : {"https://git@host/x", "/srv/git@host:x", "file:///a:b@c", "host:path",
                          "relative/git@host:x", "C:\\x", ""}) {
    EXPECT_FALSE(is_ssh_url(url)) << url;
    EXPECT_FALSE(parsed_ssh_url(url)) << url;
  }
}

TEST(SshAddress, one_that_can_not_be_meant_is_refused_and_not_repeated) {
  for (const char* url : {"ssh://git:hunter2@host/x",
                          "git:hunter2@host:x",
                          "ssh://",
                          "ssh:///x",
                          "ssh://git@/x",
                          "ssh://git@host",
                          "ssh://git@host/",
                          "ssh://git@host:0/x",
                          "ssh://git@host:70000/x",
                          "ssh://git@host:22x/x",
                          "ssh://git@host:/x",
                          "ssh://-oProxyCommand=x/y",
                          "git@-x:y",
                          "-x@host:y",
                          "git@host:-x",
                          "git@host:",
                          "git@[::1:x",
                          "ssh://git@[::1]x/y",
                          "ssh://git@ho$t/x",
                          "ssh://git@[]/x"}) {
    EXPECT_TRUE(is_ssh_url(url)) << url;
    const auto address = parsed_ssh_url(url);
    ASSERT_FALSE(address) << url;
    EXPECT_EQ(address.error().code, ErrorCode::invalid_argument) << url;
    const auto valid = validate_repository_url(url);
    ASSERT_FALSE(valid) << url;
    EXPECT_THAT(to_string(valid.error()), Not(HasSubstr("hunter2")));
  }
}

TEST(SshAddress, a_fingerprint_is_as_ssh_keygen_prints_it) {
  EXPECT_TRUE(validate_fingerprint("SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"));
  for (const char* wrong : {"", "SHA256:", "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
                            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOq",
                            "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU=",
                            "SHA256:+DiY3wvvV6TuJJhbpZisF zLDA0zPMSvHdkr4UvCOqU",
                            "MD5:16:27:ac:a5:76:28:2d:36:63:1b:56:4d:eb:df:a6:48"}) {
    EXPECT_FALSE(validate_fingerprint(wrong)) << wrong;
  }
}

// ---- what a project knows of its host ----

const std::string k_one = "SHA256:" + std::string(43, '1');
const std::string k_other = "SHA256:" + std::string(43, '2');

ProjectState made(const std::string& url) {
  ProjectState state;
  state.id = ProjectId{"pabc2345"};
  CreateProject create;
  create.name = "web";
  create.repository_url = url;
  create.settings = default_settings();
  const auto events = decide(state, create);
  EXPECT_TRUE(events);
  for (const auto& event : *events) evolve(state, event);
  return state;
}

std::size_t tell(ProjectState& state, const ProjectCommand& command) {
  const auto events = decide(state, command);
  EXPECT_TRUE(events) << to_string(events.error());
  if (!events) return 0;
  for (const auto& event : *events) evolve(state, event);
  return events->size();
}

TEST(HostKey, the_first_one_is_kept_and_no_other_let_in_after_it) {
  auto state = made("git@git.example.com:web");
  EXPECT_TRUE(judge_host_key(state, "git.example.com", k_one));
  EXPECT_EQ(tell(state, PinHostKey{"git.example.com", k_one}), 1U);
  // Of two that came at once: the same again is no event, another is refused.
  EXPECT_EQ(tell(state, PinHostKey{"git.example.com", k_one}), 0U);
  const auto refused = decide(state, PinHostKey{"git.example.com", k_other});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::user_error);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr(k_one), HasSubstr(k_other),
                    HasSubstr("atlasflow project host-key web --accept " + k_other)));
  EXPECT_FALSE(judge_host_key(state, "git.example.com", k_other));
  // Another host is another matter.
  EXPECT_TRUE(judge_host_key(state, "[git.example.com]:2222", k_other));
  EXPECT_EQ(tell(state, PinHostKey{"git.example.com", k_other, true}), 1U);
  EXPECT_TRUE(judge_host_key(state, "git.example.com", k_other));
  EXPECT_FALSE(judge_host_key(state, "git.example.com", k_one));
  EXPECT_FALSE(decide(state, PinHostKey{"git.example.com", "SHA256:x", true}));
}

TEST(HostKey, of_a_host_that_publishes_its_keys_no_other_is_the_first) {
  auto state = made("git@github.com:acme/web.git");
  const auto published = published_fingerprints("github.com");
  ASSERT_FALSE(published.empty());
  for (const auto fingerprint : published) {
    EXPECT_TRUE(validate_fingerprint(fingerprint)) << fingerprint;
    EXPECT_TRUE(judge_host_key(state, "github.com", std::string(fingerprint)));
  }
  const auto refused = judge_host_key(state, "github.com", k_one);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message,
              AllOf(HasSubstr(k_one), HasSubstr(std::string(published.front())),
                    HasSubstr("--accept " + k_one)));
  EXPECT_EQ(tell(state, PinHostKey{"github.com", k_one, true}), 1U);
  EXPECT_TRUE(judge_host_key(state, "github.com", k_one));
  EXPECT_THAT(published_fingerprints("[github.com]:2222"), IsEmpty());
  for (const auto fingerprint : published_fingerprints("bitbucket.org")) {
    EXPECT_TRUE(validate_fingerprint(fingerprint)) << fingerprint;
  }
}

TEST(RepositoryAccess, a_deploy_key_comes_and_goes_and_is_for_ssh_alone) {
  auto state = made("ssh://git@git.example.com/web");
  EXPECT_FALSE(decide(state, RemoveDeployKey{}));
  EXPECT_EQ(tell(state, SetDeployKey{"ssh-ed25519 A web", k_one, "r1"}), 1U);
  EXPECT_EQ(state.deploy_key_ref, "r1");
  EXPECT_EQ(state.deploy_key, "ssh-ed25519 A web");
  EXPECT_EQ(tell(state, SetDeployKey{"ssh-ed25519 B web", k_other, "r2"}), 1U);
  EXPECT_EQ(state.deploy_key_ref, "r2");
  EXPECT_EQ(state.deploy_key_fingerprint, k_other);
  EXPECT_EQ(tell(state, RemoveDeployKey{}), 1U);
  EXPECT_THAT(state.deploy_key_ref + state.deploy_key + state.deploy_key_fingerprint, IsEmpty());
  const auto wrong = decide(state, SetRepositoryLogin{"r"});
  ASSERT_FALSE(wrong);
  EXPECT_THAT(wrong.error().message, HasSubstr("atlasflow project deploy-key web"));
  const auto https = made("https://git.example.com/web");
  const auto refused = decide(https, SetDeployKey{"k", "f", "r"});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::conflict);
}

TEST(RepositoryAccess, what_takes_no_key_is_sent_to_a_login_where_it_takes_one) {
  for (const auto& url : {std::string("https://git.example.com/web"), std::string("/srv/web"),
                          std::string(k_own_repository)}) {
    const auto state = made(url);
    const auto refused = decide(state, SetDeployKey{"k", "f", "r"});
    ASSERT_FALSE(refused) << url;
    EXPECT_EQ(refused.error().message.find("login") != std::string::npos,
              decide(state, SetRepositoryLogin{"r"}).has_value())
        << url << ": " << refused.error().message;
  }
}

TEST(RepositoryAccess, a_login_comes_and_goes_and_is_for_http_alone) {
  auto state = made("https://git.example.com/web");
  EXPECT_FALSE(decide(state, RemoveRepositoryLogin{}));
  EXPECT_EQ(tell(state, SetRepositoryLogin{"r1"}), 1U);
  EXPECT_EQ(state.login_ref, "r1");
  EXPECT_EQ(tell(state, RemoveRepositoryLogin{}), 1U);
  EXPECT_THAT(state.login_ref, IsEmpty());
  EXPECT_FALSE(decide(made("/srv/web"), SetRepositoryLogin{"r"}));
  const ProjectState nobody;
  EXPECT_FALSE(decide(nobody, SetRepositoryLogin{"r"}));
  EXPECT_FALSE(decide(nobody, SetDeployKey{}));
  EXPECT_FALSE(decide(nobody, PinHostKey{"h", k_one}));
}

TEST(RepositoryAccess, a_webhook_secret_is_replaced_and_given_up) {
  auto state = made("https://git.example.com/web");
  EXPECT_EQ(tell(state, SetWebhookSecret{}), 0U);
  EXPECT_EQ(tell(state, SetWebhookSecret{"r1"}), 1U);
  EXPECT_EQ(tell(state, SetWebhookSecret{"r2"}), 1U);
  EXPECT_EQ(state.webhook_secret_ref, "r2");
  EXPECT_EQ(tell(state, SetWebhookSecret{}), 1U);
  EXPECT_THAT(state.webhook_secret_ref, IsEmpty());
}

}  // namespace
}  // namespace atlasflow
