#include "github/deployments.hpp"

#include "base/json_depth.hpp"
#include "github/refusal.hpp"

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

constexpr const char* k_our_id = "atlasflow_deployment";

tl::unexpected<Error> refused(const std::string& what, const RepositoryName& repository,
                              const ApiResponse& response) {
  return refusal({"write deployments of", "Deployments"}, what, repository, response);
}

// The payload comes back as an object, or as the text that it was once stored as.
bool is_ours(const Json& deployment, const std::string& id) {
  if (!deployment.is_object() || !deployment.contains("payload")) return false;
  Json payload = deployment["payload"];
  if (payload.is_string()) {
    // Anybody who may write deployments wrote it.
    const auto text = payload.get<std::string>();
    if (nests_deeper_than(text, k_json_levels_max)) return false;
    payload = Json::parse(text, nullptr, false);
  }
  return payload.is_object() && payload.contains(k_our_id) && payload[k_our_id] == id;
}

}  // namespace

const Permissions& deployment_permissions() {
  static const Permissions k_permissions = {{"deployments", "write"}};
  return k_permissions;
}

Result<std::int64_t> make_deployment(AppClient& app, const RepositoryName& repository,
                                     const NewDeployment& order, const std::stop_token& stop) {
  const auto path = "/repos/" + repository.str() + "/deployments";
  ATLAS_TRY(const auto known,
            app.send_for(repository, deployment_permissions(),
                         {.path = path + "?per_page=100&sha=" + order.sha}, stop));
  if (known.status != 200) return refused("a look at the deployments", repository, known);
  for (const auto& each : known.json) {
    if (is_ours(each, order.id) && id_in(each) > 0) return id_in(each);
  }
  ApiRequest request;
  request.method = "POST";
  request.path = path;
  // By default GitHub merges the default branch into the ref and waits for all checks.
  request.body = Json{{"ref", order.sha},
                      {"task", "deploy"},
                      {"auto_merge", false},
                      {"required_contexts", Json::array()},
                      {"environment", order.environment},
                      {"production_environment", order.is_production},
                      {"transient_environment", order.is_transient},
                      {"description", "Atlasflow " + order.id},
                      {"payload", {{k_our_id, order.id}}}};
  ATLAS_TRY(const auto made, app.send_for(repository, deployment_permissions(), request, stop));
  if (made.status == 201 && id_in(made.json) > 0) return id_in(made.json);
  return refused("a deployment", repository, made);
}

Result<void> add_status(AppClient& app, const RepositoryName& repository, const NewStatus& status,
                        const std::stop_token& stop) {
  ApiRequest request;
  request.method = "POST";
  request.path = "/repos/" + repository.str() + "/deployments/" +
                 std::to_string(status.deployment) + "/statuses";
  // Which older one is out of service Atlasflow knows, and tells itself.
  request.body = Json{{"state", status.state},
                      {"description", shortened(status.description, k_description_characters_max)},
                      {"auto_inactive", false}};
  if (!status.environment_url.empty()) {
    (*request.body)["environment_url"] = status.environment_url;
  }
  ATLAS_TRY(const auto response, app.send_for(repository, deployment_permissions(), request, stop));
  if (response.status != 201) return refused("a deployment's status", repository, response);
  return {};
}

std::string shortened(std::string_view text, std::size_t characters_max) {
  std::size_t characters = 0;
  std::size_t cut = 0;  // where the last character that may stay before the "…" ends
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool begins = (static_cast<unsigned char>(text[i]) & 0xc0U) != 0x80U;
    if (!begins) continue;
    if (characters == characters_max - 1) cut = i;
    if (++characters > characters_max) return std::string(text.substr(0, cut)) + "…";
  }
  return std::string(text);
}

}  // namespace atlasflow::github
