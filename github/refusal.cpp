#include "github/refusal.hpp"

namespace atlasflow::github {

tl::unexpected<Error> refusal(const Grant& grant, const std::string& what,
                              const RepositoryName& repository, const ApiResponse& response) {
  if (response.status == 403) {
    return fail(ErrorCode::user_error,
                "the GitHub App may not " + grant.allows + " " + repository.str() +
                    ": grant it \"" + grant.name +
                    ": read and write\" in its settings under \"Permissions\", and accept that on "
                    "the installation's page",
                response.message);
  }
  if (response.status >= 400) {
    return fail(ErrorCode::user_error,
                "GitHub refuses " + what + " of " + repository.str() + " with status " +
                    std::to_string(response.status),
                response.message);
  }
  return fail(ErrorCode::unavailable, "GitHub answered " + what + " of " + repository.str() +
                                          " with status " + std::to_string(response.status));
}

std::int64_t id_in(const nlohmann::json& json) {
  const auto found = json.is_object() ? json.find("id") : json.end();
  const bool has = json.is_object() && found != json.end() && found->is_number_integer();
  return has ? found->get<std::int64_t>() : 0;
}

}  // namespace atlasflow::github
