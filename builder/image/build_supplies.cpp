// What a build is made of beside the checkout: the stack, and what Dockerfiles use.
#include <system_error>

#include "base/file.hpp"
#include "builder/image/buildah_builder.hpp"
#include "builder/stack/build_secret_id.hpp"
#include "builder/stack/render.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_certificate_bytes_max = 4U << 20U;

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
                                                   const std::string& dockerfile,
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
    if (dockerfile.find("id=" + id + ",") == std::string::npos) continue;
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
    add_secret(k_ca_secret, Secret(*std::move(certificate)));
  }
  std::error_code error;
  if (stack.needs_static_server) {
    const fs::path folder = scratch / k_static_server_context;
    fs::create_directory(folder, error);
    fs::copy_file(config_.static_server, folder / k_static_server_program, error);
    if (error) {
      return fail(ErrorCode::unavailable,
                  "the static server is not readable at " + config_.static_server.string() +
                      "; builder.static_server names it",
                  error.message());
    }
    arguments.insert(arguments.end(),
                     {"--build-context", std::string(k_static_server_context) + "=/mnt/scratch/" +
                                             k_static_server_context});
  }
  return supplies;
}

}  // namespace atlasflow::builder
