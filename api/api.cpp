#include "api/api.hpp"

#include <chrono>

#include "api/context.hpp"
#include "api/git_push.hpp"
#include "api/git_webhook.hpp"
#include "api/github_setup.hpp"
#include "api/http_server.hpp"
#include "api/listener.hpp"
#include "api/webhook.hpp"
#include "base/file.hpp"
#include "base/log.hpp"
#include "base/x509.hpp"

namespace atlasflow::api {
namespace {

using namespace std::chrono_literals;

// How long a command's answer may wait for the read model, which follows the log within
// milliseconds.
constexpr auto k_catalog_patience = 5s;
// Each may hold a body of 25 MiB; what the edge forwards is few and short.
constexpr std::size_t k_webhook_connections_max = 64;
constexpr std::uint64_t k_authority_bytes_max = 1U << 20U;

class ServedApi final : public Api {
 public:
  ServedApi(const ApiConfig& config, actors::ControlPlane& control)
      : config_(config),
        started_(std::chrono::steady_clock::now()),
        context_{control,
                 {config.domain, config.https_port},
                 config.log_dir,
                 config.webhook_secret,
                 config.access_log,
                 [this] {
                   if (git_push_ != nullptr) git_push_->look_after_soon();
                 }},
        github_(control, config.connected_app, context_.address) {
    add_health_route(private_router_);
    add_health_route(public_router_);
    add_webhook_route(private_router_, context_);
    add_webhook_route(public_router_, context_);
    add_git_webhook_route(private_router_, context_);
    add_git_webhook_route(public_router_, context_);
    if (config.repositories != nullptr) {
      git_push_ = std::make_unique<GitPush>(context_, *config.repositories);
      git_push_->add_routes(private_router_);
      git_push_->add_routes(public_router_);
    }
    add_github_routes(private_router_, github_);
    add_github_pages(private_router_, github_);
    add_github_pages(public_router_, github_);
    private_router_.add({"GET", "/v1/status", 0, [this](const Request&) { return show_status(); }});
    private_router_.add({"GET", "/v1/certificate-authority", 0,
                         [this](const Request&) { return show_authority(); }});
    private_router_.add({"GET", "/metrics", 0, [this](const Request&) { return show_metrics(); }});
    add_project_routes(private_router_, context_);
    add_repository_routes(private_router_, context_);
    add_deployment_routes(private_router_, context_);
    add_life_routes(private_router_, context_);
    add_log_routes(private_router_, context_);
    add_event_routes(private_router_, context_);
    add_domain_routes(private_router_, context_);
  }

  ~ServedApi() override {
    // The servers wait for the pushes that they are in.
    if (git_push_ != nullptr) git_push_->stop();
  }

  Result<void> start() {
    ATLAS_TRY(auto socket, Listener::on_unix_socket(config_.socket));
    ATLAS_TRY(auto tcp, Listener::on_tcp(config_.webhook_address, config_.webhook_port));
    ATLAS_TRY(auto private_server, HttpServer::start(std::move(socket), private_router_));
    private_server_ = std::move(private_server);
    HttpServerLimits limits;
    limits.connections_max = k_webhook_connections_max;
    ATLAS_TRY(auto public_server, HttpServer::start(std::move(tcp), public_router_, limits));
    public_server_ = std::move(public_server);
    return {};
  }

  std::uint16_t webhook_port() const override { return public_server_->port(); }

 private:
  static void add_health_route(Router& router) {
    router.add({"GET", "/healthz", 0, [](const Request&) {
                  Json json;
                  json["status"] = "ok";
                  return json_response(json);
                }});
  }

  Response show_metrics() const {
    Response response;
    response.content_type = "text/plain; version=0.0.4; charset=utf-8";
    if (config_.edge_metrics) response.body = config_.edge_metrics();
    return response;
  }

  // Its certificate alone, whatever else the file may hold.
  Response show_authority() const {
    if (config_.ca_certificate.empty()) {
      return error_response(
          {ErrorCode::not_found, "This server has no certificate authority of its own.", {}});
    }
    const auto text = read_file(config_.ca_certificate, k_authority_bytes_max);
    const auto found = text ? parse_certificates(*text)
                            : Result<std::vector<X509Ptr>>(tl::unexpected(text.error()));
    if (!found) {
      return error_response({ErrorCode::internal,
                             "The certificate of the server's own authority, " +
                                 config_.ca_certificate.string() +
                                 ", can't be read; restore it from a backup.",
                             to_string(found.error())});
    }
    Json json;
    json["certificate"] = to_pem(found->front().get());
    json["fingerprint"] = certificate_fingerprint(found->front().get());
    json["domain"] = config_.domain;
    return json_response(json);
  }

  Response show_status() const {
    const auto& catalog = context_.control.catalog();
    const auto uptime = std::chrono::steady_clock::now() - started_;
    Json json;
    json["version"] = config_.version;
    json["build_id"] = config_.build_id;
    json["domain"] = config_.domain;
    json["http_port"] = config_.http_port;
    json["https_port"] = config_.https_port;
    json["ca_certificate"] =
        config_.ca_certificate.empty() ? Json() : Json(config_.ca_certificate.string());
    json["uptime_seconds"] = std::chrono::duration_cast<std::chrono::seconds>(uptime).count();
    json["log_position"] = context_.control.log().last_position().value();
    json["parts"] = Json::array();
    auto parts = context_.control.parts();
    if (config_.other_parts) {
      for (auto& part : config_.other_parts()) parts.push_back(std::move(part));
    }
    for (const auto& part : parts) {
      json["parts"].push_back(
          {{"name", part.name}, {"state", part.state}, {"detail", part.detail}});
    }
    json["quarantined"] = Json::array();
    for (const auto& [stream, reason] : catalog.quarantined()) {
      json["quarantined"].push_back({{"stream", stream},
                                     {"project", project_of_stream(StreamId(stream))},
                                     {"reason", reason}});
    }
    json["certificates"] = expiring_certificates(context_);
    json["projects"] = catalog.project_count();
    json["active"] = Json::array();
    for (const auto& view : catalog.active_deployments()) {
      json["active"].push_back(json_of(view, context_.address));
    }
    return json_response(json);
  }

  // The name of the project that the stream is about; null for the machines' own.
  Json project_of_stream(const StreamId& stream) const {
    const auto& catalog = context_.control.catalog();
    if (const auto view = catalog.deployment(deployment_of(stream))) {
      return view->state.push.project_name();
    }
    const auto view = catalog.project(project_of(stream));
    return view ? Json(view->state.name) : Json();
  }

  const ApiConfig config_;
  const std::chrono::steady_clock::time_point started_;
  const Context context_;
  GitHubSetup github_;
  std::unique_ptr<GitPush> git_push_;  // null: nobody pushes here
  Router private_router_;              // of the unix socket
  Router public_router_;               // of the TCP listener
  // The servers go first: their threads use all of the above.
  std::unique_ptr<HttpServer> private_server_;
  std::unique_ptr<HttpServer> public_server_;
};

}  // namespace

Result<storage::ProjectView> project_named(const Context& context, const std::string& name) {
  auto view = context.control.catalog().project_named(name);
  if (!view) {
    return fail(ErrorCode::not_found,
                "There is no project '" + name + "'; atlasflow project list shows them.");
  }
  return *std::move(view);
}

Result<storage::DeploymentView> deployment_named(const Context& context, const DeploymentId& id) {
  auto view = context.control.catalog().deployment(id);
  if (view || view.error().code != ErrorCode::not_found) return view;
  return fail(ErrorCode::not_found, "There is no deployment '" + id.str() +
                                        "'; atlasflow deployments NAME shows a project's.");
}

void wait_for_commands(const Context& context) {
  const auto position = context.control.log().last_position();
  if (!context.control.catalog().wait_for(position, k_catalog_patience)) {
    log_event(LogLevel::warn, "api", "catalog_behind", {{"position", position.value()}});
  }
}

Response json_response(const Json& json, int status) {
  Response response;
  response.status = status;
  response.body = text_of(json);
  return response;
}

Result<std::unique_ptr<Api>> start_api(const ApiConfig& config, actors::ControlPlane& control) {
  auto api = std::make_unique<ServedApi>(config, control);
  ATLAS_TRYV(api->start());
  return api;
}

}  // namespace atlasflow::api
