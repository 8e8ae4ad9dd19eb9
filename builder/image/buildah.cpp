#include "builder/image/buildah.hpp"

#include <map>
#include <utility>

#include <nlohmann/json.hpp>

#include "builder/source/source_file.hpp"

namespace atlasflow::builder {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t k_state_bytes_max = 8U << 20U;
constexpr std::size_t k_index_bytes_max = 64U << 20U;
constexpr std::chrono::milliseconds k_store_deadline{120'000};

std::string text_of(const nlohmann::json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_string() ? found->get<std::string>() : std::string();
}

fs::path cache_of(const fs::path& storage) { return storage.string() + "-cache"; }

}  // namespace

Result<Buildah> Buildah::make(const BuildahOptions& options) {
  for (const char* program : {"buildah", "runc"}) {
    if (find_program(program).empty()) {
      return fail(ErrorCode::unavailable,
                  std::string(program) + " is not installed; script/bootstrap installs it");
    }
  }
  auto sandbox = Sandbox::make(options.rung.user_namespace);
  if (!sandbox) return tl::unexpected(sandbox.error());
  std::error_code error;
  fs::create_directories(options.storage.parent_path(), error);
  if (auto owned = (*sandbox)->own(options.storage); !owned) return tl::unexpected(owned.error());
  if (auto owned = (*sandbox)->own(cache_of(options.storage)); !owned)
    return tl::unexpected(owned.error());
  return Buildah(options, std::move(*sandbox));
}

Result<RunOutcome> Buildah::run(const Call& call,
                                const std::function<void(std::string_view)>& on_output) const {
  static const std::vector<FileDescriptor> no_cgroup;
  // Every sandbox has its own mounts, so the run root, which counts them, must be its own as well.
  std::vector<std::string> argv = {
      find_program("buildah"), "--root",           "/mnt/storage", "--runroot",
      "/mnt/run/storage",      "--storage-driver", "overlay"};
  argv.insert(argv.end(), call.arguments.begin(), call.arguments.end());
  const SandboxMounts mounts{options_.storage, cache_of(options_.storage), call.scratch,
                             call.context, call.hooks_name};
  return sandbox_->run(std::move(argv), call.environment, mounts, call.network,
                       call.cgroup_procs == nullptr ? no_cgroup : *call.cgroup_procs, call.deadline,
                       call.stop, on_output);
}

std::vector<std::string> Buildah::isolation_arguments() const {
  // "host" is the sandbox's network: it has only what the sandbox was given. buildah's own networks
  // would leave a bridge and firewall tables behind.
  return {"--isolation", options_.rung.isolation, "--runtime", find_program("runc"), "--network",
          "host"};
}

Result<void> Buildah::own(const fs::path& folder) const { return sandbox_->own(folder); }

nlohmann::json Buildah::state_file(const std::string& name) const {
  const auto text = read_source_file(options_.storage, name, k_index_bytes_max);
  if (!text || !*text) return nlohmann::json::array();
  auto json = nlohmann::json::parse(**text, nullptr, false);
  return json.is_array() ? json : nlohmann::json::array();
}

std::vector<Buildah::Image> Buildah::images() const {
  std::map<std::string, std::string> parents;  // layer to the one below
  for (const auto& layer : state_file("overlay-layers/layers.json")) {
    parents[text_of(layer, "id")] = text_of(layer, "parent");
  }
  std::vector<Image> found;
  std::vector<std::string> tops;
  std::set<std::string> inner;
  for (const auto& image : state_file("overlay-images/images.json")) {
    Image entry{text_of(image, "id"), {}, text_of(image, "created"), false, true};
    if (entry.id.empty()) continue;
    // The manifest is written after the image's record, layers and configuration.
    std::error_code error;
    entry.is_whole =
        fs::exists(options_.storage / "overlay-images" / entry.id / "manifest", error) || error;
    for (const auto& name : image.value("names", nlohmann::json::array())) {
      if (name.is_string()) entry.names.push_back(name.get<std::string>());
    }
    tops.push_back(text_of(image, "layer"));
    for (auto layer = parents[tops.back()]; !layer.empty() && inner.insert(layer).second;) {
      layer = parents[layer];
    }
    found.push_back(std::move(entry));
  }
  for (std::size_t i = 0; i < found.size(); ++i) found[i].is_inner = inner.contains(tops[i]);
  return found;
}

std::set<std::string> Buildah::image_names() const {
  std::set<std::string> names;
  for (const auto& image : images()) names.insert(image.names.begin(), image.names.end());
  return names;
}

std::uint64_t Buildah::layers_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& layer : state_file("overlay-layers/layers.json")) {
    const auto size = layer.find("diff-size");
    if (size != layer.end() && size->is_number_unsigned()) bytes += size->get<std::uint64_t>();
  }
  return bytes;
}

// Read from the store's files, not by `buildah containers`, which does not tell what a container is
// for.
std::vector<Buildah::Container> Buildah::containers() const {
  std::vector<Container> found;
  const auto list =
      read_source_file(options_.storage, "overlay-containers/containers.json", k_state_bytes_max);
  if (!list || !*list) return found;
  const auto json = nlohmann::json::parse(**list, nullptr, false);
  if (!json.is_array()) return found;
  for (const auto& container : json) {
    const auto id = container.find("id");
    if (id == container.end() || !id->is_string()) continue;
    Container entry{id->get<std::string>(), {}};
    const auto state = read_source_file(options_.storage,
                                        "overlay-containers/" + entry.id + "/userdata/buildah.json",
                                        k_state_bytes_max);
    if (state && *state) {
      const auto parsed = nlohmann::json::parse(**state, nullptr, false);
      const auto hooks = nlohmann::json::json_pointer("/CommonBuildOpts/OCIHooksDir/0");
      if (parsed.is_object() && parsed.contains(hooks) && parsed[hooks].is_string()) {
        entry.hooks_name = fs::path(parsed[hooks].get<std::string>()).filename().string();
      }
    }
    found.push_back(std::move(entry));
  }
  return found;
}

void Buildah::remove_containers(const std::vector<std::string>& ids,
                                const fs::path& scratch) const {
  if (ids.empty()) return;
  Call call;
  call.arguments = {"rm"};
  call.arguments.insert(call.arguments.end(), ids.begin(), ids.end());
  call.scratch = scratch;
  call.deadline = k_store_deadline;
  // What stays behind is found again by the next reap.
  [[maybe_unused]] const auto ran = run(call, [](std::string_view) {});
}

}  // namespace atlasflow::builder
