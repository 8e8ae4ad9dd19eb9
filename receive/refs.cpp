#include "receive/refs.hpp"

#include <algorithm>
#include <sstream>
#include <utility>

#include "base/utf8.hpp"

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

Result<RefsSeen> read_refs(const std::filesystem::path& repository, const std::string& only,
                           const GitBounds& bounds, const std::stop_token& stop) {
  GitCall call{.argv = {"git", "for-each-ref", "--format=%(objectname) %(refname)"},
               .environment = {"GIT_DIR=."}};
  if (only.empty()) {
    for (const char* all : {"refs/heads", "refs/tags"}) call.argv.emplace_back(all);
  } else {
    // Git takes it for a folder too; where there is a ref of that name, there is none below it.
    for (const auto& one : {std::string("--count=1"), only}) call.argv.push_back(one);
  }
  ATLAS_TRY(const auto output,
            git_output(repository, std::move(call), bounds, stop, k_output_bytes_max));
  RefsSeen seen;
  std::istringstream lines(output);
  for (std::string line; std::getline(lines, line);) {
    if (line.size() <= k_sha_digits + 1 ||
        !is_sha(std::string_view(line).substr(0, k_sha_digits))) {
      return fail(ErrorCode::internal, "git tells of a ref in words that are not understood", line);
    }
    auto ref = line.substr(k_sha_digits + 1);
    if (!is_utf8(ref)) {
      seen.has_nameless = true;
    } else if (only.empty() || ref == only) {
      seen.refs[std::move(ref)] = line.substr(0, k_sha_digits);
    }
  }
  return seen;
}

std::vector<RefChange> changes_between(const Refs& before, const Refs& after) {
  std::vector<RefChange> changes;
  for (const auto& [ref, sha] : before) {
    const auto now = after.find(ref);
    if (now == after.end()) {
      changes.push_back({ref, sha, std::string(k_no_commit)});
    } else if (now->second != sha) {
      changes.push_back({ref, sha, now->second});
    }
  }
  for (const auto& [ref, sha] : after) {
    if (!before.contains(ref)) changes.push_back({ref, std::string(k_no_commit), sha});
  }
  std::ranges::sort(changes, {}, &RefChange::ref);
  return changes;
}

Result<bool> was_forced(const std::filesystem::path& repository, const RefChange& change,
                        const GitBounds& bounds, const std::stop_token& stop) {
  if (change.before == k_no_commit || change.after == k_no_commit) return false;
  std::string said;
  ATLAS_TRY(const auto outcome,
            run_git(
                repository,
                {.argv = {"git", "merge-base", "--is-ancestor", change.before, change.after},
                 .environment = {"GIT_DIR=."}},
                bounds, stop, [](std::string_view) {}, said));
  constexpr int k_no_such_commit = 128;  // git can't read one of the two
  if (outcome.end == RunOutcome::End::exited &&
      (outcome.exit_code <= 1 || outcome.exit_code == k_no_such_commit)) {
    return outcome.exit_code != 0;
  }
  return fail(ErrorCode::internal, "git can't tell whether a branch was rewound", said);
}

}  // namespace atlasflow::receive
