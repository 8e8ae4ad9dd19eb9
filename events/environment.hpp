// A project's environments: "production", and "preview/<branch>" for every other branch that is
// deployed. Pure.
#pragma once

#include <string>

namespace atlasflow {

inline constexpr const char* k_production = "production";

[[nodiscard]] std::string preview_environment(const std::string& branch);
[[nodiscard]] bool is_preview(const std::string& environment);
// The branch of a preview's environment.
[[nodiscard]] std::string branch_of(const std::string& environment);

// The hostname label of a preview, "<branch>--<project>", at most 63 bytes (RFC 1035 section
// 2.3.4). A branch that had to be changed to fit ("feature/Über") gets a short hash of its name, so
// that two branches never share a label. No project's name has two hyphens in a row, so no
// project's own hostname is one of these.
[[nodiscard]] std::string preview_label(const std::string& environment, const std::string& project);

}  // namespace atlasflow
