#include "storage/secrets/repository_access.hpp"

#include <algorithm>

#include "base/ssh_key.hpp"

namespace atlasflow::storage {
namespace {

constexpr std::size_t k_username_bytes_max = 256;
constexpr std::size_t k_password_bytes_max = 16U << 10U;

std::string deploy_key_context(const ProjectState& project) {
  return "deploy-key/" + project.id.str();
}
std::string login_context(const ProjectState& project) { return "login/" + project.id.str(); }

bool is_plain(const std::string& text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

}  // namespace

Result<SetDeployKey> make_deploy_key(SecretStore& secrets, const ProjectState& project) {
  ATLAS_TRY(const auto key, make_ssh_key("atlasflow-" + project.name));
  ATLAS_TRY(auto sealed, secrets.seal(deploy_key_context(project), key.private_key.reveal()));
  return SetDeployKey{key.public_key, key.fingerprint, std::move(sealed.ref)};
}

Result<Secret> open_deploy_key(SecretStore& secrets, const ProjectState& project) {
  ATLAS_TRY(auto text, secrets.open(deploy_key_context(project), project.deploy_key_ref));
  return Secret(std::move(text));
}

Result<SetRepositoryLogin> seal_login(SecretStore& secrets, const ProjectState& project,
                                      const RepositoryLogin& login) {
  if (login.username.empty() || login.username.size() > k_username_bytes_max ||
      !is_plain(login.username) || login.username.find(':') != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                "a login's user name takes 1 to 256 characters on one line, without a colon");
  }
  const auto& password = login.password.reveal();
  if (password.empty() || password.size() > k_password_bytes_max || !is_plain(password)) {
    return fail(ErrorCode::invalid_argument,
                "a login's password or token takes 1 to 16384 bytes on one line");
  }
  // The user too: some hosts take a token in its place. It holds no line break.
  const Secret both(login.username + "\n" + password);
  ATLAS_TRY(auto sealed, secrets.seal(login_context(project), both.reveal()));
  return SetRepositoryLogin{std::move(sealed.ref)};
}

Result<RepositoryLogin> open_login(SecretStore& secrets, const ProjectState& project) {
  ATLAS_TRY(auto text, secrets.open(login_context(project), project.login_ref));
  const Secret both(std::move(text));
  const auto line_end = both.reveal().find('\n');
  if (line_end == std::string::npos) {
    return fail(ErrorCode::corrupt, "the sealed login of the repository is none");
  }
  return RepositoryLogin{both.reveal().substr(0, line_end),
                         Secret(both.reveal().substr(line_end + 1))};
}

}  // namespace atlasflow::storage
