#include "events/github_app.hpp"

#include <gtest/gtest.h>

namespace atlasflow {
namespace {

pb::Event connected(std::int64_t id) {
  pb::Event event;
  auto& app = *event.mutable_github_app_connected();
  app.set_app_id(id);
  app.set_slug("atlasflow-" + std::to_string(id));
  app.set_base_url("https://github.com");
  app.set_key_fingerprint("SHA256:x");
  app.set_private_key_ref("key");
  app.set_webhook_secret_ref("secret");
  return event;
}

TEST(GitHubApp, is_the_one_that_was_connected_last_until_it_is_disconnected) {
  GitHubAppState state;
  EXPECT_FALSE(state.is_connected());
  evolve(state, connected(1));
  evolve(state, connected(2));
  EXPECT_TRUE(state.is_connected());
  EXPECT_EQ(state,
            (GitHubAppState{2, "atlasflow-2", "https://github.com", "SHA256:x", "key", "secret"}));
  pb::Event disconnected;
  disconnected.mutable_github_app_disconnected()->set_app_id(2);
  evolve(state, disconnected);
  EXPECT_EQ(state, GitHubAppState{});
}

TEST(GitHubApp, no_other_event_changes_it) {
  GitHubAppState state;
  evolve(state, connected(1));
  const auto before = state;
  pb::Event other;
  other.mutable_node_started();
  evolve(state, other);
  evolve(state, pb::Event{});
  EXPECT_EQ(state, before);
}

}  // namespace
}  // namespace atlasflow
