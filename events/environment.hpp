// A project's environments: "production", "preview/<branch>" for every other branch that is
// deployed, and "pull/<number>" for every pull request that is. Pure.
#pragma once

#include <cstdint>
#include <string>

namespace atlasflow {

inline constexpr const char* k_production = "production";

[[nodiscard]] std::string preview_environment(const std::string& branch);
[[nodiscard]] std::string pull_request_environment(std::int64_t number);
// Of a branch or of a pull request.
[[nodiscard]] bool is_preview(const std::string& environment);
// The branch of a branch's preview; empty of any other.
[[nodiscard]] std::string branch_of(const std::string& environment);
// The number of a pull request's preview; 0 of any other.
[[nodiscard]] std::int64_t pull_request_of(const std::string& environment);

// GitHub counts issues and pull requests in 32 bits.
inline constexpr std::int64_t k_pull_request_max = 2'147'483'647;

// The hostname label of a preview, at most 63 bytes. Of a pull request: "pr-<number>-<project>",
// which no project may be named like. Of a branch: "<branch>--<project>" (RFC 1035 section
// 2.3.4). A branch that had to be changed to fit ("feature/Über") gets a short hash of its name, so
// that two branches never share a label. No project's name has two hyphens in a row, so no
// project's own hostname is one of these.
[[nodiscard]] std::string preview_label(const std::string& environment, const std::string& project);

// Whether a project's name looks like the hostname label of a pull request.
[[nodiscard]] bool is_pull_request_label(const std::string& name);

}  // namespace atlasflow
