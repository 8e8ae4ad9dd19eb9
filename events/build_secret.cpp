#include "events/build_secret.hpp"

#include <algorithm>

namespace atlasflow {

Result<void> validate_build_secret_name(const std::string& name) {
  const auto is_word = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  };
  const bool is_name = !name.empty() && name.size() <= k_build_secret_name_bytes_max &&
                       is_word(name.front()) && std::all_of(name.begin(), name.end(), [&](char c) {
                         return is_word(c) || c == '.' || c == '-';
                       });
  // A name that is none is not repeated: it may be the value, typed at the wrong place.
  if (!is_name) {
    return fail(ErrorCode::invalid_argument,
                "a build secret's name takes 1 to 128 of letters, digits, '_', '.' and '-', such "
                "as NPM_TOKEN; its value is read from standard input");
  }
  if (name.starts_with(k_own_secret_prefix)) {
    return fail(ErrorCode::invalid_argument, "'" + name + "' begins with '" +
                                                 std::string(k_own_secret_prefix) +
                                                 "', as Atlasflow's own do; choose another name");
  }
  return {};
}

Result<void> validate_build_secret_value(const std::string& name, const std::string& value) {
  if (value.empty()) {
    return fail(ErrorCode::invalid_argument, "The value of " + name + " is empty.");
  }
  if (value.size() > k_build_secret_bytes_max) {
    return fail(ErrorCode::too_large,
                "The value of " + name + " is too large: a build secret may have 128 KiB.");
  }
  return {};
}

}  // namespace atlasflow
