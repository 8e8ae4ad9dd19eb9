// What GitHub tells an App beside pushes: where it is installed, and what became of repositories.
// Pure, any thread. Source: docs.github.com, "Webhook events and payloads"; pushes are read in
// api/push_payload.hpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "github/address.hpp"

namespace atlasflow::github {

// The App came to an account, went, or changed there (event "installation").
struct InstallationChanged {
  enum class Kind : std::uint8_t { created, removed, suspended, resumed, permitted };
  Kind kind = Kind::created;
  std::int64_t installation = 0;
  std::string account;
};

[[nodiscard]] std::string_view name_of(InstallationChanged::Kind kind);

// Repositories were added to an installation or taken out of it ("installation_repositories").
struct InstallationRepositories {
  std::int64_t installation = 0;
  std::string account;
  std::vector<RepositoryName> added;
  std::vector<RepositoryName> removed;
};

// It has another name or owner ("repository": renamed, transferred); its id stays.
struct RepositoryMoved {
  std::int64_t id = 0;
  RepositoryName from;
  RepositoryName to;
};

struct RepositoryDeleted {
  std::int64_t id = 0;
  RepositoryName repository;
};

// Nothing follows from it here.
struct Ignored {
  std::string reason;
};

using Delivery = std::variant<InstallationChanged, InstallationRepositories, RepositoryMoved,
                              RepositoryDeleted, Ignored>;

// event: X-GitHub-Event, any but ping and push. invalid_argument names the member that is wrong;
// events and actions that are not known are ignored, as GitHub adds some every year.
[[nodiscard]] Result<Delivery> read_delivery(std::string_view event, const nlohmann::json& payload);

}  // namespace atlasflow::github
