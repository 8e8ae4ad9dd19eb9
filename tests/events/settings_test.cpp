#include "events/settings.hpp"

#include <set>
#include <tuple>

#include <gmock/gmock.h>

#include "events/project.hpp"

namespace atlasflow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// "" when the settings take the value, else what they say.
std::string said_of(const std::string& name, const std::string& value) {
  auto settings = default_settings();
  auto set = set_by_name(settings, name, value).and_then([&]() { return validate(settings); });
  if (set) return "";
  EXPECT_EQ(set.error().code, ErrorCode::invalid_argument) << name << "=" << value;
  EXPECT_FALSE(set.error().message.empty());
  return set.error().message;
}

TEST(Settings, have_the_defaults_that_the_documentation_names) {
  const auto settings = default_settings();
  EXPECT_TRUE(validate(settings));
  EXPECT_EQ(settings.replicas(), 1);
  EXPECT_EQ(settings.disk_mib(), 2048);
  EXPECT_EQ(settings.release_deadline_us(), 600 * k_second_us);
  EXPECT_EQ(settings.auto_rollback_us(), 60 * k_second_us);
  EXPECT_EQ(settings.preview_limit(), 5);
  EXPECT_EQ(settings.preview_ttl_us(), 259'200 * k_second_us);
  EXPECT_EQ(settings.supersede_after_us(), 600 * k_second_us);
  EXPECT_FALSE(settings.previews());
  EXPECT_THAT(settings.root_folder() + settings.dockerfile() + settings.build_target() +
                  settings.release_command() + settings.notify_url() + settings.install_command() +
                  settings.build_command() + settings.start_command() + settings.primary_domain(),
              IsEmpty());
  EXPECT_EQ(settings.watch_paths_size() + settings.build_args_size(), 0);
}

TEST(Settings, take_what_is_in_their_limits) {
  const std::pair<std::string, std::string> right[] = {
      {"health_path", "/up?full=1"},
      {"health_path", "none"},
      {"stop_grace", "1s"},
      {"stop_grace", "1d"},
      {"port", "1"},
      {"port", "65535"},
      {"memory_mib", "128"},
      {"memory_mib", "65536"},
      {"vcpus", "16"},
      {"disk_mib", "128"},
      {"disk_mib", "65536"},
      {"replicas", "1"},
      {"replicas", "32"},
      {"request_rate", "0"},
      {"request_rate", "100000"},
      {"max_concurrent_requests", "0"},
      {"max_concurrent_requests", "100000"},
      {"app_protocol", ""},
      {"app_protocol", "http1"},
      {"app_protocol", "h2c"},
      {"unavailable_message", "Zurück um 14:00 <3"},
      {"unavailable_message", std::string(500, 'a')},
      {"health_deadline", "1s"},
      {"clone_deadline", "1000ms"},
      {"build_deadline", "1d"},
      {"drain_deadline", "0s"},
      {"root_folder", "apps/web"},
      {"root_folder", ""},
      {"dockerfile", "docker/Dockerfile.prod"},
      {"dockerfile", "/docker/Dockerfile.prod"},
      {"build_target", "prod-1"},
      {"build_target", "0"},
      {"build_target", ""},
      {"build_arg.NODE_VERSION", std::string(4096, 'v')},
      {"build_arg._x", "a=b, c"},
      {"build_arg.PORT", "80"},
      {"watch_paths", "src/**,package.json, *.toml ,**/*.md,pages/[id].js"},
      {"watch_paths", ""},
      {"install_command", "apt-get update && apt-get install -y libpq-dev"},
      {"install_command", ""},
      {"build_command", "make\tall"},
      {"build_command", ""},
      {"start_command", std::string(4096, 'a')},
      {"start_command", "bin/serve --port \"$PORT\" 'a b' <<< x \\"},
      {"release_command", "bin/migrate && echo done"},
      {"release_deadline", "30m"},
      {"auto_rollback", "0s"},
      {"restart_unhealthy_after", "0s"},
      {"restart_unhealthy_after", "1d"},
      {"previews", "true"},
      {"previews", "false"},
      {"preview_limit", "100"},
      {"preview_ttl", "0s"},
      {"preview_ttl", "365d"},
      {"supersede_after", "0s"},
      {"notify_url", "https://example.com/hook?x=1"},
      {"notify_url", "http://127.0.0.1:8080"},
      {"notify_url", "http://[::1]:8080/x"},
      {"notify_url", ""},
      {"primary_domain", "www.example.com"},
      {"primary_domain", "xn--bcher-kva.example"},
      {"primary_domain", ""}};
  for (const auto& [name, value] : right) EXPECT_EQ(said_of(name, value), "") << name << value;
}

TEST(Settings, name_the_setting_and_what_it_must_be_when_they_refuse) {
  struct Case {
    std::string name;
    std::string value;
    std::string said;
  };
  const Case wrong[] = {
      {"health_path", "up", "health_path must start with '/'"},
      {"health_path", "/a b", "visible ASCII"},
      {"health_path", "None", "or be none for an app that listens nowhere"},
      {"stop_grace", "0s", "stop_grace is 0s; it must be from 1s to 1d"},
      {"stop_grace", "25h", "from 1s to 1d"},
      {"port", "0", "port is 0; it must be from 1 to 65535"},
      {"port", "999999999999", "port is 2000000000; it must be"},
      {"memory_mib", "127", "from 128 to 65536"},
      {"memory_mib", "65537", "memory_mib is 65537; it must be from 128 to 65536"},
      {"vcpus", "17", "vcpus is 17; it must be from 1 to 16"},
      {"disk_mib", "127", "disk_mib is 127; it must be from 128 to 65536"},
      {"disk_mib", "65537", "disk_mib is 65537; it must be from 128 to 65536"},
      {"replicas", "0", "replicas is 0; it must be from 1 to 32"},
      {"replicas", "33", "replicas is 33"},
      {"replicas", "two", "replicas takes a whole number, not 'two'"},
      {"request_rate", "100001", "request_rate is 100001; it must be from 0 to 100000"},
      {"max_concurrent_requests", "-1", "takes a whole number"},
      {"app_protocol", "http2", "app_protocol must be http1, or h2c for an app that speaks HTTP/2"},
      {"app_protocol", "H2C", "must be http1, or h2c"},
      {"unavailable_message", std::string(501, 'a'), "one line of at most 500 bytes"},
      {"unavailable_message", "two\nlines", "unavailable_message must be one line"},
      {"health_deadline", "999ms", "health_deadline is 999ms; it must be from 1s to 1d"},
      {"build_deadline", "25h", "build_deadline is 25h; it must be from 1s to 1d"},
      {"drain_deadline", "999999999d", "it must be from 0s to 1d"},
      {"release_deadline", "0s", "release_deadline is 0s"},
      {"release_deadline", "10", "takes a duration such as 500ms, 30s, 5m, 1h or 3d, not '10'"},
      {"auto_rollback", "2d", "it must be from 0s to 1d"},
      {"preview_ttl", "366d", "it must be from 0s to 365d"},
      {"preview_limit", "0", "from 1 to 100"},
      {"previews", "yes", "previews takes true or false, not 'yes'"},
      {"root_folder", "/srv", "root_folder must be a path inside of the repository"},
      {"root_folder", "a/../../b", "without '..'"},
      {"root_folder", "..", "without '..'"},
      {"root_folder", "a//b", "inside of the repository"},
      {"dockerfile", "../Dockerfile", "dockerfile must be a path"},
      {"dockerfile", "/", "with / before it below the repository's root"},
      {"dockerfile", "//Dockerfile", "dockerfile must be a path"},
      {"dockerfile", "/../Dockerfile", "without '..'"},
      {"dockerfile", std::string("a\0b", 3), "dockerfile must be a path"},
      {"build_target", "--privileged", "build_target must be the name or the number"},
      {"build_target", "a b", "build_target must be"},
      {"build_arg.", "x", "'' is no build argument's name"},
      {"build_arg.1X", "x", "'1X' is no build argument's name"},
      {"build_arg.A-B", "", "'A-B' is no build argument's name"},
      {"build_arg.X", std::string(4097, 'v'), "build_arg.X has a value of more than 4 KiB"},
      {"build_arg.X", std::string("a\0b", 3), "build_arg.X has a NUL byte"},
      {"watch_paths", "/src", "watch_paths '/src' must be a path from the repository's root"},
      {"watch_paths", "a,,b", "watch_paths '' must be a path"},
      {"watch_paths", "../x", "without '..'"},
      {"watch_paths", "!docs/**", "starts with '!'"},
      {"watch_paths", "src/a**", "holds a '**' that is not the whole name"},
      {"watch_paths", "***", "holds a '**' that is not the whole name"},
      {"watch_paths", std::string(257, 'a'), "is longer than 256 bytes"},
      {"release_command", std::string(4097, 'a'), "must not be longer than 4 KiB"},
      {"notify_url", "ftp://example.com", "must be an http:// or https:// URL"},
      {"primary_domain", "https://www.example.com", "one of the project's own domains"},
      {"primary_domain", "WWW.example.com", "in lower case"},
      {"primary_domain", "www..example.com", "one of the project's own domains"},
      {"primary_domain", "localhost", "one of the project's own domains"},
      {"notify_url", "https://", "with a host"},
      {"notify_url", "https:///x", "with a host"},
      {"notify_url", "https://me:pw@example.com", "without user name and password"},
      {"notify_url", "https://me@example.com", "without user name and password"},
      {"notify_url", "https://example.com\\@evil/", "must be"},
      {"notify_url", "https://example.com:0/", "must be"},
      {"notify_url", "https://example.com:99999/", "must be"},
      {"notify_url", "https://exa mple.com/", "must be"}};
  for (const auto& [name, value, said] : wrong) {
    EXPECT_THAT(said_of(name, value), HasSubstr(said)) << name << "=" << value.substr(0, 60);
  }
  EXPECT_THAT(said_of("notify_url", "https://me:s3cret@example.com"),
              ::testing::Not(HasSubstr("s3cret")));
}

TEST(Settings, take_commands_of_one_line_only) {
  const std::tuple<std::string, std::string, std::string> wrong[] = {
      {"start_command", std::string(4097, 'a'), "must not be longer than 4 KiB"},
      {"start_command", std::string("a\0b", 3), "must not hold a NUL byte"},
      {"install_command", "a\nb", "must be one line without control characters"},
      {"build_command", "make\r", "must be one line without control characters"},
      {"start_command", "a\x1b[31m", "must be one line without control characters"},
      {"start_command", " \t ", "is blank; an empty text takes it away"}};
  for (const auto& [name, value, said] : wrong) {
    EXPECT_THAT(said_of(name, value), HasSubstr(name + " " + said)) << value.substr(0, 60);
  }
}

TEST(Settings, that_do_not_exist_are_answered_with_all_that_do) {
  const auto said = said_of("colour", "red");
  EXPECT_THAT(said, HasSubstr("there is no setting 'colour'"));
  for (const auto& setting : known_settings()) {
    EXPECT_THAT(said, HasSubstr(std::string(setting.name)));
  }
  EXPECT_THAT(said_of("build_arg", "x"), HasSubstr("there is no setting 'build_arg'"));
}

TEST(Settings, each_field_of_the_record_has_a_name_that_changes_it) {
  const std::pair<const char*, const char*> values[] = {
      {"health_path", "/x"},        {"port", "1"},
      {"memory_mib", "199"},        {"vcpus", "3"},
      {"disk_mib", "199"},          {"replicas", "3"},
      {"health_deadline", "3s"},    {"clone_deadline", "3s"},
      {"build_deadline", "3s"},     {"drain_deadline", "3s"},
      {"root_folder", "x"},         {"dockerfile", "x"},
      {"build_target", "x"},        {"static.folder", "x"},
      {"static.fallback", "x"},     {"build_arg.X", "x"},
      {"watch_paths", "x"},         {"release_command", "x"},
      {"release_deadline", "3s"},   {"auto_rollback", "3s"},
      {"previews", "true"},         {"preview_limit", "3"},
      {"preview_ttl", "3s"},        {"supersede_after", "3s"},
      {"notify_url", "http://x"},   {"restart_unhealthy_after", "3s"},
      {"stop_grace", "3s"},         {"install_command", "x"},
      {"build_command", "x"},       {"start_command", "x"},
      {"request_rate", "3"},        {"max_concurrent_requests", "3"},
      {"unavailable_message", "x"}, {"app_protocol", "h2c"},
      {"pull_requests", "true"},    {"pull_requests_from_forks", "true"},
      {"primary_domain", "x.y"}};
  EXPECT_EQ(std::size(values), known_settings().size());
  // port_given is changed with the port.
  EXPECT_EQ(static_cast<int>(std::size(values)) + 1, pb::Settings::descriptor()->field_count());
  std::set<std::string> results;
  for (const auto& [name, value] : values) {
    auto settings = default_settings();
    ASSERT_TRUE(set_by_name(settings, name, value)) << name;
    EXPECT_TRUE(validate(settings)) << name;
    EXPECT_NE(settings.SerializeAsString(), default_settings().SerializeAsString()) << name;
    results.insert(settings.SerializeAsString());
  }
  EXPECT_EQ(results.size(), std::size(values));
}

TEST(Settings, know_whether_somebody_named_the_port) {
  auto settings = default_settings();
  EXPECT_FALSE(settings.port_given());
  ASSERT_TRUE(set_by_name(settings, "port", "3000"));
  EXPECT_TRUE(settings.port_given()) << "also when it is the usual one";
  // A record of before that was known: another port than the usual one was named by somebody.
  auto recorded = default_settings();
  recorded.clear_stop_grace_us();
  recorded.clear_port_given();
  EXPECT_FALSE(with_defaults(recorded).port_given());
  recorded.set_port(8080);
  EXPECT_TRUE(with_defaults(recorded).port_given());
  EXPECT_EQ(with_defaults(recorded).stop_grace_us(), 30 * k_second_us);
}

TEST(Settings, of_a_record_before_disk_mib_have_the_disk_of_then) {
  auto recorded = default_settings();
  recorded.clear_disk_mib();
  EXPECT_EQ(with_defaults(recorded).disk_mib(), 2048);
  recorded.set_disk_mib(512);
  EXPECT_EQ(with_defaults(recorded).disk_mib(), 512);
}

TEST(Environment, takes_every_name_that_a_process_can_have) {
  for (const char* name : {"A", "1X", "with.dots", "a-b", "two words", "ümläut", "a\nb", "$x"}) {
    EXPECT_TRUE(validate_env_name(name)) << name;
  }
  EXPECT_TRUE(validate_env_name(std::string(1024, 'n')));
  for (const auto& name : {std::string(), std::string("A=B"), std::string("a\0b", 3),
                           std::string(1025, 'n'), std::string("PORT"), std::string("HOST")}) {
    ASSERT_FALSE(validate_env_name(name)) << name;
    EXPECT_EQ(validate_env_name(name).error().code, ErrorCode::invalid_argument);
  }
  EXPECT_THAT(validate_env_name("PORT").error().message, HasSubstr("project set NAME port=8080"));
}

TEST(Environment, takes_values_as_long_as_the_kernel_does_and_quotes_none) {
  EXPECT_TRUE(validate_env_value("A", ""));
  EXPECT_TRUE(validate_env_value("A", std::string(k_env_entry_bytes_max - 3, 'x')));
  const auto large = validate_env_value("A", std::string(k_env_entry_bytes_max - 2, 'x'));
  ASSERT_FALSE(large);
  EXPECT_EQ(large.error().code, ErrorCode::too_large);
  EXPECT_THAT(large.error().message, HasSubstr("128 KiB"));
  const auto nul = validate_env_value("A", std::string("hunter2\0", 8));
  ASSERT_FALSE(nul);
  EXPECT_THAT(to_string(nul.error()), ::testing::Not(HasSubstr("hunter2")));
}

TEST(Settings, paths_are_kept_as_people_mean_them) {
  auto settings = default_settings();
  ASSERT_TRUE(set_by_name(settings, "root_folder", "./apps/web/"));
  EXPECT_EQ(settings.root_folder(), "apps/web");
  ASSERT_TRUE(set_by_name(settings, "root_folder", "."));
  EXPECT_EQ(settings.root_folder(), "");
  ASSERT_TRUE(set_by_name(settings, "watch_paths", "./src/**, package.json"));
  EXPECT_THAT(settings.watch_paths(), ElementsAre("src/**", "package.json"));
  ASSERT_TRUE(set_by_name(settings, "watch_paths", ""));
  EXPECT_THAT(settings.watch_paths(), IsEmpty());
}

TEST(Settings, build_arguments_are_added_replaced_and_removed_by_name) {
  auto settings = default_settings();
  ASSERT_TRUE(set_by_name(settings, "build_arg.A", "1"));
  ASSERT_TRUE(set_by_name(settings, "build_arg.B", "x=y"));
  ASSERT_TRUE(set_by_name(settings, "build_arg.A", "2"));
  ASSERT_EQ(settings.build_args_size(), 2);
  EXPECT_EQ(settings.build_args(0).name() + settings.build_args(0).value(), "A2");
  EXPECT_EQ(settings.build_args(1).value(), "x=y");
  ASSERT_TRUE(set_by_name(settings, "build_arg.A", ""));
  ASSERT_TRUE(set_by_name(settings, "build_arg.never", ""));
  ASSERT_EQ(settings.build_args_size(), 1);
  EXPECT_EQ(settings.build_args(0).name(), "B");
}

TEST(Settings, hold_at_most_64_watch_paths_and_64_build_arguments) {
  auto settings = default_settings();
  for (int i = 0; i < 64; ++i) {
    settings.add_watch_paths("src");
    ASSERT_TRUE(set_by_name(settings, "build_arg.A" + std::to_string(i), "x"));
  }
  EXPECT_TRUE(validate(settings));
  auto paths = settings;
  paths.add_watch_paths("src");
  EXPECT_THAT(validate(paths).error().message, HasSubstr("watch_paths has 65 entries"));
  ASSERT_TRUE(set_by_name(settings, "build_arg.B", "x"));
  EXPECT_THAT(validate(settings).error().message, HasSubstr("build_arg has 65 names"));
}

// ---- records of an older version ----

TEST(Settings, of_a_record_from_before_a_setting_existed_have_its_default) {
  pb::Settings old = default_settings();
  old.set_port(8080);
  old.set_drain_deadline_us(0);
  old.clear_release_deadline_us();
  old.clear_replicas();
  old.clear_auto_rollback_us();
  old.clear_restart_unhealthy_after_us();
  old.clear_preview_limit();
  old.clear_preview_ttl_us();
  old.clear_supersede_after_us();
  const auto settings = with_defaults(old);
  EXPECT_TRUE(validate(settings));
  EXPECT_EQ(settings.port(), 8080);
  EXPECT_EQ(settings.drain_deadline_us(), 0);
  EXPECT_EQ(settings.replicas(), 1);
  EXPECT_EQ(settings.auto_rollback_us(), 60 * k_second_us);
  EXPECT_EQ(settings.restart_unhealthy_after_us(), 300 * k_second_us);
  EXPECT_EQ(with_defaults(pb::Settings()).SerializeAsString(),
            default_settings().SerializeAsString());
}

TEST(Settings, that_say_never_are_not_taken_for_an_older_record) {
  auto settings = default_settings();
  settings.set_auto_rollback_us(0);
  settings.set_restart_unhealthy_after_us(0);
  settings.set_preview_ttl_us(0);
  settings.set_supersede_after_us(0);
  EXPECT_EQ(with_defaults(settings).SerializeAsString(), settings.SerializeAsString());
}

TEST(Project, of_an_older_log_can_change_a_setting) {
  ProjectState state;
  pb::Event created;
  created.mutable_project_created()->set_name("web");
  auto& old = *created.mutable_project_created()->mutable_settings();
  old = default_settings();
  old.clear_replicas();
  old.clear_preview_limit();
  evolve(state, created);
  ChangeSettings change{state.settings};
  ASSERT_TRUE(set_by_name(change.settings, "port", "8080"));
  EXPECT_TRUE(validate(change.settings));
}

// ---- the repository's atlasflow.toml ----

TEST(RepositoryConfig, wins_over_the_project_and_leaves_the_rest) {
  auto project = default_settings();
  project.set_port(8080);
  project.set_notify_url("https://example.com");
  project.set_release_command("old");
  ASSERT_TRUE(set_by_name(project, "build_arg.A", "project"));
  ASSERT_TRUE(set_by_name(project, "build_arg.B", "project"));
  const auto merged = apply_repository_config(project, {{{"port", "9090"},
                                                         {"build_arg.A", "file"},
                                                         {"build_arg.C", "file"},
                                                         {"watch_paths", "src/**"},
                                                         {"release_command", ""}}});
  ASSERT_TRUE(merged) << to_string(merged.error());
  EXPECT_EQ(merged->port(), 9090);
  EXPECT_EQ(merged->notify_url(), "https://example.com");
  EXPECT_EQ(merged->release_command(), "");
  EXPECT_THAT(merged->watch_paths(), ElementsAre("src/**"));
  std::string args;
  for (const auto& arg : merged->build_args()) args += arg.name() + "=" + arg.value() + " ";
  EXPECT_EQ(args, "A=file B=project C=file ");
}

TEST(RepositoryConfig, cannot_change_what_is_the_projects_alone) {
  for (const auto& setting : known_settings()) {
    if (setting.in_repository) continue;
    const auto merged =
        apply_repository_config(default_settings(), {{{std::string(setting.name), "1s"}}});
    ASSERT_FALSE(merged) << setting.name;
    EXPECT_EQ(merged.error().code, ErrorCode::user_error);
    EXPECT_THAT(merged.error().message, HasSubstr("atlasflow project set"));
  }
}

TEST(RepositoryConfig, over_a_limit_together_with_the_project_is_a_user_error) {
  auto project = default_settings();
  RepositoryConfig config;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(set_by_name(project, "build_arg.A" + std::to_string(i), "x"));
    config.changes.emplace_back("build_arg.B" + std::to_string(i), "x");
  }
  const auto merged = apply_repository_config(project, config);
  ASSERT_FALSE(merged);
  EXPECT_EQ(merged.error().code, ErrorCode::user_error);
  EXPECT_THAT(merged.error().message, HasSubstr("build_arg has 80 names"));
}

}  // namespace
}  // namespace atlasflow
