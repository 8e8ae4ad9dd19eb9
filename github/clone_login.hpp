// What a clone of a private repository logs in with: an installation token for that repository
// alone, which may read its contents and nothing else. It is asked for when the server wants a
// login, and goes to libgit2's credential callback, never into a URL. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

struct Login {
  std::string user;
  Secret password;
};

// Nothing when the repository is not on the App's GitHub. refused: what an earlier call returned
// and the server took no more, in the middle of a clone perhaps; null: none.
[[nodiscard]] Result<std::optional<Login>> clone_login(AppClient& app, std::string_view url,
                                                       const Secret* refused,
                                                       const std::stop_token& stop);

// The App that is connected, which may change at any time; whoever uses one keeps it alive.
class ConnectedApp {
 public:
  // Null: none is.
  [[nodiscard]] std::shared_ptr<AppClient> get() const {
    const std::lock_guard lock(mutex_);
    return client_;
  }
  void set(std::shared_ptr<AppClient> client) {
    const std::lock_guard lock(mutex_);
    client_.swap(client);
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<AppClient> client_;
};

}  // namespace atlasflow::github
