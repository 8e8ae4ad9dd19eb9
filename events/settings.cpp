#include "events/settings.hpp"

#include <algorithm>
#include <variant>

#include "base/duration.hpp"
#include "events/setting_rules.hpp"

namespace atlasflow {
namespace {

constexpr std::int64_t k_day_us = 86'400 * k_second_us;
constexpr std::string_view k_build_arg = "build_arg.";
constexpr int k_list_entries_max = 64;

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_lower(c) || is_upper(c) || is_digit(c) || c == '_'; }

bool is_variable_name(const std::string& name) {
  return !name.empty() && name.size() <= 128 && std::all_of(name.begin(), name.end(), is_word) &&
         !is_digit(name.front());
}

std::string quoted(const std::string& text) { return "'" + text.substr(0, 40) + "'"; }

// ---- durations ----

// Digits only, at most 12 of them: no setting is longer and none can overflow.
Result<std::int64_t> parsed_number(const std::string& name, const std::string& text) {
  if (text.empty() || text.size() > 12 || !std::all_of(text.begin(), text.end(), is_digit)) {
    return fail(ErrorCode::invalid_argument, name + " takes a whole number, not " + quoted(text));
  }
  std::int64_t number = 0;
  for (const char c : text) number = number * 10 + (c - '0');
  return number;
}

Result<std::int64_t> parsed_duration_us(const std::string& name, const std::string& text) {
  const auto duration = parse_duration_us(text);
  if (!duration) {
    return fail(ErrorCode::invalid_argument,
                name + " takes a duration such as 500ms, 30s, 5m, 1h or 3d, not " + quoted(text));
  }
  return *duration;
}

// ---- the table ----

struct Text {
  const std::string& (pb::Settings::*get)() const;
  std::string* (pb::Settings::*change)();
  std::string (*rule)(const std::string&);
  bool is_path = false;
};
struct Number {
  std::int32_t (pb::Settings::*get)() const;
  void (pb::Settings::*set)(std::int32_t);
  std::int64_t low;
  std::int64_t high;
};
struct Duration {
  std::int64_t (pb::Settings::*get)() const;
  void (pb::Settings::*set)(std::int64_t);
  std::int64_t low_us;
  std::int64_t high_us;
};
struct Flag {
  void (pb::Settings::*set)(bool);
};
struct WatchPaths {};
struct BuildArgs {};

struct Setting {
  const char* name;
  bool in_repository;
  std::variant<Text, Number, Duration, Flag, WatchPaths, BuildArgs> kind;
};

const std::vector<Setting>& table() {
  using S = pb::Settings;
  constexpr bool k_anywhere = true;
  constexpr bool k_project_only = false;
  static const std::vector<Setting> settings = {
      {"health_path", k_anywhere, Text{&S::health_path, &S::mutable_health_path, health_path_rule}},
      {"port", k_anywhere, Number{&S::port, &S::set_port, 1, 65535}},
      {"memory_mib", k_anywhere,
       Number{&S::memory_mib, &S::set_memory_mib, k_memory_mib_range.low, k_memory_mib_range.high}},
      {"vcpus", k_anywhere,
       Number{&S::vcpus, &S::set_vcpus, k_vcpus_range.low, k_vcpus_range.high}},
      {"disk_mib", k_anywhere,
       Number{&S::disk_mib, &S::set_disk_mib, k_disk_mib_range.low, k_disk_mib_range.high}},
      {"replicas", k_anywhere, Number{&S::replicas, &S::set_replicas, 1, 32}},
      {"request_rate", k_anywhere, Number{&S::request_rate, &S::set_request_rate, 0, 100'000}},
      {"max_concurrent_requests", k_anywhere,
       Number{&S::max_concurrent_requests, &S::set_max_concurrent_requests, 0, 100'000}},
      {"unavailable_message", k_anywhere,
       Text{&S::unavailable_message, &S::mutable_unavailable_message, message_rule}},
      {"app_protocol", k_anywhere,
       Text{&S::app_protocol, &S::mutable_app_protocol, app_protocol_rule}},
      {"health_deadline", k_anywhere,
       Duration{&S::health_deadline_us, &S::set_health_deadline_us, k_second_us, k_day_us}},
      {"clone_deadline", k_project_only,
       Duration{&S::clone_deadline_us, &S::set_clone_deadline_us, k_second_us, k_day_us}},
      {"build_deadline", k_anywhere,
       Duration{&S::build_deadline_us, &S::set_build_deadline_us, k_second_us, k_day_us}},
      {"drain_deadline", k_anywhere,
       Duration{&S::drain_deadline_us, &S::set_drain_deadline_us, 0, k_day_us}},
      {"stop_grace", k_anywhere,
       Duration{&S::stop_grace_us, &S::set_stop_grace_us, k_second_us, k_day_us}},
      {"root_folder", k_anywhere, Text{&S::root_folder, &S::mutable_root_folder, path_rule, true}},
      {"dockerfile", k_anywhere,
       Text{&S::dockerfile, &S::mutable_dockerfile, dockerfile_rule, true}},
      {"static.folder", k_anywhere, Text{&S::static_folder, &S::mutable_static_folder, site_rule}},
      {"static.fallback", k_anywhere,
       Text{&S::static_fallback, &S::mutable_static_fallback, site_rule}},
      {"build_target", k_anywhere, Text{&S::build_target, &S::mutable_build_target, target_rule}},
      {"build_arg.NAME", k_anywhere, BuildArgs{}},
      {"install_command", k_anywhere,
       Text{&S::install_command, &S::mutable_install_command, command_line_rule}},
      {"build_command", k_anywhere,
       Text{&S::build_command, &S::mutable_build_command, command_line_rule}},
      {"start_command", k_anywhere,
       Text{&S::start_command, &S::mutable_start_command, command_line_rule}},
      {"watch_paths", k_anywhere, WatchPaths{}},
      {"release_command", k_anywhere,
       Text{&S::release_command, &S::mutable_release_command, command_rule}},
      {"release_deadline", k_anywhere,
       Duration{&S::release_deadline_us, &S::set_release_deadline_us, k_second_us, k_day_us}},
      {"auto_rollback", k_anywhere,
       Duration{&S::auto_rollback_us, &S::set_auto_rollback_us, 0, k_day_us}},
      {"restart_unhealthy_after", k_anywhere,
       Duration{&S::restart_unhealthy_after_us, &S::set_restart_unhealthy_after_us, 0, k_day_us}},
      {"previews", k_project_only, Flag{&S::set_previews}},
      {"pull_requests", k_project_only, Flag{&S::set_pull_requests}},
      {"pull_requests_from_forks", k_project_only, Flag{&S::set_pull_requests_from_forks}},
      {"preview_limit", k_project_only, Number{&S::preview_limit, &S::set_preview_limit, 1, 100}},
      {"preview_ttl", k_project_only,
       Duration{&S::preview_ttl_us, &S::set_preview_ttl_us, 0, 365 * k_day_us}},
      {"supersede_after", k_project_only,
       Duration{&S::supersede_after_us, &S::set_supersede_after_us, 0, k_day_us}},
      {"notify_url", k_project_only, Text{&S::notify_url, &S::mutable_notify_url, url_rule}},
      {"primary_domain", k_project_only,
       Text{&S::primary_domain, &S::mutable_primary_domain, domain_rule}}};
  return settings;
}

const Setting* find_setting(const std::string& name) {
  const auto found = std::find_if(table().begin(), table().end(), [&](const Setting& setting) {
    return std::holds_alternative<BuildArgs>(setting.kind) ? name.starts_with(k_build_arg)
                                                           : name == setting.name;
  });
  return found == table().end() ? nullptr : &*found;
}

tl::unexpected<Error> refuse(const std::string& name, const std::string& rule) {
  return fail(ErrorCode::invalid_argument, name + " " + rule);
}

// ---- setting ----

// "./web/" is what people write for the folder web, and "." for the root.
std::string tidy_path(std::string path) {
  while (path.starts_with("./")) path.erase(0, 2);
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  return path == "." ? "" : path;
}

void set_watch_paths(pb::Settings& settings, const std::string& value) {
  settings.clear_watch_paths();
  if (value.empty()) return;
  std::size_t start = 0;
  while (start <= value.size()) {
    const auto end = std::min(value.find(',', start), value.size());
    auto glob = value.substr(start, end - start);
    glob.erase(0, std::min(glob.find_first_not_of(' '), glob.size()));
    while (glob.ends_with(' ')) glob.pop_back();
    settings.add_watch_paths(tidy_path(std::move(glob)));
    start = end + 1;
  }
}

Result<void> set_build_arg(pb::Settings& settings, const std::string& name,
                           const std::string& value) {
  if (!is_variable_name(name)) {
    return fail(ErrorCode::invalid_argument,
                quoted(name) +
                    " is no build argument's name: it takes 1 to 128 of A-Z, a-z, 0-9 "
                    "and '_', not starting with a digit");
  }
  auto& list = *settings.mutable_build_args();
  const auto found = std::find_if(list.begin(), list.end(),
                                  [&](const pb::BuildArg& arg) { return arg.name() == name; });
  if (value.empty()) {
    if (found != list.end()) list.erase(found);
    return {};
  }
  auto& arg = found != list.end() ? *found : *list.Add();
  arg.set_name(name);
  arg.set_value(value);
  return {};
}

// The alternatives of Setting::kind, each with what set_by_name does.
struct Set {
  pb::Settings& settings;
  const std::string& name;
  const std::string& value;

  Result<void> operator()(const Text& text) const {
    *(settings.*text.change)() = text.is_path ? tidy_path(value) : value;
    return {};
  }
  Result<void> operator()(const Number& number) const {
    return parsed_number(name, value).map([&](std::int64_t parsed) {
      // What does not fit the field is clamped to a value that validate() refuses with the range.
      (settings.*
       number.set)(static_cast<std::int32_t>(std::min<std::int64_t>(parsed, 2'000'000'000)));
    });
  }
  Result<void> operator()(const Duration& duration) const {
    return parsed_duration_us(name, value).map([&](std::int64_t parsed) {
      (settings.*duration.set)(parsed);
    });
  }
  Result<void> operator()(const Flag& flag) const {
    if (value != "true" && value != "false") {
      return refuse(name, "takes true or false, not " + quoted(value));
    }
    (settings.*flag.set)(value == "true");
    return {};
  }
  Result<void> operator()(const WatchPaths&) const {
    set_watch_paths(settings, value);
    return {};
  }
  Result<void> operator()(const BuildArgs&) const {
    return set_build_arg(settings, name.substr(k_build_arg.size()), value);
  }
};

// ---- checking ----

struct Check {
  const pb::Settings& settings;
  const std::string name;

  Result<void> operator()(const Text& text) const {
    const auto rule = text.rule((settings.*text.get)());
    return rule.empty() ? Result<void>() : refuse(name, rule);
  }
  Result<void> operator()(const Number& number) const {
    const auto value = (settings.*number.get)();
    if (value >= number.low && value <= number.high) return {};
    return refuse(name, "is " + std::to_string(value) + "; it must be from " +
                            std::to_string(number.low) + " to " + std::to_string(number.high));
  }
  Result<void> operator()(const Duration& duration) const {
    const auto value = (settings.*duration.get)();
    if (value >= duration.low_us && value <= duration.high_us) return {};
    return refuse(name, "is " + duration_text(value) + "; it must be from " +
                            duration_text(duration.low_us) + " to " +
                            duration_text(duration.high_us));
  }
  Result<void> operator()(const Flag&) const { return {}; }
  Result<void> operator()(const WatchPaths&) const {
    if (settings.watch_paths_size() > k_list_entries_max) {
      return refuse(name, "has " + std::to_string(settings.watch_paths_size()) +
                              " entries; it may have 64: name folders, as in src/**");
    }
    for (const auto& glob : settings.watch_paths()) {
      if (const auto rule = glob_rule(glob); !rule.empty()) {
        return refuse(name, quoted(glob) + " " + rule);
      }
    }
    return {};
  }
  Result<void> operator()(const BuildArgs&) const {
    if (settings.build_args_size() > k_list_entries_max) {
      return refuse("build_arg",
                    "has " + std::to_string(settings.build_args_size()) + " names; it may have 64");
    }
    for (const auto& arg : settings.build_args()) {
      const auto full = std::string(k_build_arg) + arg.name();
      if (!is_variable_name(arg.name())) return refuse(full, "is no build argument's name");
      if (arg.value().size() > 4096) return refuse(full, "has a value of more than 4 KiB");
      if (arg.value().find('\0') != std::string::npos) {
        return refuse(full, "has a NUL byte, which no build argument can hold");
      }
    }
    return {};
  }
};

struct TypeOf {
  SettingType operator()(const Text&) const { return SettingType::text; }
  SettingType operator()(const Number&) const { return SettingType::number; }
  SettingType operator()(const Duration&) const { return SettingType::duration; }
  SettingType operator()(const Flag&) const { return SettingType::flag; }
  SettingType operator()(const WatchPaths&) const { return SettingType::list; }
  SettingType operator()(const BuildArgs&) const { return SettingType::texts; }
};

}  // namespace

const std::vector<KnownSetting>& known_settings() {
  static const std::vector<KnownSetting> known = [] {
    std::vector<KnownSetting> all;
    for (const auto& setting : table()) {
      all.push_back({setting.name, std::visit(TypeOf{}, setting.kind), setting.in_repository});
    }
    return all;
  }();
  return known;
}

std::string setting_names() {
  std::string names;
  for (std::size_t i = 0; i < table().size(); ++i) {
    if (i > 0) names += i + 1 == table().size() ? " and " : ", ";
    names += table()[i].name;
  }
  return names;
}

pb::Settings default_settings() {
  pb::Settings settings;
  settings.set_health_path("/");
  settings.set_port(3000);
  settings.set_health_deadline_us(120 * k_second_us);
  settings.set_clone_deadline_us(300 * k_second_us);
  settings.set_build_deadline_us(1800 * k_second_us);
  settings.set_drain_deadline_us(30 * k_second_us);
  settings.set_stop_grace_us(30 * k_second_us);
  settings.set_memory_mib(512);
  settings.set_vcpus(1);
  settings.set_disk_mib(2048);
  settings.set_release_deadline_us(600 * k_second_us);
  settings.set_replicas(1);
  settings.set_auto_rollback_us(60 * k_second_us);
  settings.set_restart_unhealthy_after_us(300 * k_second_us);
  settings.set_preview_limit(5);
  settings.set_preview_ttl_us(3 * k_day_us);
  settings.set_supersede_after_us(600 * k_second_us);
  return settings;
}

pb::Settings with_defaults(pb::Settings recorded) {
  auto settings = default_settings();
  // These two are never zero in a record that knows them, and tell of those beside them that may
  // be: no drain, no automatic rollback, previews without an end.
  if (recorded.port() == 0) return settings;
  if (recorded.stop_grace_us() == 0) {
    recorded.set_stop_grace_us(settings.stop_grace_us());
    // It was not recorded either whether somebody had named the port.
    recorded.set_port_given(recorded.port() != settings.port());
  }
  if (recorded.disk_mib() == 0) recorded.set_disk_mib(settings.disk_mib());
  if (!recorded.has_restart_unhealthy_after_us()) {
    recorded.set_restart_unhealthy_after_us(settings.restart_unhealthy_after_us());
  }
  if (recorded.replicas() != 0) return recorded;
  recorded.set_release_deadline_us(settings.release_deadline_us());
  recorded.set_replicas(settings.replicas());
  recorded.set_auto_rollback_us(settings.auto_rollback_us());
  recorded.set_preview_limit(settings.preview_limit());
  recorded.set_preview_ttl_us(settings.preview_ttl_us());
  recorded.set_supersede_after_us(settings.supersede_after_us());
  return recorded;
}

Result<void> validate(const pb::Settings& settings) {
  for (const auto& setting : table()) {
    if (auto ok = std::visit(Check{settings, setting.name}, setting.kind); !ok) return ok;
  }
  return {};
}

Result<void> set_by_name(pb::Settings& settings, const std::string& name,
                         const std::string& value) {
  const auto* setting = find_setting(name);
  if (setting == nullptr) {
    return fail(ErrorCode::invalid_argument,
                "there is no setting " + quoted(name) + "; there are " + setting_names());
  }
  if (name == "port") settings.set_port_given(true);
  return std::visit(Set{settings, name, value}, setting->kind);
}

Result<pb::Settings> apply_repository_config(const pb::Settings& project,
                                             const RepositoryConfig& config) {
  auto settings = project;
  for (const auto& [name, value] : config.changes) {
    const auto* setting = find_setting(name);
    if (setting != nullptr && !setting->in_repository) {
      return fail(ErrorCode::user_error,
                  name + " is the project's alone; atlasflow project set changes it");
    }
    if (auto set = set_by_name(settings, name, value); !set) {
      return fail(ErrorCode::user_error, set.error().message);
    }
  }
  if (auto valid = validate(settings); !valid) {
    return fail(ErrorCode::user_error, valid.error().message);
  }
  return settings;
}

Result<void> validate_project_name(const std::string& name) {
  const bool characters = std::all_of(
      name.begin(), name.end(), [](char c) { return is_lower(c) || is_digit(c) || c == '-'; });
  if (name.empty() || name.size() > 40 || !characters || !is_lower(name.front()) ||
      name.back() == '-' || name.find("--") != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                "'" + name.substr(0, 60) +
                    "' is no project name: it takes 1 to 40 of a-z, 0-9 and '-', starting with a "
                    "letter with no '-' at its end nor two in a row, as it becomes part of a "
                    "hostname");
  }
  return {};
}

bool is_own_env_name(const std::string& name) { return name == "PORT" || name == "HOST"; }

Result<void> validate_env_name(const std::string& name) {
  if (name.empty() || name.size() > k_env_name_bytes_max || name.find('=') != std::string::npos ||
      name.find('\0') != std::string::npos) {
    return fail(
        ErrorCode::invalid_argument,
        quoted(name) + " is no variable name: it takes 1 to 1024 bytes without '=' and NUL");
  }
  if (is_own_env_name(name)) {
    return fail(ErrorCode::invalid_argument,
                name +
                    " is set by Atlasflow and can't be changed: HOST is 0.0.0.0, and PORT is the "
                    "setting port, as in 'atlasflow project set NAME port=8080'");
  }
  return {};
}

Result<void> validate_env_value(const std::string& name, const std::string& value) {
  if (value.find('\0') != std::string::npos) {
    return fail(ErrorCode::invalid_argument,
                "The value of " + name +
                    " has a NUL byte, which no environment can hold; encode it, for example with "
                    "base64.");
  }
  if (env_entry_bytes(name, value) > k_env_entry_bytes_max) {
    return fail(ErrorCode::too_large,
                "The value of " + name +
                    " is too large: name and value may have 128 KiB, which is what Linux gives to "
                    "one variable; put it into a file of the image or a store of your own.");
  }
  return {};
}

bool is_commit_sha(const std::string& text) {
  return text.size() == 40 && std::all_of(text.begin(), text.end(), [](char c) {
           return is_digit(c) || (c >= 'a' && c <= 'f');
         });
}

}  // namespace atlasflow
