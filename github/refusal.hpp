// What is made of GitHub's answers to whoever writes: internal to github/. Pure, any thread.
#pragma once

#include <cstdint>
#include <string>

#include <nlohmann/json.hpp>

#include "base/error.hpp"
#include "github/api_client.hpp"

namespace atlasflow::github {

// A permission as the App's settings name it, and what it allows: "write deployments of".
struct Grant {
  std::string allows;
  std::string name;
};

// Of an answer that is no success, and no trouble of GitHub's own. user_error: it refuses `what`,
// and why; unavailable: it is none that GitHub documents.
[[nodiscard]] tl::unexpected<Error> refusal(const Grant& grant, const std::string& what,
                                            const RepositoryName& repository,
                                            const ApiResponse& response);

// The member "id" of an object; 0: there is none.
[[nodiscard]] std::int64_t id_in(const nlohmann::json& json);

}  // namespace atlasflow::github
