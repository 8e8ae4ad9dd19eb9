#include "github/commit_status.hpp"

#include "github/deployments.hpp"
#include "github/refusal.hpp"

namespace atlasflow::github {

const Permissions& commit_status_permissions() {
  static const Permissions k_permissions = {{"statuses", "write"}};
  return k_permissions;
}

Result<void> set_commit_status(AppClient& app, const RepositoryName& repository,
                               const CommitStatus& status, const std::stop_token& stop) {
  ApiRequest request;
  request.method = "POST";
  request.path = "/repos/" + repository.str() + "/statuses/" + status.sha;
  request.body =
      nlohmann::json{{"state", status.state},
                     {"context", status.context},
                     {"target_url", status.target_url},
                     {"description", shortened(status.description, k_description_characters_max)}};
  ATLAS_TRY(const auto response,
            app.send_for(repository, commit_status_permissions(), request, stop));
  if (response.status == 201) return {};
  return refusal({"write commit statuses of", "Commit statuses"}, "a commit's status", repository,
                 response);
}

}  // namespace atlasflow::github
