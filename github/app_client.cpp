#include "github/app_client.hpp"

#include <algorithm>
#include <charconv>

#include "base/rfc3339.hpp"
#include "github/jwt.hpp"

namespace atlasflow::github {
namespace {

using Json = nlohmann::json;

constexpr std::size_t k_cached_max = 1024;  // tokens, and repositories

std::string lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

// Members of an answer; what is missing or of another type is empty.
std::string text_in(const Json& json, const char* name) {
  if (!json.is_object()) return {};
  const auto found = json.find(name);
  return found != json.end() && found->is_string() ? found->get<std::string>() : std::string{};
}

std::int64_t number_in(const Json& json, const char* name) {
  if (!json.is_object()) return 0;
  const auto found = json.find(name);
  return found != json.end() && found->is_number_integer() ? found->get<std::int64_t>() : 0;
}

const Json& member(const Json& json, const char* name) {
  static const Json k_null;
  if (!json.is_object()) return k_null;
  const auto found = json.find(name);
  return found == json.end() ? k_null : *found;
}

tl::unexpected<Error> unexpected_answer(const std::string& what, const ApiResponse& response) {
  return fail(ErrorCode::unavailable,
              "GitHub answered " + what + " with status " + std::to_string(response.status) +
                  (response.status < 300 ? " and without what belongs there" : "") +
                  "; try again, and check the base URL of this GitHub when it stays so",
              response.message);
}

// "/repositories/1296269/installation": where a repository that has moved is asked for.
std::optional<std::int64_t> repository_id_in(std::string_view path) {
  constexpr std::string_view k_prefix = "/repositories/";
  if (!path.starts_with(k_prefix)) return std::nullopt;
  path.remove_prefix(k_prefix.size());
  std::int64_t id = 0;
  const auto [rest, error] = std::from_chars(path.data(), path.data() + path.size(), id);
  if (error != std::errc{} || rest == path.data() + path.size() || *rest != '/' || id <= 0) {
    return std::nullopt;
  }
  return id;
}

// GitHub's clock and ours differ by more than the JWT's margins allow.
bool blames_the_clock(const ApiResponse& response) {
  return response.status == 401 && (response.message.find("('iat')") != std::string::npos ||
                                    response.message.find("('exp')") != std::string::npos);
}

}  // namespace

AppIdentity identity_of(const Json& json) {
  AppIdentity identity;
  identity.id = number_in(json, "id");
  identity.slug = text_in(json, "slug");
  identity.html_url = text_in(json, "html_url");
  identity.owner = text_in(member(json, "owner"), "login");
  for (const auto& [name, level] : member(json, "permissions").items()) {
    if (level.is_string()) identity.permissions[name] = level.get<std::string>();
  }
  for (const auto& event : member(json, "events")) {
    if (event.is_string()) identity.events.push_back(event.get<std::string>());
  }
  return identity;
}

const Permissions& clone_permissions() {
  static const Permissions k_permissions = {{"contents", "read"}};
  return k_permissions;
}

AppClient::AppClient(std::int64_t app_id, AppKey key, ApiConfig config)
    : app_id_(app_id), key_(std::move(key)), now_s_(config.now_s), api_(std::move(config)) {}

Result<ApiResponse> AppClient::send_as_app(ApiRequest request, const std::stop_token& stop) {
  // A second time when the first answer has told that our clock is off.
  for (bool again = false;; again = true) {
    const auto ahead_s = api_.clock_ahead_s();
    const auto jwt = app_jwt(app_id_, key_, api_.github_now_s());
    request.bearer = &jwt;
    auto response = api_.send(request, stop);
    if (!response) return response;
    if (blames_the_clock(*response) && !again && api_.clock_ahead_s() != ahead_s) continue;
    if (response->status != 401) return response;
    if (blames_the_clock(*response)) {
      return fail(ErrorCode::unavailable,
                  "GitHub's clock and this machine's differ; set this one by NTP",
                  response->message);
    }
    return fail(ErrorCode::invalid_argument,
                "GitHub does not take the private key (" + key_.fingerprint() + ") for App " +
                    std::to_string(app_id_) +
                    ": it belongs to another App, or was deleted; generate one in that App's "
                    "settings and connect it again",
                response->message);
  }
}

Result<AppIdentity> AppClient::identity(const std::stop_token& stop) {
  ATLAS_TRY(const auto response, send_as_app({.path = "/app", .remember_as = "app"}, stop));
  if (response.status == 404) {
    return fail(ErrorCode::invalid_argument,
                api_.address().web + " has no App with the id " + std::to_string(app_id_) +
                    "; the \"App ID\" stands at the top of the App's settings (not the client id)",
                response.message);
  }
  if (response.status != 200) return unexpected_answer("who the App is", response);
  auto identity = identity_of(response.json);
  if (identity.id != app_id_) {
    return unexpected_answer("who the App is", response);
  }
  return identity;
}

tl::unexpected<Error> AppClient::not_installed(const RepositoryName& repository) const {
  return fail(
      ErrorCode::not_found,
      "the GitHub App is not installed on " + repository.str() +
          ", or there is no such repository: install it there, or add the repository to its "
          "installation; 'atlasflow github status' prints the page to do it on");
}

Result<Installation> AppClient::installation_of(const RepositoryName& repository,
                                                const std::stop_token& stop) {
  ATLAS_TRY(
      const auto response,
      send_as_app({.path = "/repos/" + repository.str() + "/installation", .remember_as = "app"},
                  stop));
  if (response.status == 404) return not_installed(repository);
  Installation installation;
  installation.id = number_in(response.json, "id");
  if (response.status != 200 || installation.id <= 0) {
    return unexpected_answer("where the App is installed", response);
  }
  installation.account = text_in(member(response.json, "account"), "login");
  installation.suspended = !member(response.json, "suspended_at").is_null();
  installation.repository_id = repository_id_in(response.redirected_to);
  const std::lock_guard lock(mutex_);
  if (whereabouts_.size() >= k_cached_max) whereabouts_.clear();
  auto& known = whereabouts_[lower(repository.str())];
  known.installation = installation.id;
  if (installation.repository_id) known.repository_id = installation.repository_id;
  return installation;
}

Result<AppClient::Whereabouts> AppClient::whereabouts(const RepositoryName& repository,
                                                      const std::stop_token& stop) {
  const auto known = [&]() -> std::optional<Whereabouts> {
    const std::lock_guard lock(mutex_);
    const auto found = whereabouts_.find(lower(repository.str()));
    return found == whereabouts_.end() ? std::nullopt : std::optional(found->second);
  };
  if (auto found = known()) return *found;
  ATLAS_TRY(const auto installation, installation_of(repository, stop));
  return known().value_or(Whereabouts{installation.id, installation.repository_id});
}

Result<ApiResponse> AppClient::ask_for_token(const RepositoryName& repository,
                                             const Permissions& permissions,
                                             const std::stop_token& stop) {
  for (bool again = false;; again = true) {
    ATLAS_TRY(const auto where, whereabouts(repository, stop));
    ApiRequest request;
    request.method = "POST";
    request.path = "/app/installations/" + std::to_string(where.installation) + "/access_tokens";
    request.body = Json{{"permissions", permissions}};
    // A name may be another repository's by now; an id never is.
    if (where.repository_id) {
      (*request.body)["repository_ids"] = Json::array({*where.repository_id});
    } else {
      (*request.body)["repositories"] = Json::array({repository.name});
    }
    auto response = send_as_app(std::move(request), stop);
    if (!response) return response;
    // What was known of it is out of date: removed and installed again, or given to another owner.
    const bool outdated = response->status == 404 || response->status == 422;
    if (!outdated || again) return response;
    const std::lock_guard lock(mutex_);
    whereabouts_.erase(lower(repository.str()));
  }
}

tl::unexpected<Error> AppClient::token_refused(const RepositoryName& repository,
                                               const ApiResponse& response) const {
  if (response.status == 403 && response.message.find("suspended") != std::string::npos) {
    return fail(ErrorCode::user_error,
                "the GitHub App's installation on " + repository.owner +
                    " is suspended: unsuspend it on GitHub, in that account's settings under "
                    "\"GitHub Apps\"",
                response.message);
  }
  if (response.status == 422 && response.message.find("permissions") != std::string::npos) {
    return fail(ErrorCode::user_error,
                "the GitHub App may not do that on " + repository.str() +
                    ": it lacks a permission, or the new ones were not accepted yet; see the App's "
                    "settings under \"Permissions\" and its installation's page on GitHub",
                response.message);
  }
  if (response.status == 404 || response.status == 422) return not_installed(repository);
  return unexpected_answer("the request for a token", response);
}

Result<Secret> AppClient::token_for(const RepositoryName& repository,
                                    const Permissions& permissions, const std::stop_token& stop) {
  const CacheKey key{lower(repository.str()), permissions};
  {
    const std::lock_guard lock(mutex_);
    const auto found = tokens_.find(key);
    if (found != tokens_.end() && now_s_() < found->second.renew_at_s) return found->second.token;
  }
  ATLAS_TRY(const auto response, ask_for_token(repository, permissions, stop));
  Secret token(text_in(response.json, "token"));
  const auto expires_us = parse_rfc3339_us(text_in(response.json, "expires_at"));
  if (response.status != 201) return token_refused(repository, response);
  if (token.empty() || !expires_us) return unexpected_answer("the request for a token", response);
  // How long it lives is what the two clocks agree on, not when it ends.
  const auto life_s = *expires_us / 1'000'000 - api_.github_now_s();
  const auto& repositories = member(response.json, "repositories");
  const std::lock_guard lock(mutex_);
  if (tokens_.size() >= k_cached_max) tokens_.clear();
  // One that ends sooner than the margin is used for what it was asked for, and not kept.
  tokens_[key] = {token, now_s_() + life_s - k_token_margin_s};
  if (repositories.is_array() && repositories.size() == 1) {
    const auto id = number_in(repositories.front(), "id");
    const auto known = whereabouts_.find(lower(repository.str()));
    if (id > 0 && known != whereabouts_.end()) known->second.repository_id = id;
  }
  return token;
}

Result<ApiResponse> AppClient::send_for(const RepositoryName& repository,
                                        const Permissions& permissions, ApiRequest request,
                                        const std::stop_token& stop) {
  for (bool again = false;; again = true) {
    ATLAS_TRY(const auto token, token_for(repository, permissions, stop));
    request.bearer = &token;
    request.limited_as = "installation";
    auto response = api_.send(request, stop);
    request.bearer = nullptr;
    if (!response || response->status != 401) return response;
    discard(token);
    if (again) {
      return fail(ErrorCode::unavailable,
                  "GitHub does not take the token for " + repository.str() +
                      " that it has just given; it is asked again later",
                  response->message);
    }
  }
}

void AppClient::discard(const Secret& token) {
  const std::lock_guard lock(mutex_);
  std::erase_if(tokens_, [&](const auto& each) { return each.second.token.is(token.reveal()); });
}

Result<std::shared_ptr<AppClient>> make_app_client(std::int64_t app_id, const Secret& private_key,
                                                   const std::string& base_url) {
  ATLAS_TRY(auto config, api_config(base_url));
  ATLAS_TRY(auto key, AppKey::parse(private_key));
  return std::make_shared<AppClient>(app_id, std::move(key), std::move(config));
}

}  // namespace atlasflow::github
