// A project's settings: their names, defaults and limits, and how the repository's own
// atlasflow.toml changes them. Pure. docs/settings.md tells users what each does.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "events/event.pb.h"

namespace atlasflow {

constexpr std::int64_t k_second_us = 1'000'000;

// What a VM can have. The hypervisor takes nothing else, so that what it would refuse is refused
// where it is set.
struct SettingRange {
  std::int32_t low;
  std::int32_t high;
  [[nodiscard]] constexpr bool holds(std::int32_t value) const {
    return value >= low && value <= high;
  }
  // "1 to 16".
  [[nodiscard]] std::string text() const {
    return std::to_string(low) + " to " + std::to_string(high);
  }
};
inline constexpr SettingRange k_memory_mib_range{128, 64 * 1024};
inline constexpr SettingRange k_vcpus_range{1, 16};
inline constexpr SettingRange k_disk_mib_range{128, 64 * 1024};

enum class SettingType : std::uint8_t {
  text,
  number,
  duration,  // 500ms, 30s, 5m, 1h, 3d
  flag,      // true or false
  list,      // separated by commas
  texts,     // by name: build_arg.NAME
};

struct KnownSetting {
  std::string_view name;  // "build_arg.NAME" stands for every NAME
  SettingType type = SettingType::text;
  bool in_repository = false;  // the repository's atlasflow.toml may change it
};

// Every setting, in the order in which users are told of them.
[[nodiscard]] const std::vector<KnownSetting>& known_settings();
// "health_path, port, … and notify_url".
[[nodiscard]] std::string setting_names();

// One VM with 512 MiB that answers GET / on port 3000, and deadlines that fit most apps.
[[nodiscard]] pb::Settings default_settings();

// What a record says that was written before a setting existed, with that setting's default: no
// valid setting reads as the zero that Protobuf gives for a field that is not there.
[[nodiscard]] pb::Settings with_defaults(pb::Settings recorded);

// invalid_argument names the setting, the value and the range.
[[nodiscard]] Result<void> validate(const pb::Settings& settings);

// Changes one setting by its name and text; durations take ms, s, m, h or d. An empty text is the
// empty value: all watch paths, no release command, and build_arg.NAME without a value is removed.
// invalid_argument lists the names or says what the value must look like; limits are validate()'s.
[[nodiscard]] Result<void> set_by_name(pb::Settings& settings, const std::string& name,
                                       const std::string& value);

// What a repository's atlasflow.toml asks for: names and texts of set_by_name, in its order.
struct RepositoryConfig {
  std::vector<std::pair<std::string, std::string>> changes;
};

// The file wins over the project; build arguments are merged by name. user_error: a setting that is
// not the repository's to change, or a result over a limit.
[[nodiscard]] Result<pb::Settings> apply_repository_config(const pb::Settings& project,
                                                           const RepositoryConfig& config);

// A project's name becomes a hostname label: 1 to 40 of [a-z0-9-], a letter first, no '-' at the
// end and no two in a row.
[[nodiscard]] Result<void> validate_project_name(const std::string& name);

// The health path of an app that listens nowhere: it is healthy while it runs.
inline constexpr const char* k_no_health_path = "none";

// What an app speaks on its port: app_protocol's values.
inline constexpr const char* k_http1 = "http1";
inline constexpr const char* k_h2c = "h2c";

// ---- environment variables ----

inline constexpr std::size_t k_env_name_bytes_max = 1024;
// "NAME=value" and its NUL: the kernel takes no longer string (MAX_ARG_STRLEN in linux/binfmts.h).
inline constexpr std::size_t k_env_entry_bytes_max = 128UL * 1024;
// Of all variables of a project together; a VM's configuration has room for them.
inline constexpr std::size_t k_env_bytes_max = 256UL * 1024;

[[nodiscard]] constexpr std::size_t env_entry_bytes(std::string_view name, std::string_view value) {
  return name.size() + value.size() + 2;
}

// PORT and HOST, which tell the app where to listen.
[[nodiscard]] bool is_own_env_name(const std::string& name);

// Anything without '=' and NUL that is not Atlasflow's own.
[[nodiscard]] Result<void> validate_env_name(const std::string& name);

// What an environment can hold. Quotes nothing of the value, which is a secret. too_large: over
// k_env_entry_bytes_max.
[[nodiscard]] Result<void> validate_env_value(const std::string& name, const std::string& value);

// 40 hex digits in lower case.
[[nodiscard]] bool is_commit_sha(const std::string& text);

}  // namespace atlasflow
