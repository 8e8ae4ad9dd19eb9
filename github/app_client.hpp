// A GitHub App as whom Atlasflow asks: who it is, where it is installed, and tokens for one
// repository with the fewest permissions that do. Blocking; any thread, several at a time. Tokens
// live in this object's memory and in what it hands out, nowhere else. Sources: docs.github.com,
// "REST API endpoints for GitHub Apps", "Generating an installation access token".
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "github/api_client.hpp"
#include "github/app_key.hpp"

namespace atlasflow::github {

struct AppIdentity {
  std::int64_t id = 0;
  std::string slug;      // its name in URLs; may be empty
  std::string owner;     // the account's login
  std::string html_url;  // its page
  std::map<std::string, std::string> permissions;
  std::vector<std::string> events;  // that it is told of by webhook
};

// Of GitHub's answer; what is missing there or of another type is empty.
[[nodiscard]] AppIdentity identity_of(const nlohmann::json& json);

struct Installation {
  std::int64_t id = 0;
  std::string account;
  bool suspended = false;
  // Of the repository that it was asked for, when GitHub told it on the way: it has moved.
  std::optional<std::int64_t> repository_id;
};

// What a token is for: the least that GitHub grants, by name, in the order of names.
using Permissions = std::map<std::string, std::string>;
[[nodiscard]] const Permissions& clone_permissions();

// Before it ends a token is replaced so much earlier that a clone which begins with it can end.
inline constexpr std::int64_t k_token_margin_s = std::int64_t{5} * 60;

class AppClient {
 public:
  AppClient(std::int64_t app_id, AppKey key, ApiConfig config);

  // Asks GitHub who the key belongs to. invalid_argument: the id or the key is not right, and
  // which.
  [[nodiscard]] Result<AppIdentity> identity(const std::stop_token& stop);

  // not_found: the App is not installed there, or there is no such repository.
  [[nodiscard]] Result<Installation> installation_of(const RepositoryName& repository,
                                                     const std::stop_token& stop);

  // From memory until shortly before it ends. user_error says what has to be done on GitHub.
  [[nodiscard]] Result<Secret> token_for(const RepositoryName& repository,
                                         const Permissions& permissions,
                                         const std::stop_token& stop);
  // GitHub took the token no more: the next one is minted anew.
  void discard(const Secret& token);

  // Anything that GitHub answers to the App itself, whose JWT goes along.
  [[nodiscard]] Result<ApiResponse> send_as_app(ApiRequest request, const std::stop_token& stop);

  // Anything that GitHub answers to an installation, whose token for the repository goes along;
  // minted anew, once, when GitHub takes it no more. Errors as token_for.
  [[nodiscard]] Result<ApiResponse> send_for(const RepositoryName& repository,
                                             const Permissions& permissions, ApiRequest request,
                                             const std::stop_token& stop);

  [[nodiscard]] std::int64_t app_id() const { return app_id_; }
  [[nodiscard]] const AppKey& key() const { return key_; }
  [[nodiscard]] const Address& address() const { return api_.address(); }
  // As ApiClient's.
  [[nodiscard]] std::int64_t github_now_s() const { return api_.github_now_s(); }

 private:
  struct Cached {
    Secret token;
    std::int64_t renew_at_s = 0;  // by this machine's clock
  };
  struct Whereabouts {
    std::int64_t installation = 0;
    std::optional<std::int64_t> repository_id;
  };
  using CacheKey = std::pair<std::string, Permissions>;

  [[nodiscard]] Result<Whereabouts> whereabouts(const RepositoryName& repository,
                                                const std::stop_token& stop);
  [[nodiscard]] Result<ApiResponse> ask_for_token(const RepositoryName& repository,
                                                  const Permissions& permissions,
                                                  const std::stop_token& stop);
  [[nodiscard]] tl::unexpected<Error> not_installed(const RepositoryName& repository) const;
  [[nodiscard]] tl::unexpected<Error> token_refused(const RepositoryName& repository,
                                                    const ApiResponse& response) const;

  const std::int64_t app_id_;
  const AppKey key_;
  const std::function<std::int64_t()> now_s_;
  ApiClient api_;
  mutable std::mutex mutex_;  // guards what follows; never held during a request
  std::map<CacheKey, Cached> tokens_;
  std::map<std::string, Whereabouts> whereabouts_;  // by "owner/name" in lower case
};

// By its PEM and its GitHub's address for browsers; empty: github.com. invalid_argument says what
// is wrong with them; GitHub is not asked.
[[nodiscard]] Result<std::shared_ptr<AppClient>> make_app_client(std::int64_t app_id,
                                                                 const Secret& private_key,
                                                                 const std::string& base_url);

}  // namespace atlasflow::github
