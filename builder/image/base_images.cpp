// Which images a build starts from, and how they get into the store that all builds read: by name,
// before the build and outside of its sandbox.
#include <algorithm>

#include "builder/image/build_failure.hpp"
#include "builder/image/buildah_builder.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_pull_deadline{5 * 60 * 1000};

}  // namespace

Result<std::string> BuildahBuilder::choose_base(const std::vector<std::string>& candidates,
                                                const std::set<std::string>& present) const {
  if (candidates.empty()) {
    return fail(ErrorCode::invalid_argument,
                "the configuration names no base image for this stack");
  }
  const auto found =
      std::find_if(candidates.begin(), candidates.end(),
                   [&present](const std::string& name) { return present.contains(name); });
  return found == candidates.end() ? candidates.front() : *found;
}

Result<void> BuildahBuilder::pull(const std::vector<std::string>& names, const fs::path& scratch,
                                  BuildLog& log, Clock::time_point until,
                                  const std::stop_token& stop) const {
  for (const std::string& name : names) {
    if (name.starts_with("localhost/")) {
      return tl::unexpected(pull_failure(name, {}));
    }
    log.heading("Pulling " + name);
    Buildah::Call call;
    call.arguments = {"pull", "--signature-policy", k_policy_file, "--policy", "missing", "--quiet",
                      name};
    call.store = &bases_;
    call.scratch = scratch;
    // The name is the repository's to choose, so this is no way to ask this machine's network.
    call.network = SandboxNetwork::internet;
    call.deadline =
        std::min(std::chrono::duration_cast<milliseconds>(until - Clock::now()), k_pull_deadline);
    call.stop = stop;
    std::string output;
    auto ran = buildah_.run(call, [&](std::string_view text) {
      log.output(text);
      if (output.size() < (1U << 20U)) output += text;
    });
    if (!ran) return tl::unexpected(ran.error());
    if (ran->end == RunOutcome::End::cancelled) return tl::unexpected(stopped(ran->end));
    if (ran->end == RunOutcome::End::timed_out) {
      return fail(ErrorCode::unavailable, "pulling the base image " + name + " took too long");
    }
    if (ran->exit_code != 0) return tl::unexpected(pull_failure(name, output));
  }
  return {};
}

}  // namespace atlasflow::builder
