#include "github/manifest.hpp"

#include <algorithm>

#include <nlohmann/json.hpp>

namespace atlasflow::github {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t k_name_characters_max = 34;
constexpr std::size_t k_organization_bytes_max = 39;
constexpr std::size_t k_code_bytes_max = 200;

}  // namespace

std::string html_escaped(std::string_view text) {
  std::string html;
  for (const char c : text) {
    switch (c) {
      case '&':
        html += "&amp;";
        break;
      case '<':
        html += "&lt;";
        break;
      case '>':
        html += "&gt;";
        break;
      case '"':
        html += "&quot;";
        break;
      case '\'':
        html += "&#39;";
        break;
      default:
        html += c;
    }
  }
  return html;
}

bool is_organization(std::string_view name) {
  return !name.empty() && name.size() <= k_organization_bytes_max && name.front() != '-' &&
         std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '-';
         });
}

std::string manifest_json(const ManifestOrder& order) {
  Json json;
  json["name"] = order.name.substr(0, k_name_characters_max);
  json["url"] = order.origin;
  json["hook_attributes"] = {{"url", order.origin + order.webhook}, {"active", true}};
  json["redirect_url"] = order.origin + order.redirect_to;
  json["public"] = false;
  json["default_permissions"] = {{"contents", "read"},
                                 {"deployments", "write"},
                                 {"metadata", "read"},
                                 {"pull_requests", "write"},
                                 {"statuses", "write"}};
  json["default_events"] = {"pull_request", "push", "repository"};
  return json.dump();
}

std::string manifest_page(const Address& address, std::string_view organization,
                          std::string_view state, std::string_view manifest) {
  const auto target = address.web +
                      (organization.empty() ? "" : "/organizations/" + std::string(organization)) +
                      "/settings/apps/new?state=" + std::string(state);
  return "<!doctype html>\n"
         "<html lang=\"en\"><head><meta charset=\"utf-8\">"
         "<title>Connect GitHub to Atlasflow</title>"
         "<meta name=\"viewport\" content=\"width=device-width\"></head>\n"
         "<body><h1>Connect GitHub to Atlasflow</h1>\n"
         "<p>The button opens " +
         html_escaped(address.web) +
         " with a GitHub App filled in that is yours alone. It may read the contents of those "
         "repositories that you install it on, tells this server of their pushes and of their pull "
         "requests, and shows at both where they run.</p>\n"
         "<form action=\"" +
         html_escaped(target) +
         "\" method=\"post\"><input type=\"hidden\" name=\"manifest\" value=\"" +
         html_escaped(manifest) +
         "\"><button type=\"submit\">Create the GitHub App</button></form>\n"
         "</body></html>\n";
}

Result<NewApp> exchange_manifest_code(ApiClient& api, const std::string& code,
                                      const std::stop_token& stop) {
  const bool plain = !code.empty() && code.size() <= k_code_bytes_max &&
                     std::all_of(code.begin(), code.end(), [](char c) {
                       return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                              (c >= '0' && c <= '9') || c == '-' || c == '_';
                     });
  const auto begin_anew = std::string("; begin anew with 'atlasflow github connect'");
  if (!plain) return fail(ErrorCode::invalid_argument, "the code is none of GitHub's" + begin_anew);
  ApiRequest request;
  request.method = "POST";
  request.path = "/app-manifests/" + code + "/conversions";
  ATLAS_TRY(const auto response, api.send(request, stop));
  if (response.status == 404 || response.status == 422) {
    return fail(
        ErrorCode::invalid_argument,
        "GitHub does not know the code: it was used before, or is older than an hour" + begin_anew,
        response.message);
  }
  NewApp app;
  try {
    app.identity = identity_of(response.json);
    app.private_key = Secret(response.json.at("pem").get<std::string>());
    app.webhook_secret = Secret(response.json.at("webhook_secret").get<std::string>());
  } catch (const nlohmann::json::exception&) {
    app.identity.id = 0;
  }
  if (app.identity.id <= 0) {
    return fail(ErrorCode::unavailable,
                "GitHub answered with status " + std::to_string(response.status) +
                    " and without the App's key; remove the App on GitHub" + begin_anew,
                response.message);
  }
  return app;
}

}  // namespace atlasflow::github
