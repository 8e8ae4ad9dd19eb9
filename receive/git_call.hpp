// One run of git over a repository that strangers push to. It sees that repository, the machine's
// programs and settings, and nothing where people keep files: namespaces and a user of its own, no
// network, limits on memory, processes, files and time, and no configuration, hook or environment
// but what stands here. Where this process is not root it runs as this process's user, with the
// limits alone. Blocking; any thread; one call at a time per repository.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "base/error.hpp"
#include "base/process.hpp"

namespace atlasflow::receive {

// Whose the repositories are; neither a build's nor a VM's.
inline constexpr uid_t k_git_uid = 1'800'000'000;

struct GitBounds {
  std::uint64_t pack_bytes_max = 1ULL << 30;        // of what one push sends
  std::uint64_t repository_bytes_max = 4ULL << 30;  // of one file, and of a repository that takes
                                                    // more pushes
  std::int64_t memory_mib = 1024;
  std::int64_t processes = 64;
  std::chrono::milliseconds deadline{10 * 60 * 1000};
};

struct GitCall {
  std::vector<std::string> argv;         // "git" or "git-http-backend" first
  std::vector<std::string> environment;  // beside what every call has
  int input = -1;                        // -1: /dev/null
};

// unavailable: it can't be run, and what is missing. on_output gets its standard output; `said` the
// end of what it wrote to standard error, for the log.
[[nodiscard]] Result<RunOutcome> run_git(const std::filesystem::path& repository, GitCall call,
                                         const GitBounds& bounds, const std::stop_token& stop,
                                         const OutputTaker& on_output, std::string& said);

// The same for a call that must end with 0, whose output is at most that long.
[[nodiscard]] Result<std::string> git_output(const std::filesystem::path& repository, GitCall call,
                                             const GitBounds& bounds, const std::stop_token& stop,
                                             std::size_t bytes_max);

// Where the repository is as the call sees it: what GIT_PROJECT_ROOT has to be.
[[nodiscard]] std::string seen_path(const std::filesystem::path& repository);

// Gives the repository to the user that git runs as here, with all that is in it.
[[nodiscard]] Result<void> own_repository(const std::filesystem::path& repository);

// Ends what calls of a process that is gone have left: groups of processes that nobody waits for.
void end_abandoned_calls();

}  // namespace atlasflow::receive
