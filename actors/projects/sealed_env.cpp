#include "actors/projects/sealed_env.hpp"

#include <map>
#include <numeric>
#include <string_view>

#include "events/build_secret.hpp"
#include "events/settings.hpp"

namespace atlasflow::actors {
namespace {

using Entries = std::vector<std::pair<std::string, std::string>>;

// What differs between values that the app gets and those that its builds mount.
struct Use {
  const std::map<std::string, EnvEntry>& known;
  std::string (*context)(const std::string& project_id, const std::string& name);
  Result<void> (*validate)(const std::string& name, const std::string& value);
  std::size_t (*bytes)(std::string_view name, std::string_view value);
  std::size_t bytes_max;
  std::string what;    // "variables"
  std::string advice;  // when they are too large together
};

Use variables_of(const ProjectState& project) {
  return {.known = project.env,
          .context = env_context,
          .validate = validate_env_value,
          .bytes = env_entry_bytes,
          .bytes_max = k_env_bytes_max,
          .what = "variables",
          .advice =
              "unset some, or put large values into a file of the image or a store of your "
              "own"};
}

Use build_secrets_of(const ProjectState& project) {
  return {.known = project.build_secrets,
          .context = build_secret_context,
          .validate = validate_build_secret_value,
          .bytes = [](std::string_view name,
                      std::string_view value) { return name.size() + value.size(); },
          .bytes_max = k_build_secrets_bytes_max,
          .what = "build secrets",
          .advice = "unset some"};
}

// What is there and is not set anew, and what is.
Result<void> check_size(const ProjectState& project, const Use& use, const Entries& entries,
                        storage::SecretStore& secrets) {
  std::map<std::string, std::size_t> sizes;
  for (const auto& [name, entry] : use.known) {
    // One that does not open counts for nothing: it is to be set again.
    const auto value = secrets.open(use.context(project.id.str(), name), entry.sealed_ref);
    sizes[name] = use.bytes(name, value ? *value : "");
  }
  for (const auto& [name, value] : entries) {
    ATLAS_TRYV(use.validate(name, value));
    sizes[name] = use.bytes(name, value);
  }
  const auto total =
      std::accumulate(sizes.begin(), sizes.end(), std::size_t{0},
                      [](std::size_t sum, const auto& item) { return sum + item.second; });
  if (total <= use.bytes_max) return {};
  return fail(ErrorCode::too_large,
              "the " + use.what + " of " + project.name + " would take " + std::to_string(total) +
                  " bytes and may take " + std::to_string(use.bytes_max) + " (" +
                  std::to_string(use.bytes_max / 1024) + " KiB) together; " + use.advice);
}

// Set is the command whose entries they become; decided on before anything is sealed.
template <typename Set>
Result<Set> sealed(const ProjectState& project, const Use& use, const Entries& entries,
                   storage::SecretStore& secrets) {
  Set set;
  for (const auto& [name, value] : entries) set.entries.emplace_back(name, EnvEntry{});
  ATLAS_TRYV(decide(project, set));
  ATLAS_TRYV(check_size(project, use, entries, secrets));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const auto& [name, value] = entries[i];
    ATLAS_TRY(auto ref, secrets.seal(use.context(project.id.str(), name), value));
    set.entries[i].second = EnvEntry{ref.digest, ref.ref};
  }
  return set;
}

}  // namespace

std::string env_context(const std::string& project_id, const std::string& name) {
  return project_id + "/" + name;
}

std::string build_secret_context(const std::string& project_id, const std::string& name) {
  return "build-secret/" + project_id + "/" + name;
}

Result<SetBuildSecrets> sealed_build_secrets(const ProjectState& project, const Entries& entries,
                                             storage::SecretStore& secrets) {
  return sealed<SetBuildSecrets>(project, build_secrets_of(project), entries, secrets);
}

Result<SetEnv> sealed_env(const ProjectState& project, const Entries& entries,
                          storage::SecretStore& secrets) {
  return sealed<SetEnv>(project, variables_of(project), entries, secrets);
}

}  // namespace atlasflow::actors
