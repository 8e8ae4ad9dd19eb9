#include "builder/stack/dockerfile_mounts.hpp"

#include <algorithm>

#include "builder/stack/dockerfile_scope.hpp"
#include "builder/stack/dockerfile_variables.hpp"

namespace atlasflow::builder {
namespace {

// Each is an argument of buildah, and has to be read for its name.
constexpr std::size_t k_parts_max = 100;

bool is_of_context(const std::vector<MountOption>& options) {
  const auto type = mount_option(options, "type");
  return (type.empty() || type == "bind") && mount_option(options, "from").empty();
}

}  // namespace

Result<void> write_out_target(int line, std::string_view flag, std::vector<MountOption>& options,
                              const std::optional<std::string>& work_folder) {
  for (auto& option : options) {
    const bool is_whole = option.value.empty() || option.value.starts_with('/') ||
                          option.value.find('$') != std::string::npos;
    if (option.key != "target" || is_whole) continue;
    if (!work_folder) {
      return wrong_line(line, "RUN --mount=" + std::string(flag) +
                                  ": the target is relative, and the working folder is the base "
                                  "image's: put WORKDIR before it, or write the whole path");
    }
    option.value = path_from(*work_folder, option.value);
  }
  return {};
}

Result<void> name_mounted_parts(Instruction& instruction, const NameOfPart& name_of_part,
                                std::vector<std::string>& named) {
  if (instruction.name != "RUN" || !name_of_part) return {};
  for (auto& flag : instruction.flags) {
    if (flag.name() != "--mount" || named.size() >= k_parts_max) continue;
    auto options = mount_options(flag.value());
    const auto source = mount_option(options, "source");
    // A variable of the base image leads who knows where.
    if (!is_of_context(options) || source.find('$') != std::string::npos) continue;
    ATLAS_TRY(const auto name, name_of_part(source));
    if (name.empty()) continue;
    std::erase_if(options, [](const auto& option) { return option.key == "type"; });
    options.insert(options.begin(), {"from", name});
    flag = mount_flag(options);
    if (std::find(named.begin(), named.end(), name) == named.end()) named.push_back(name);
  }
  return {};
}

}  // namespace atlasflow::builder
