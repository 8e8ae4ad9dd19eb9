// The GitHub App: connected with its key or by a manifest, shown, disconnected. The two pages of
// the manifest's way are for a browser, and the only ones that are public.
#include "api/context.hpp"
#include "api/github_setup.hpp"
#include "base/log.hpp"
#include "github/manifest.hpp"

namespace atlasflow::api {
namespace {

constexpr std::uint64_t k_body_bytes_max = 128 << 10;

Json json_of(const github::AppIdentity& identity) {
  Json json;
  json["id"] = identity.id;
  json["slug"] = identity.slug;
  json["owner"] = identity.owner;
  json["install_url"] =
      identity.html_url.empty() ? Json() : Json(identity.html_url + "/installations/new");
  return json;
}

Result<AppCredentials> parsed_credentials(const std::string& body) {
  ATLAS_TRY(const auto json, parsed_object(body, "The body"));
  const Members members(json);
  AppCredentials credentials;
  ATLAS_TRY(const auto app_id, members.integer("app_id"));
  ATLAS_TRY(auto key, members.required_string("private_key"));
  ATLAS_TRY(auto secret, members.required_string("webhook_secret"));
  ATLAS_TRY(const auto base_url, members.string("base_url"));
  credentials.app_id = app_id.value_or(0);
  credentials.private_key = Secret(std::move(key));
  credentials.webhook_secret = Secret(std::move(secret));
  credentials.base_url = base_url.value_or("");
  return credentials;
}

Response connect(GitHubSetup& setup, const Request& request) {
  const auto credentials = parsed_credentials(request.body);
  if (!credentials) return error_response(credentials.error());
  return response_of(setup.connect(asker_of(request), *credentials),
                     [](const auto& identity) { return json_response(json_of(identity), 201); });
}

Response begin(GitHubSetup& setup, const Request& request) {
  const auto json = parsed_object(request.body, "The body");
  if (!json) return error_response(json.error());
  const Members members(*json);
  const auto base_url = members.string("base_url");
  if (!base_url) return error_response(base_url.error());
  const auto organization = members.string("organization");
  if (!organization) return error_response(organization.error());
  return response_of(setup.begin(base_url->value_or(""), organization->value_or("")),
                     [](const auto& page) {
                       Json answer;
                       answer["url"] = page.url;
                       answer["state"] = page.state;
                       return json_response(answer, 201);
                     });
}

Response show_progress(GitHubSetup& setup, const Request& request) {
  return response_of(setup.progress(request.parameters.at("state")), [](const auto& progress) {
    Json json;
    json["app"] = progress.app ? json_of(*progress.app) : Json();
    json["over"] = progress.over;
    json["problem"] = progress.problem;
    return json_response(json);
  });
}

Response disconnect(GitHubSetup& setup, const Request& request) {
  if (const auto done = setup.disconnect(asker_of(request)); !done)
    return error_response(done.error());
  Json json;
  json["disconnected"] = true;
  return json_response(json);
}

// A page holds a state that is a secret for an hour: it is kept nowhere, goes into no other page's
// frame, and is told to nobody as where one came from.
Response page_response(std::string html, int status = 200) {
  Response response;
  response.status = status;
  response.content_type = "text/html; charset=utf-8";
  response.body = std::move(html);
  response.fields = {{"Cache-Control", "no-store"},
                     {"Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"},
                     {"Referrer-Policy", "no-referrer"},
                     {"X-Content-Type-Options", "nosniff"}};
  return response;
}

std::string page_of(const std::string& title, const std::string& text, const std::string& link) {
  const auto anchor = link.empty() ? ""
                                   : "<p><a href=\"" + github::html_escaped(link) + "\">" +
                                         github::html_escaped(link) + "</a></p>\n";
  return "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>" +
         github::html_escaped(title) + "</title></head>\n<body><h1>" + github::html_escaped(title) +
         "</h1>\n<p>" + github::html_escaped(text) + "</p>\n" + anchor + "</body></html>\n";
}

Response failed_page(const Error& error) {
  return page_response(page_of("Not connected", to_string(error), ""), http_status_of(error.code));
}

// Its address has code and state, so to load it again is to try again.
Response failed_finish(Error error) {
  const bool is_final =
      error.code == ErrorCode::not_found || error.code == ErrorCode::invalid_argument;
  if (!is_final) error.message += "; load this page again within the hour to try again";
  return failed_page(error);
}

Response manifest_page(GitHubSetup& setup, const Request& request) {
  auto page = setup.page(request.parameters.at("state"));
  return page ? page_response(*std::move(page)) : failed_page(page.error());
}

Response created(GitHubSetup& setup, const Request& request) {
  // A code is good once: whoever only looks whether the page is there must not use it up.
  if (request.method == "HEAD") return page_response("");
  const auto* state = request.query_value("state");
  const auto* code = request.query_value("code");
  const auto identity = setup.finish(state == nullptr ? "" : *state, code == nullptr ? "" : *code);
  if (!identity) {
    log_event(LogLevel::warn, "api", "github_app_not_connected",
              {{"error", identity.error().message}});
    return failed_finish(identity.error());
  }
  return page_response(
      page_of("Connected", "The GitHub App is connected. Install it on your repositories now:",
              identity->html_url.empty() ? "" : identity->html_url + "/installations/new"));
}

}  // namespace

void add_github_routes(Router& router, GitHubSetup& setup) {
  router.add(
      {"GET", "/v1/github", 0, [&setup](const Request&) { return json_response(setup.status()); }});
  router.add({"PUT", "/v1/github", k_body_bytes_max,
              [&setup](const Request& request) { return connect(setup, request); }});
  router.add({"DELETE", "/v1/github", 0,
              [&setup](const Request& request) { return disconnect(setup, request); }});
  router.add({"POST", "/v1/github/manifest", k_body_bytes_max,
              [&setup](const Request& request) { return begin(setup, request); }});
  router.add({"GET", "/v1/github/manifest/:state", 0,
              [&setup](const Request& request) { return show_progress(setup, request); }});
}

void add_github_pages(Router& router, GitHubSetup& setup) {
  router.add({"GET", "/github/connect/:state", 0,
              [&setup](const Request& request) { return manifest_page(setup, request); }});
  router.add({"GET", "/github/created", 0,
              [&setup](const Request& request) { return created(setup, request); }});
}

}  // namespace atlasflow::api
