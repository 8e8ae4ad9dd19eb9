// Making a GitHub App by a manifest: the page that sends the manifest to GitHub, and the exchange
// of the code that GitHub sends back. Source: docs.github.com, "Registering a GitHub App from a
// manifest". The exchange blocks; the rest is pure. Any thread.
#pragma once

#include <stop_token>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "base/secret.hpp"
#include "github/address.hpp"
#include "github/api_client.hpp"
#include "github/app_client.hpp"

namespace atlasflow::github {

struct ManifestOrder {
  std::string name;         // of the App, on all of GitHub: at most 34 characters
  std::string origin;       // "https://example.com:8443", where this server is reached
  std::string redirect_to;  // below the origin: where GitHub sends the browser back to
  std::string webhook;      // below the origin
};

// The least that Atlasflow needs: to read contents, to write deployments, and to hear of pushes and
// of repositories.
[[nodiscard]] std::string manifest_json(const ManifestOrder& order);

// The page whose button sends it. An empty organization: the App will be the user's own. state
// comes back with the code.
[[nodiscard]] std::string manifest_page(const Address& address, std::string_view organization,
                                        std::string_view state, std::string_view manifest);

// A login name of an organization: letters, digits and single hyphens, at most 39.
[[nodiscard]] bool is_organization(std::string_view name);

struct NewApp {
  AppIdentity identity;
  Secret private_key;  // PEM
  Secret webhook_secret;
};

// Once for each code, within an hour. invalid_argument: GitHub does not know the code (any more).
[[nodiscard]] Result<NewApp> exchange_manifest_code(ApiClient& api, const std::string& code,
                                                    const std::stop_token& stop);

// Text as it is written in HTML, in quotes too.
[[nodiscard]] std::string html_escaped(std::string_view text);

}  // namespace atlasflow::github
