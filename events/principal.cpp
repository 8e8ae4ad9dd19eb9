#include "events/principal.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace atlasflow {
namespace {

constexpr std::size_t k_name_bytes_max = 64;

bool is_name(std::string_view text) {
  return !text.empty() && text.size() <= k_name_bytes_max && std::ranges::all_of(text, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

std::string_view text_of(Principal::Kind kind) {
  switch (kind) {
    case Principal::Kind::user:
      return "user";
    case Principal::Kind::webhook:
      return "webhook";
    case Principal::Kind::system:
      break;
  }
  return "system";
}

}  // namespace

Principal Principal::webhook(std::string_view sender) {
  ATLAS_ASSERT(is_name(sender), "a webhook's sender has a name that its text can hold");
  return {Kind::webhook, std::string(sender)};
}

Principal Principal::system(std::string_view part) {
  ATLAS_ASSERT(is_name(part), "a part of the system has a name that its text can hold");
  return {Kind::system, std::string(part)};
}

std::string Principal::str() const {
  std::string text(text_of(kind_));
  return name_.empty() ? text : text + ":" + name_;
}

Result<Principal> Principal::parsed(std::string_view text) {
  const auto colon = text.find(':');
  const auto kind = text.substr(0, colon);
  const auto name = colon == std::string_view::npos ? std::string_view() : text.substr(colon + 1);
  const bool named = colon != std::string_view::npos;
  if (kind == "user" && !named) return user();
  if (kind == "webhook" && is_name(name)) return webhook(name);
  if (kind == "system" && !named) return Principal();
  if (kind == "system" && is_name(name)) return system(name);
  return fail(ErrorCode::invalid_argument,
              "'" + std::string(text.substr(0, 80)) +
                  "' says not who: write user, webhook:NAME, system or system:PART");
}

}  // namespace atlasflow
