#include "actors/projects/sealed_env.hpp"

#include <map>
#include <numeric>

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

}  // namespace

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
