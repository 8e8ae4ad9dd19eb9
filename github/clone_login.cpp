#include "github/clone_login.hpp"

#include "github/address.hpp"

namespace atlasflow::github {

Result<std::optional<Login>> clone_login(AppClient& app, std::string_view url,
                                         const Secret* refused, const std::stop_token& stop) {
  const auto repository = repository_on(app.address(), url);
  if (!repository) return std::optional<Login>();
  if (refused != nullptr) app.discard(*refused);
  ATLAS_TRY(auto token, app.token_for(*repository, clone_permissions(), stop));
  return Login{"x-access-token", std::move(token)};
}

}  // namespace atlasflow::github
