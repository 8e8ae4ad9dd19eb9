#include "actors/projects/sealed_env.hpp"

#include <map>
#include <numeric>

#include "events/build_secret.hpp"
#include "events/settings.hpp"

namespace atlasflow::actors {
namespace {

Result<void> check_env_size(const ProjectState& project,
                            const std::vector<std::pair<std::string, std::string>>& entries,
                            storage::SecretStore& secrets) {
  std::map<std::string, std::size_t> sizes;
  for (const auto& [name, entry] : project.env) {
    // One that does not open counts for nothing: it is to be set again.
    const auto value = secrets.open(project.id.str() + "/" + name, entry.sealed_ref);
    sizes[name] = env_entry_bytes(name, value ? *value : "");
  }
  for (const auto& [name, value] : entries) {
    if (auto valid = validate_env_value(name, value); !valid) return valid;
    sizes[name] = env_entry_bytes(name, value);
  }
  const auto total =
      std::accumulate(sizes.begin(), sizes.end(), std::size_t{0},
                      [](std::size_t sum, const auto& item) { return sum + item.second; });
  if (total <= k_env_bytes_max) return {};
  return fail(ErrorCode::too_large,
              "the variables of " + project.name + " would take " + std::to_string(total) +
                  " bytes and may take 262144 (256 KiB) together; unset some, or put large values "
                  "into a file of the image or a store of your own");
}

// What is there and is not set anew, and what is.
Result<void> check_secrets_size(const ProjectState& project,
                                const std::vector<std::pair<std::string, std::string>>& entries,
                                storage::SecretStore& secrets) {
  std::map<std::string, std::size_t> sizes;
  for (const auto& [name, entry] : project.build_secrets) {
    const auto value = secrets.open(build_secret_context(project.id.str(), name), entry.sealed_ref);
    sizes[name] = name.size() + (value ? value->size() : 0);
  }
  for (const auto& [name, value] : entries) {
    if (auto valid = validate_build_secret_value(name, value); !valid) return valid;
    sizes[name] = name.size() + value.size();
  }
  const auto total =
      std::accumulate(sizes.begin(), sizes.end(), std::size_t{0},
                      [](std::size_t sum, const auto& item) { return sum + item.second; });
  if (total <= k_build_secrets_bytes_max) return {};
  return fail(ErrorCode::too_large,
              "the build secrets of " + project.name + " would take " + std::to_string(total) +
                  " bytes and may take 262144 (256 KiB) together; unset some");
}

}  // namespace

std::string build_secret_context(const std::string& project_id, const std::string& name) {
  return "build-secret/" + project_id + "/" + name;
}

Result<SetBuildSecrets> sealed_build_secrets(
    const ProjectState& project, const std::vector<std::pair<std::string, std::string>>& entries,
    storage::SecretStore& secrets) {
  SetBuildSecrets set;
  for (const auto& [name, value] : entries) set.entries.emplace_back(name, EnvEntry{});
  ATLAS_TRYV(decide(project, set));
  ATLAS_TRYV(check_secrets_size(project, entries, secrets));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    ATLAS_TRY(auto sealed, secrets.seal(build_secret_context(project.id.str(), entries[i].first),
                                        entries[i].second));
    set.entries[i].second = EnvEntry{sealed.digest, sealed.ref};
  }
  return set;
}

Result<SetEnv> sealed_env(const ProjectState& project,
                          const std::vector<std::pair<std::string, std::string>>& entries,
                          storage::SecretStore& secrets) {
  SetEnv set;
  for (const auto& [name, value] : entries) set.entries.emplace_back(name, EnvEntry{});
  ATLAS_TRYV(decide(project, set));
  ATLAS_TRYV(check_env_size(project, entries, secrets));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    ATLAS_TRY(auto sealed,
              secrets.seal(project.id.str() + "/" + entries[i].first, entries[i].second));
    set.entries[i].second = EnvEntry{sealed.digest, sealed.ref};
  }
  return set;
}

}  // namespace atlasflow::actors
