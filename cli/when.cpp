#include "cli/when.hpp"

#include <charconv>
#include <optional>
#include <string>

#include "api/since.hpp"

namespace atlasflow::cli {
namespace {

std::optional<std::uint64_t> whole_number(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return number;
}

}  // namespace

Result<inspect::When> parsed_when(std::string_view text, TimestampUs now) {
  if (text.empty()) return inspect::AtEnd{};
  if (const auto position = whole_number(text)) return Position(*position);
  if (const auto at = text.find('@'); at != std::string_view::npos) {
    if (const auto version = whole_number(text.substr(at + 1)); version && at > 0) {
      return inspect::DeploymentVersion{DeploymentId(std::string(text.substr(0, at))),
                                        StreamVersion(*version)};
    }
  } else {
    const auto since = api::parsed_since(text.starts_with('-') ? text.substr(1) : text, now);
    if (since) return *since;
  }
  return fail(ErrorCode::invalid_argument,
              "'" + std::string(text) +
                  "' is no moment: give a position (4711), a time (2026-01-31T12:00:00Z), how long "
                  "ago (-2h), or a deployment's version (d2ab3456@7)");
}

}  // namespace atlasflow::cli
