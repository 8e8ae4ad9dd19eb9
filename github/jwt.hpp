// How a GitHub App proves to be itself: a JSON Web Token (RFC 7519) signed by RS256 (RFC 7515).
// Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App". Pure, any thread.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/secret.hpp"
#include "github/app_key.hpp"

namespace atlasflow::github {

// GitHub refuses an `iat` of the future and an `exp` more than ten minutes ahead, by its own clock:
// a minute is left to ours on either side.
inline constexpr std::int64_t k_jwt_backdated_s = 60;
inline constexpr std::int64_t k_jwt_life_s = std::int64_t{9} * 60;

// now_s: since 1970, as GitHub's clock has it.
[[nodiscard]] Secret app_jwt(std::int64_t app_id, const AppKey& key, std::int64_t now_s);

// header.claims.signature of any claims.
[[nodiscard]] Secret signed_jwt(std::string_view header, std::string_view claims,
                                const AppKey& key);

}  // namespace atlasflow::github
