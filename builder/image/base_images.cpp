// Which images a build starts from, and how they get into the store that all builds read: by name,
// before the build and outside of its sandbox.
#include <algorithm>

#include "builder/image/build_failure.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/stack/dockerfile_lines.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_pull_deadline{5 * 60 * 1000};

// A word alone may have been meant as a stage: "build" where there is a "builder".
std::string hint_of_stages(std::string_view image, const std::vector<std::string>& stages) {
  constexpr std::string_view k_library = "docker.io/library/";
  constexpr std::string_view k_latest = ":latest";
  if (!image.starts_with(k_library) || !image.ends_with(k_latest)) return "";
  std::string names;
  for (const auto& stage : stages) {
    if (whole_number(stage)) continue;
    names += (names.empty() ? "" : ", ") + stage;
  }
  image.remove_prefix(k_library.size());
  image.remove_suffix(k_latest.size());
  return names.empty()
             ? ""
             : "; if " + std::string(image) + " was meant to be a stage, there are only " + names;
}

bool has_name(const ImageStore::Image& image, const std::string& name) {
  return std::find(image.names.begin(), image.names.end(), name) != image.names.end();
}

}  // namespace

Result<void> BuildahBuilder::pull(const std::string& name, const fs::path& scratch, BuildLog& log,
                                  Clock::time_point until, const std::stop_token& stop) const {
  if (name.starts_with("localhost/")) return tl::unexpected(pull_failure(name, {}));
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
  ATLAS_TRY(auto ran, buildah_.run(call, [&](std::string_view text) {
    log.output(text);
    if (output.size() < (1U << 20U)) output += text;
  }));
  if (ran.end == RunOutcome::End::cancelled) return tl::unexpected(stopped(ran.end));
  if (ran.end == RunOutcome::End::timed_out) {
    return fail(ErrorCode::unavailable, "pulling the base image " + name + " took too long");
  }
  if (ran.exit_code != 0) return tl::unexpected(pull_failure(name, output));
  for (const auto& image : bases_.images()) {
    if (!has_name(image, name)) continue;
    if (auto noted = bases_.note_pulled(image.id); !noted) return noted;
  }
  return {};
}

Result<void> BuildahBuilder::pull_absent(const Stack& stack, const DockerfilePlan& plan,
                                         const fs::path& scratch, BuildLog& log,
                                         Clock::time_point until,
                                         const std::stop_token& stop) const {
  const auto present = bases_.image_names();
  for (const Stated& image : plan.images) {
    if (present.contains(image.value)) continue;
    auto pulled = pull(image.value, scratch, log, until, stop);
    if (pulled) continue;
    Error error = std::move(pulled.error());
    const bool is_about_it =
        error.code == ErrorCode::unavailable || error.code == ErrorCode::user_error;
    if (is_about_it && image.line > 0) {
      error.message = stack.dockerfile_name + ", line " + std::to_string(image.line) + ": " +
                      error.message + hint_of_stages(image.value, plan.stages);
    }
    // There is a base here; it is the app that asks for another.
    if (!stack.unmet.empty() && !stack.has_fallback && error.code == ErrorCode::unavailable) {
      return fail(ErrorCode::user_error,
                  stack.unmet + "; " + error.message +
                      ". Ask for less, or add a Dockerfile that starts from an image with it",
                  error.cause);
    }
    return tl::unexpected(std::move(error));
  }
  return {};
}

std::vector<UsedBase> BuildahBuilder::note_used_bases(const std::vector<Stated>& names) const {
  std::vector<UsedBase> used;
  const auto images = bases_.images();
  for (const auto& name : names) {
    for (const auto& image : images) {
      if (!has_name(image, name.value)) continue;
      bases_.note_used(image.id);
      used.push_back({name.value, image.digest});
    }
  }
  return used;
}

}  // namespace atlasflow::builder
