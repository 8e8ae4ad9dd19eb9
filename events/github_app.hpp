// The GitHub App as whom GitHub is asked: a fold of the stream "github". Pure, any thread.
#pragma once

#include <cstdint>
#include <string>

#include "events/event.pb.h"
#include "events/ids.hpp"

namespace atlasflow {

[[nodiscard]] StreamId github_stream();

struct GitHubAppState {
  std::int64_t app_id = 0;  // 0: none is connected
  std::string slug;
  std::string base_url;
  std::string key_fingerprint;
  std::string private_key_ref;
  std::string webhook_secret_ref;

  [[nodiscard]] bool is_connected() const { return app_id != 0; }
  friend bool operator==(const GitHubAppState&, const GitHubAppState&) = default;
};

// Total: an event that is none of the App's changes nothing.
void evolve(GitHubAppState& state, const pb::Event& event);

}  // namespace atlasflow
