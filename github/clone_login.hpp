// What a clone of a private repository logs in with: an installation token for that repository
// alone, which may read its contents and nothing else. It is asked for when the server wants a
// login, and goes to libgit2's credential callback, never into a URL. Any thread.
#pragma once

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

}  // namespace atlasflow::github
