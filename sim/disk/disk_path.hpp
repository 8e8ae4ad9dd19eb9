// Paths on a LossyDisk, as text: there are no links and no "..". Pure functions.
#pragma once

#include <string>
#include <string_view>

namespace atlasflow::sim {

// One slash between names and none at the end: "/a//b/" is "/a/b".
[[nodiscard]] inline std::string normal(std::string_view path) {
  std::string clean;
  clean.reserve(path.size());
  for (const char c : path) {
    if (c != '/' || clean.empty() || clean.back() != '/') clean.push_back(c);
  }
  if (clean.size() > 1 && clean.back() == '/') clean.pop_back();
  return clean;
}

// Of a normal path.
[[nodiscard]] inline std::string parent_of(std::string_view path) {
  const auto slash = path.rfind('/');
  if (slash == std::string_view::npos) return "";
  return std::string(path.substr(0, slash == 0 ? 1 : slash));
}

}  // namespace atlasflow::sim
