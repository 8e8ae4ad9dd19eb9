#include "api/router.hpp"

#include <optional>

#include "api/url.hpp"
#include "base/assert.hpp"

namespace atlasflow::api {
namespace {

// "/a/b" → {"a", "b"}; "/a/" → {"a", ""}, which matches no pattern.
std::vector<std::string_view> segments_of(std::string_view path) {
  std::vector<std::string_view> segments;
  while (path.starts_with('/')) {
    path.remove_prefix(1);
    const auto end = std::min(path.find('/'), path.size());
    segments.push_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return segments;
}

// The parameters when the path fits the pattern.
std::optional<std::map<std::string, std::string>> fitted(const std::vector<std::string>& pattern,
                                                         const std::vector<std::string>& path) {
  if (pattern.size() != path.size()) return std::nullopt;
  std::map<std::string, std::string> parameters;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i].starts_with(':')) {
      if (path[i].empty()) return std::nullopt;
      parameters[pattern[i].substr(1)] = path[i];
    } else if (pattern[i] != path[i]) {
      return std::nullopt;
    }
  }
  return parameters;
}

}  // namespace

void Router::add(Route route) {
  ATLAS_ASSERT(route.handler != nullptr, route.pattern);
  std::vector<std::string> segments;
  for (const auto segment : segments_of(route.pattern)) segments.emplace_back(segment);
  entries_.push_back({std::move(route), std::move(segments)});
}

std::variant<RouteMatch, Response> Router::match(std::string_view method,
                                                 std::string_view path) const {
  std::vector<std::string> segments;
  for (const auto segment : segments_of(path)) {
    auto decoded = percent_decoded(segment, PlusSign::literal);
    if (!decoded || decoded->find('\0') != std::string::npos) {
      return error_response(400, ErrorCode::invalid_argument,
                            "The path is not well percent-encoded.");
    }
    segments.push_back(*std::move(decoded));
  }
  std::string allowed;
  for (const auto& entry : entries_) {
    auto parameters = fitted(entry.segments, segments);
    if (!parameters) continue;
    const auto& own = entry.route.method;
    if (own == method || (own == "GET" && method == "HEAD")) {
      return RouteMatch{&entry.route, *std::move(parameters)};
    }
    allowed += (allowed.empty() ? "" : ", ") + own + (own == "GET" ? ", HEAD" : "");
  }
  if (allowed.empty()) {
    return error_response(404, ErrorCode::not_found,
                          "Nothing is served under this path; docs/api.md lists what is.");
  }
  auto response =
      error_response(405, ErrorCode::invalid_argument, "This path takes only " + allowed + ".");
  response.fields.emplace_back("Allow", allowed);
  return response;
}

}  // namespace atlasflow::api
