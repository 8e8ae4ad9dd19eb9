#include "builder/source/repository_config.hpp"

#include <gmock/gmock.h>

#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

pb::Settings applied(std::string_view text) {
  const auto config = parse_repository_config(text);
  EXPECT_TRUE(config) << to_string(config.error());
  if (!config) return {};
  auto settings = apply_repository_config(default_settings(), *config);
  EXPECT_TRUE(settings) << to_string(settings.error());
  return settings ? *std::move(settings) : pb::Settings();
}

std::string error_of(std::string_view text) {
  const auto config = parse_repository_config(text);
  EXPECT_FALSE(config) << text;
  if (config) return "";
  EXPECT_EQ(config.error().code, ErrorCode::user_error);
  return config.error().message;
}

TEST(RepositoryFile, changes_every_setting_that_is_the_repositorys) {
  const auto settings = applied(R"(# How this app is deployed.
health_path = "/up"
port = 8080
memory_mib = 256
vcpus = 2
disk_mib = 4096
replicas = 3
health_deadline = "30s"
build_deadline = "10m"
drain_deadline = "500ms"
root_folder = "apps/web"
dockerfile = "docker/Dockerfile.prod"
build_target = "prod"
watch_paths = [
  "apps/web/**",
  "package.json",
]
release_command = "bin/migrate && echo 'done'"
release_deadline = "5m"
auto_rollback = "0s"

[build_args]
NODE_VERSION = "20"
WORKERS = 4
MINIFY = true
)");
  EXPECT_EQ(settings.health_path(), "/up");
  EXPECT_EQ(settings.port(), 8080);
  EXPECT_EQ(settings.memory_mib(), 256);
  EXPECT_EQ(settings.vcpus(), 2);
  EXPECT_EQ(settings.disk_mib(), 4096);
  EXPECT_EQ(settings.replicas(), 3);
  EXPECT_EQ(settings.health_deadline_us(), 30 * k_second_us);
  EXPECT_EQ(settings.build_deadline_us(), 600 * k_second_us);
  EXPECT_EQ(settings.drain_deadline_us(), k_second_us / 2);
  EXPECT_EQ(settings.root_folder(), "apps/web");
  EXPECT_EQ(settings.dockerfile(), "docker/Dockerfile.prod");
  EXPECT_EQ(settings.build_target(), "prod");
  EXPECT_THAT(settings.watch_paths(), testing::ElementsAre("apps/web/**", "package.json"));
  EXPECT_EQ(settings.release_command(), "bin/migrate && echo 'done'");
  EXPECT_EQ(settings.release_deadline_us(), 300 * k_second_us);
  EXPECT_EQ(settings.auto_rollback_us(), 0);
  std::string args;
  for (const auto& arg : settings.build_args()) args += arg.name() + "=" + arg.value() + " ";
  EXPECT_EQ(args, "MINIFY=true NODE_VERSION=20 WORKERS=4 ");
}

TEST(RepositoryFile, that_is_empty_changes_nothing) {
  EXPECT_EQ(applied("").SerializeAsString(), default_settings().SerializeAsString());
  EXPECT_EQ(applied("# later\n\n[build_args]\n").SerializeAsString(),
            default_settings().SerializeAsString());
}

TEST(RepositoryFile, takes_an_empty_list_for_all_paths) {
  auto project = default_settings();
  project.add_watch_paths("src/**");
  const auto config = parse_repository_config("watch_paths = []\n");
  ASSERT_TRUE(config);
  const auto settings = apply_repository_config(project, *config);
  ASSERT_TRUE(settings);
  EXPECT_EQ(settings->watch_paths_size(), 0);
}

TEST(RepositoryFile, with_an_unknown_key_is_told_the_line_and_the_key_that_was_meant) {
  EXPECT_EQ(error_of("port = 80\n\nhelth_path = \"/up\"\n"),
            "atlasflow.toml, line 3: 'helth_path' is not known; did you mean health_path?");
  EXPECT_EQ(error_of("watchpaths = []\n"),
            "atlasflow.toml, line 1: 'watchpaths' is not known; did you mean watch_paths?");
  EXPECT_EQ(error_of("[build_arg]\nA = \"x\"\n"),
            "atlasflow.toml, line 1: 'build_arg' is not known; did you mean build_args?");
  EXPECT_EQ(
      error_of("\n[edge]\nhttp = \"x\"\n"),
      "atlasflow.toml, line 2: 'edge' is not known; there are health_path, port, memory_mib, "
      "vcpus, disk_mib, replicas, request_rate, max_concurrent_requests, unavailable_message, "
      "app_protocol, health_deadline, build_deadline, drain_deadline, stop_grace, "
      "root_folder, dockerfile, static.folder, static.fallback, build_target, build_args, "
      "install_command, build_command, start_command, watch_paths, release_command, "
      "release_deadline, auto_rollback, "
      "restart_unhealthy_after");
}

TEST(RepositoryFile, cannot_hold_what_is_the_projects_alone) {
  for (const std::string key :
       {"previews = true", "preview_limit = 3", "preview_ttl = \"1h\"", "supersede_after = \"1m\"",
        "notify_url = \"https://example.com\"", "clone_deadline = \"1m\""}) {
    EXPECT_EQ(error_of("port = 80\n" + key + "\n"),
              "atlasflow.toml, line 2: " + key.substr(0, key.find(' ')) +
                  " is the project's alone; atlasflow project set changes it");
  }
}

TEST(RepositoryFile, with_a_wrong_type_or_range_is_told_the_line_and_what_it_must_be) {
  const std::pair<std::string, std::string> wrong[] = {
      {"port = \"8080\"", "line 1: port must be a whole number without quotes"},
      {"port = 80.5", "line 1: port must be a whole number without quotes"},
      {"port = 70000", "line 1: port is 70000; it must be from 1 to 65535"},
      {"\nport = -1", "line 2: port takes a whole number, not '-1'"},
      {"replicas = 0", "line 1: replicas is 0; it must be from 1 to 32"},
      {"health_path = 3", "line 1: health_path must be text in quotes"},
      {"health_path = \"up\"", "line 1: health_path must start with '/'"},
      {"health_deadline = 30", "line 1: health_deadline must be a duration in quotes"},
      {"health_deadline = \"30\"", "line 1: health_deadline takes a duration such as"},
      {"health_deadline = \"2d\"", "line 1: health_deadline is 2d; it must be from 1s to 1d"},
      {"root_folder = \"../x\"", "line 1: root_folder must be a path inside of the repository"},
      {"dockerfile = \"/../etc/passwd\"", "line 1: dockerfile must be a path below"},
      {"build_target = \"--x\"", "line 1: build_target must be"},
      {"watch_paths = \"src\"", "line 1: watch_paths must be a list of texts"},
      {"watch_paths = [\n\"a\",\n3]", "line 3: watch_paths must hold texts in quotes"},
      {"watch_paths = [\n\"a\",\n\"\"]", "line 3: watch_paths must hold texts in quotes, none of"},
      {"watch_paths = [\n\"a\",\n\"/b\"]", "line 3: watch_paths '/b' must be a path from"},
      {"watch_paths = [\"a,b\"]", "line 1: watch_paths 'a,b' holds a comma"},
      {"build_args = \"A=1\"", "line 1: build_args must be a table: write [build_args]"},
      {"[build_args]\nA = []", "line 2: build_arg.A must be text, a whole number, true or false"},
      {"[build_args]\n\"A-B\" = \"x\"", "line 2: 'A-B' is no build argument's name"},
      {"release_command = [\"sh\"]", "line 1: release_command must be text in quotes"},
      {"port = ", "line 1 is not TOML"},
      {"port = 1\nport = 2\n", "line 2 is not TOML"},
      {"a = \"\xff\"", "is not TOML"}};
  for (const auto& [text, said] : wrong) {
    EXPECT_THAT(error_of(text), StartsWith("atlasflow.toml, line ")) << text;
    EXPECT_THAT(error_of(text), HasSubstr(said)) << text;
  }
}

TEST(RepositoryFile, with_several_mistakes_is_told_the_first_line) {
  EXPECT_THAT(error_of("vcpus = 0\nport = 0\ncolour = 1\n"), HasSubstr("line 1: vcpus is 0"));
  EXPECT_THAT(error_of("zebra = 1\nport = 0\n"), HasSubstr("line 1: 'zebra'"));
}

// No key of it has more than one part, so the sentence speaks of the lines.
TEST(RepositoryFile, with_too_many_dots_is_told_of_the_lines_that_have_them) {
  std::string text = "port = 1\n";
  for (int i = 0; i < 101; ++i) text += "# " + std::string(20, '.') + "\n";
  EXPECT_EQ(error_of(text),
            "atlasflow.toml, line 102: lines with many dots, more than 16 in each, have more than "
            "2000 of them together; write them as several shorter lines");
}

TEST(RepositoryFile, with_too_many_entries_is_refused) {
  std::string text = "watch_paths = [";
  for (int i = 0; i < 65; ++i) text += "\"a\",";
  EXPECT_THAT(error_of(text + "]\n"), HasSubstr("line 1: watch_paths has 65 entries"));
}

// ---- what users read
// -----------------------------------------------------------------------------

TEST(RepositoryFile, of_the_examples_is_right_and_is_what_the_documentation_shows) {
  const std::filesystem::path root = ATLASFLOW_SOURCE_DIR;
  const auto example = read(root / "examples/atlasflow.toml");
  EXPECT_EQ(applied(example).build_target(), "prod");
  const auto page = read(root / "docs/settings.md");
  const auto start = page.find("```toml\n") + 8;
  const auto shown = page.substr(start, page.find("```", start) - start);
  EXPECT_EQ(applied(shown).SerializeAsString(), applied(example).SerializeAsString());
}

TEST(Documentation, has_a_row_for_every_setting_that_says_where_it_may_stand) {
  const auto page = read(std::filesystem::path(ATLASFLOW_SOURCE_DIR) / "docs/settings.md");
  for (const auto& setting : known_settings()) {
    const auto row = page.find("| `" + std::string(setting.name) + "` |");
    ASSERT_NE(row, std::string::npos) << setting.name;
    EXPECT_THAT(page.substr(row, page.find('\n', row) - row),
                HasSubstr(setting.in_repository ? "| both |" : "| project |"))
        << setting.name;
  }
}

// ---- the file in a checkout
// ----------------------------------------------------------------------

TEST(RepositoryFile, that_is_not_there_is_no_config) {
  const Scratch scratch;
  const auto config = read_repository_config(scratch.path());
  ASSERT_TRUE(config) << to_string(config.error());
  EXPECT_FALSE(config->has_value());
}

TEST(RepositoryFile, is_read_from_the_root_of_the_checkout) {
  const Scratch scratch;
  write(scratch.path() / "atlasflow.toml", "port = 8080\n");
  const auto config = read_repository_config(scratch.path());
  ASSERT_TRUE(config && *config);
  EXPECT_EQ((*config)->changes.front(), (std::pair<std::string, std::string>("port", "8080")));
}

TEST(RepositoryFile, larger_than_64_kib_is_a_user_error) {
  const Scratch scratch;
  write(scratch.path() / "atlasflow.toml", std::string(65'536, '\n'));
  EXPECT_TRUE(read_repository_config(scratch.path()));
  write(scratch.path() / "atlasflow.toml", std::string(65'537, '\n'));
  const auto config = read_repository_config(scratch.path());
  ASSERT_FALSE(config);
  EXPECT_EQ(config.error().code, ErrorCode::user_error);
  EXPECT_THAT(config.error().message, HasSubstr("atlasflow.toml is larger than 64 KiB"));
}

TEST(RepositoryFile, that_is_a_link_out_of_the_checkout_is_not_followed_nor_passed_over) {
  const Scratch scratch;
  write(scratch.path() / "outside.toml", "port = 8080\n");
  const auto checkout = scratch.path() / "checkout";
  write(checkout / "settings/atlasflow.toml", "port = 9090\n");
  std::filesystem::create_symlink(scratch.path() / "outside.toml", checkout / "atlasflow.toml");
  const auto out = read_repository_config(checkout);
  ASSERT_FALSE(out);
  EXPECT_EQ(out.error().code, ErrorCode::user_error);
  EXPECT_THAT(out.error().message, HasSubstr("a link that leads out of it"));
  std::filesystem::remove(checkout / "atlasflow.toml");
  std::filesystem::create_symlink("settings/atlasflow.toml", checkout / "atlasflow.toml");
  const auto inside = read_repository_config(checkout);
  ASSERT_TRUE(inside && *inside);
  EXPECT_EQ((*inside)->changes.front().second, "9090");
}

}  // namespace
}  // namespace atlasflow::builder
