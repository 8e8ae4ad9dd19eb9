// From a project's store into the registry.
#include <algorithm>

#include <nlohmann/json.hpp>

#include "base/http_client.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr milliseconds k_push_deadline{10 * 60 * 1000};
constexpr milliseconds k_registry_deadline{10 * 1000};
constexpr std::size_t k_digest_file_bytes_max = 4096;
constexpr const char* k_manifest_types =
    "application/vnd.oci.image.manifest.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json";

}  // namespace

Result<std::uint64_t> BuildahBuilder::size_of(const std::string& registry,
                                              const std::string& repository,
                                              const std::string& digest) const {
  const std::string url = (config_.registry_plain_http ? "http://" : "https://") + registry +
                          "/v2/" + repository + "/manifests/" + digest;
  ATLAS_TRY(const auto answer, send_http({.url = url,
                                          .fields = {{"Accept", k_manifest_types}},
                                          .timeout = k_registry_deadline}));
  const auto manifest = nlohmann::json::parse(answer.body, nullptr, false);
  if (answer.status != 200 || !manifest.is_object()) {
    return fail(ErrorCode::unavailable,
                "the registry does not have the image that was pushed to it",
                "HTTP " + std::to_string(answer.status));
  }
  try {
    std::uint64_t size = manifest.at("config").at("size").get<std::uint64_t>();
    for (const auto& layer : manifest.at("layers")) size += layer.at("size").get<std::uint64_t>();
    return size;
  } catch (const nlohmann::json::exception& error) {
    return fail(ErrorCode::internal, "the registry's manifest cannot be read", error.what());
  }
}

Result<PushedImage> BuildahBuilder::push(const std::string& image_id, const std::string& registry,
                                         const std::string& repository, std::stop_token stop) {
  const std::string hex = image_hex(image_id);
  if (hex.size() != 64 || hex.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return fail(ErrorCode::invalid_argument, "an image id is sha256: and 64 hex digits");
  }
  if (!is_project_name(repository) || registry.empty()) {
    return fail(ErrorCode::invalid_argument,
                "'" + repository + "' cannot be the name of a repository");
  }
  const std::shared_lock in_store(stores_);
  const std::string name = "push." + std::to_string(calls_.fetch_add(1));
  ATLAS_TRY(auto scratch, make_scratch(name));
  const ImageStore store = store_of(repository);
  Buildah::Call call;
  // In OCI's format whatever it was built in: Docker's knows no zstd, and what it has beside
  // (SHELL, ONBUILD, HEALTHCHECK) is for builds, which start from the store.
  // zstd at its fastest: a tenth of gzip's time for the same size, and the time is in every first
  // push. The tag keeps the registry's garbage collection off; it names the content, so pushing
  // twice is the same.
  call.arguments = {"push",
                    "--signature-policy",
                    k_policy_file,
                    "--quiet",
                    "--format",
                    "oci",
                    "--compression-format",
                    "zstd",
                    "--compression-level",
                    "1",
                    "--digestfile",
                    "/mnt/scratch/digest",
                    std::string("--tls-verify=") + (config_.registry_plain_http ? "false" : "true"),
                    hex,
                    "docker://" + registry + "/" + repository + ":" + hex};
  call.store = &store;
  call.bases = &bases_;
  call.scratch = scratch;
  call.network = SandboxNetwork::host;
  call.deadline = k_push_deadline;
  call.stop = stop;
  std::string output;
  auto ran = buildah_.run(call, [&output](std::string_view text) {
    if (output.size() < (1U << 20U)) output += text;
  });
  auto digest_file = read_source_file(scratch, "digest", k_digest_file_bytes_max);
  std::error_code ignored;
  fs::remove_all(scratch, ignored);
  if (!ran) return tl::unexpected(ran.error());
  if (ran->end == RunOutcome::End::cancelled) {
    return fail(ErrorCode::cancelled, "the push of the image was stopped");
  }
  if (ran->end == RunOutcome::End::timed_out) {
    return fail(ErrorCode::timed_out, "the push of the image to " + registry + " took too long");
  }
  if (ran->exit_code != 0) {
    if (output.find("image not known") != std::string::npos) {
      return fail(ErrorCode::not_found,
                  "image " + hex.substr(0, 12) + " is not in the local store; build again");
    }
    return fail(ErrorCode::unavailable,
                "the image could not be pushed to " + registry + "/" + repository,
                output.substr(output.size() - std::min<std::size_t>(output.size(), 400)));
  }
  if (!digest_file || !*digest_file || !(*digest_file)->starts_with("sha256:") ||
      (*digest_file)->size() < 71) {
    return fail(ErrorCode::internal, "buildah did not say which digest it pushed");
  }
  PushedImage pushed;
  pushed.digest = (*digest_file)->substr(0, 71);
  pushed.reference = registry + "/" + repository + "@" + pushed.digest;
  ATLAS_TRY(auto size, size_of(registry, repository, pushed.digest));
  pushed.size_bytes = size;
  return pushed;
}

}  // namespace atlasflow::builder
