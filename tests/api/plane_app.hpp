// The App that a recording control plane was told to connect.
#pragma once

#include <memory>
#include <mutex>

#include "github/connected_app.hpp"
#include "tests/api/recording_control_plane.hpp"

namespace atlasflow::api::testing {

class PlaneApp final : public github::ConnectedApp {
 public:
  explicit PlaneApp(const RecordingControlPlane& plane) : plane_(plane) {}

  Result<std::shared_ptr<github::AppClient>> get() override {
    const auto app = plane_.catalog().github_app();
    const std::lock_guard lock(mutex_);
    if (!app.state.is_connected()) {
      client_ = nullptr;
    } else if (client_ == nullptr || connected_at_ != app.connected_at) {
      ATLAS_TRY(client_, github::make_app_client(app.state.app_id, plane_.github_private_key(),
                                                 app.state.base_url));
      connected_at_ = app.connected_at;
    }
    return client_;
  }

 private:
  const RecordingControlPlane& plane_;
  std::mutex mutex_;
  std::shared_ptr<github::AppClient> client_;
  TimestampUs connected_at_ = 0;
};

}  // namespace atlasflow::api::testing
