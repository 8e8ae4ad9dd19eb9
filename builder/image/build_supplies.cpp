// What a build is made of beside the checkout: the stack, and what Dockerfiles use.
#include <system_error>

#include "base/digest.hpp"
#include "base/file.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/stack/build_secret_id.hpp"
#include "builder/stack/dockerfile_parents.hpp"
#include "builder/stack/render.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_certificate_bytes_max = 4U << 20U;
constexpr std::size_t k_program_bytes_max = 64U << 20U;
constexpr std::string_view k_inputs_format = "2";  // another one, and nothing of before is reused

}  // namespace

Result<Stack> BuildahBuilder::find_stack(const BuildRequest& request, const fs::path& root,
                                         const StackBases& bases) const {
  const FolderTree repository(request.folder);
  StackChoice choice;
  choice.root_folder = request.root_folder;
  choice.dockerfile = request.dockerfile;
  choice.repository = &repository;
  choice.static_folder = request.static_folder;
  choice.static_fallback = request.static_fallback;
  choice.install_command = request.install_command;
  choice.build_command = request.build_command;
  choice.start_command = request.start_command;
  choice.has_ca_certificate = !config_.ca_certificate.empty();
  for (const auto& [name, value] : request.build_args) choice.build_args.push_back(name);
  choice.secrets = secret_ids(request.secrets);
  return detect_stack(root, bases, choice);
}

Result<BuildSupplies> BuildahBuilder::put_supplies(const BuildRequest& request, const Stack& stack,
                                                   const DockerfilePlan& plan,
                                                   const fs::path& scratch) const {
  BuildSupplies supplies;
  auto& arguments = supplies.arguments;
  // A file for each, whose name is not the id: that may be longer than a file's name.
  const auto add_secret = [&](const std::string& id, Secret content) {
    const auto name = std::to_string(supplies.secrets.size());
    arguments.insert(arguments.end(),
                     {"--secret", "id=" + id + ",src=" + k_secrets_folder + "/" + name});
    supplies.secrets.push_back({name, std::move(content)});
  };
  for (const auto& secret : request.secrets) {
    // No step can name one that its text does not hold: the id has the value's digest in it.
    const auto id = secret_id(secret.name, secret.digest);
    if (plan.text.find("id=" + id + ",") == std::string::npos) continue;
    add_secret(id, secret.value);
    supplies.used.push_back({secret.name, secret.digest});
  }
  for (const auto& [id, content] : stack.secrets) add_secret(id, Secret(content));
  const bool is_generated = stack.name != "dockerfile";
  if (is_generated && !config_.ca_certificate.empty()) {
    auto certificate = read_file(config_.ca_certificate, k_certificate_bytes_max);
    if (!certificate) {
      return fail(ErrorCode::unavailable,
                  "the certificate of builder.ca_certificate cannot be read: " +
                      config_.ca_certificate.string(),
                  to_string(certificate.error()));
    }
    supplies.digest += "ca " + sha256_hex(*certificate) + "\n";
    add_secret(k_ca_secret, Secret(*std::move(certificate)));
  }
  // A program of ours, in a build context of its own.
  const auto add_program = [&](const fs::path& program, const std::string& context,
                               const char* name, const std::string& what) -> Result<void> {
    std::error_code error;
    fs::create_directory(scratch / context, error);
    fs::copy_file(program, scratch / context / name, error);
    if (error) {
      return fail(ErrorCode::unavailable, what + " is not readable at " + program.string(),
                  error.message());
    }
    ATLAS_TRY(const auto bytes, read_file(scratch / context / name, k_program_bytes_max));
    supplies.digest += context + " " + sha256_hex(bytes) + "\n";
    arguments.insert(arguments.end(), {"--build-context", context + "=/mnt/scratch/" + context});
    return {};
  };
  if (stack.needs_static_server) {
    ATLAS_TRYV(add_program(config_.static_server, k_static_server_context, k_static_server_program,
                           "the static server, which builder.static_server names,"));
  }
  for (const auto& part : plan.parts) {
    arguments.insert(arguments.end(), {"--build-context", part + "=/mnt/context"});
  }
  if (plan.copies_parents) {
    ATLAS_TRYV(add_program(config_.copy_parents, k_copy_parents_context, k_copy_parents_program,
                           "the program that does COPY --parents"));
  }
  return supplies;
}

// The plan's text has most of it: what is detected and set becomes a Dockerfile, with the digests
// of the secrets that its steps mount. The network is none of it: neither does the layer cache
// know what a step downloads.
std::string inputs_of(const Workshop& workshop, const BuildRequest& request,
                      const PreparedStack& prepared, const std::vector<UsedBase>& bases,
                      const BuildSupplies& supplies, const std::string& context) {
  // A base that is not in the store of base images is not known by its digest.
  const bool is_known = !request.source.empty() && !prepared.plan.adds_remote_files &&
                        bases.size() == prepared.plan.images.size();
  if (!is_known) return {};
  std::string all;
  const auto add = [&all](std::string_view name, std::string_view value) {
    // The length first, so that no value can look like the beginning of the next.
    all.append(name).append(" ").append(std::to_string(value.size())).append(" ").append(value);
    all += '\n';
  };
  add("format", k_inputs_format);
  add("toolchain", workshop.toolchain);
  add("isolation", workshop.isolation);
  // Steps that lack it may have gone on without what they would have fetched.
  add("network", workshop.has_network ? "internet" : "none");
  add("source", request.source);
  add("context", context);
  add("dockerfile", prepared.plan.text);
  add("target", prepared.plan.target);
  add("ignore", prepared.stack.ignore);
  for (const auto& [name, value] : request.build_args) {
    add("argument", name);
    add("value", value);
  }
  for (const auto& base : bases) add("base", base.name + "@" + base.digest);
  add("supplies", supplies.digest);
  return sha256_hex(all);
}

}  // namespace atlasflow::builder
