#include "receive/refs.hpp"

#include <algorithm>
#include <sstream>

namespace atlasflow::receive {
namespace {

constexpr std::size_t k_output_bytes_max = 4U << 20U;
constexpr std::size_t k_sha_digits = 40;

bool is_sha(std::string_view text) {
  return text.size() == k_sha_digits && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace

Result<Refs> read_refs(const std::filesystem::path& repository, const GitBounds& bounds,
                       const std::stop_token& stop) {
  ATLAS_TRY(const auto output,
            git_output(repository,
                       {.argv = {"git", "for-each-ref", "--format=%(objectname) %(refname)",
                                 "refs/heads", "refs/tags"},
                        .environment = {"GIT_DIR=."}},
                       bounds, stop, k_output_bytes_max));
  Refs refs;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() <= k_sha_digits + 1 ||
        !is_sha(std::string_view(line).substr(0, k_sha_digits))) {
      return fail(ErrorCode::internal, "git tells of a ref in words that are not understood", line);
    }
    refs[line.substr(k_sha_digits + 1)] = line.substr(0, k_sha_digits);
  }
  return refs;
}

std::vector<RefChange> changes_between(const Refs& before, const Refs& after) {
  std::vector<RefChange> changes;
  for (const auto& [ref, sha] : before) {
    const auto now = after.find(ref);
    if (now == after.end()) {
      changes.push_back({ref, sha, k_zeros});
    } else if (now->second != sha) {
      changes.push_back({ref, sha, now->second});
    }
  }
  for (const auto& [ref, sha] : after) {
    if (!before.contains(ref)) changes.push_back({ref, k_zeros, sha});
  }
  std::ranges::sort(changes, {}, &RefChange::ref);
  return changes;
}

Result<bool> was_forced(const std::filesystem::path& repository, const RefChange& change,
                        const GitBounds& bounds, const std::stop_token& stop) {
  if (change.before == k_zeros || change.after == k_zeros) return false;
  std::string said;
  ATLAS_TRY(const auto outcome,
            run_git(
                repository,
                {.argv = {"git", "merge-base", "--is-ancestor", change.before, change.after},
                 .environment = {"GIT_DIR=."}},
                bounds, stop, [](std::string_view) {}, said));
  if (outcome.end == RunOutcome::End::exited && outcome.exit_code <= 1) {
    return outcome.exit_code == 1;
  }
  return fail(ErrorCode::internal, "git can't tell whether a branch was rewound", said);
}

}  // namespace atlasflow::receive
