#include "github/jwt.hpp"

#include <string>

#include "base/base64.hpp"

namespace atlasflow::github {

Secret signed_jwt(std::string_view header, std::string_view claims, const AppKey& key) {
  auto text = base64url(header) + "." + base64url(claims);
  text += "." + base64url(key.sign(text));
  return Secret(std::move(text));
}

Secret app_jwt(std::int64_t app_id, const AppKey& key, std::int64_t now_s) {
  // GitHub takes an id as text as well as as a number; its libraries send text.
  const auto claims = "{\"iat\":" + std::to_string(now_s - k_jwt_backdated_s) +
                      ",\"exp\":" + std::to_string(now_s + k_jwt_life_s) + ",\"iss\":\"" +
                      std::to_string(app_id) + "\"}";
  return signed_jwt(R"({"alg":"RS256","typ":"JWT"})", claims, key);
}

}  // namespace atlasflow::github
