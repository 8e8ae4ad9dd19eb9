// What a build is made of beside the checkout: the stack, and what generated Dockerfiles use.
#include <system_error>

#include "builder/image/buildah_builder.hpp"
#include "builder/stack/render.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

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
  return detect_stack(root, bases, choice);
}

Result<BuildSupplies> BuildahBuilder::put_supplies(const Stack& stack,
                                                   const fs::path& scratch) const {
  BuildSupplies supplies;
  auto& arguments = supplies.arguments;
  const auto add_secret = [&](const std::string& id) {
    arguments.insert(arguments.end(), {"--secret", "id=" + id + ",src=/mnt/scratch/secret." + id});
  };
  std::error_code error;
  for (const auto& [id, content] : stack.secrets) {
    ATLAS_TRYV(write_text(scratch / ("secret." + id), content));
    add_secret(id);
  }
  if (!config_.ca_certificate.empty()) {
    fs::copy_file(config_.ca_certificate, scratch / (std::string("secret.") + k_ca_secret), error);
    if (error) {
      return fail(ErrorCode::unavailable,
                  "the certificate of builder.ca_certificate cannot be read: " +
                      config_.ca_certificate.string(),
                  error.message());
    }
    add_secret(k_ca_secret);
  }
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
