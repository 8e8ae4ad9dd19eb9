#include "domains/json_object.hpp"

#include "base/json_depth.hpp"

namespace atlasflow::domains {
namespace {

using nlohmann::json;

constexpr int k_depth_max = 32;  // what ACME knows has 4

}  // namespace

json parse_object(std::string_view text) {
  if (nests_deeper_than(text, k_depth_max)) return json(json::value_t::discarded);
  return json::parse(text, nullptr, false);
}

std::string text_of(const json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

}  // namespace atlasflow::domains
