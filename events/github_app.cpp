#include "events/github_app.hpp"

namespace atlasflow {

StreamId github_stream() { return StreamId("github"); }

void evolve(GitHubAppState& state, const pb::Event& event) {
  if (event.has_github_app_disconnected()) state = {};
  if (!event.has_github_app_connected()) return;
  const auto& app = event.github_app_connected();
  state = {app.app_id(),          app.slug(),
           app.base_url(),        app.key_fingerprint(),
           app.private_key_ref(), app.webhook_secret_ref()};
}

}  // namespace atlasflow
