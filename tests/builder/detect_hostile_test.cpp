// What a stranger's repository may be so that the server that looks at it dies: folders where files
// are looked for, and files that are nested without end.
#include "builder/source/repository_config.hpp"
#include "builder/stack/provider.hpp"
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

// An app of each kind, by the files that its provider reads first.
std::vector<Files> apps() {
  return {
      {{"Dockerfile", "FROM debian\n"}},
      {{"index.php", ""}, {"composer.json", R"({"require": {"php": "^8.2"}})"}},
      {{"go.mod", "module x\n"}, {"main.go", "package main\n"}},
      {{"go.work", "use ./a\n"}, {"a/main.go", "package main\n"}},
      {{"pom.xml", "<project>"}},
      {{"gradlew", ""}, {"build.gradle", ""}},
      {{"Cargo.toml", "[package]\nname = \"x\"\n[[bin]]\nname = \"x\"\n"}, {"src/main.rs", ""}},
      {{"Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"}, {"a/Cargo.toml", ""}},
      {{"Gemfile", "gem 'puma'\ngem 'jekyll'\n"}, {"config.ru", ""}, {"_config.yml", ""}},
      {{"mix.exs", "app: :shop\n"}},
      {{"requirements.txt", "flask\n"}, {"app.py", "app = Flask()\n"}},
      {{"manage.py", ""}, {"shop/wsgi.py", ""}, {"Pipfile", "[packages]\ndjango = \"*\"\n"}},
      {{"deno.json", R"({"tasks": {"start": "x"}})"}, {"main.ts", ""}},
      {{"Shop.csproj", "<Project>"}},
      {{"package.json", R"({"scripts": {"start": "x", "build": "x"}, "workspaces": ["a"]})"}},
      {{"package.json",
        R"({"scripts": {"build": "x"}, "devDependencies": {"@angular/ssr": "1"}})"}},
      {{"gleam.toml", "name = \"x\"\n"}},
      {{"CMakeLists.txt", "add_executable(x x.cpp)\n"}},
      {{"meson.build", "executable('x')\n"}},
      {{"index.html", ""}},
      {{"start.sh", "#!/bin/sh\n"}},
      {},
  };
}

// Every name that a provider looks for, of files as of folders.
std::vector<std::string> looked_for() {
  std::vector<std::string> names = {"Dockerfile",
                                    "Containerfile",
                                    ".dockerignore",
                                    ".containerignore",
                                    "Procfile",
                                    "start.sh",
                                    ".tool-versions",
                                    "mise.toml",
                                    ".mise.toml",
                                    ".nvmrc",
                                    ".node-version",
                                    ".npmrc",
                                    ".yarnrc",
                                    ".yarnrc.yml",
                                    "package-lock.json",
                                    "npm-shrinkwrap.json",
                                    "pnpm-lock.yaml",
                                    "yarn.lock",
                                    "bun.lock",
                                    "bun.lockb",
                                    "pnpm-workspace.yaml",
                                    "nx.json",
                                    "angular.json",
                                    "turbo.json",
                                    "server.js",
                                    "index.js",
                                    "index.ts",
                                    "next.config.js",
                                    "a/package.json",
                                    "a/project.json",
                                    "apps/a/project.json",
                                    "artisan",
                                    "bin/console",
                                    "public/index.php",
                                    "composer.lock",
                                    ".php-version",
                                    "cmd",
                                    "cmd/a/main.go",
                                    "a/main.go",
                                    ".go-version",
                                    "mvnw",
                                    ".mvn/wrapper/maven-wrapper.properties",
                                    ".java-version",
                                    "system.properties",
                                    ".sdkmanrc",
                                    "src/main.rs",
                                    "src/bin/a.rs",
                                    "a/Cargo.toml",
                                    "a/src/main.rs",
                                    "Cargo.lock",
                                    "rust-toolchain",
                                    "rust-toolchain.toml",
                                    ".rust-version",
                                    "Gemfile.lock",
                                    ".ruby-version",
                                    "_config.yml",
                                    "app.rb",
                                    "config/application.rb",
                                    ".elixir-version",
                                    "uv.lock",
                                    "poetry.lock",
                                    "pdm.lock",
                                    "Pipfile.lock",
                                    "setup.cfg",
                                    ".python-version",
                                    "runtime.txt",
                                    "wsgi.py",
                                    "shop/wsgi.py",
                                    "shop/settings.py",
                                    "__init__.py",
                                    "app/main.py",
                                    ".dvmrc",
                                    "main.ts",
                                    "a.csproj",
                                    "src/a/a.csproj",
                                    "index.html",
                                    "dist/index.html"};
  for (const auto& provider : providers()) {
    for (const std::string trigger : provider.triggers) {
      names.push_back(trigger.starts_with('*') ? "a" + trigger.substr(1) : trigger);
    }
  }
  return names;
}

TEST(Hostile, a_folder_is_none_of_the_files_that_are_looked_for) {
  for (const auto& app : apps()) {
    for (const auto& name : looked_for()) {
      Files files = app;
      files.erase(name);
      files[name + "/x"] = "";
      const auto stack = detect_files(files);
      if (!stack) {
        EXPECT_EQ(stack.error().code, ErrorCode::user_error) << name;
      }
    }
  }
  EXPECT_THAT(refused({{"mix.exs/x", ""}}), HasSubstr("mix.exs is no file"));
  EXPECT_THAT(refused({{"CMakeLists.txt/x", ""}}), HasSubstr("CMakeLists.txt is no file"));
  EXPECT_THAT(refused({{"meson.build/x", ""}}), HasSubstr("meson.build is no file"));
}

// Below the limit of a file, 1 MiB.
constexpr int k_brackets = 500'000;

std::string nested_arrays(const std::string& before, const std::string& after) {
  return before + std::string(k_brackets, '[') + std::string(k_brackets, ']') + after;
}

TEST(Hostile, json_without_end_is_refused_and_takes_no_stack) {
  const std::string deep = nested_arrays(R"({"tasks": {"start": )", "}}");
  const std::string open(k_brackets, '[');
  const std::pair<const char*, Files> cases[] = {
      {"deno.json", {{"deno.json", deep}, {"main.ts", ""}}},
      {"deno.json", {{"deno.json", open}, {"main.ts", ""}}},
      {"composer.json", {{"composer.json", deep}, {"index.php", ""}}},
      {"package.json", {{"package.json", deep}}},
      {"package.json", {{"package.json", open}}},
      {"a/package.json", {{"package.json", R"({"workspaces": ["a"]})"}, {"a/package.json", deep}}},
  };
  for (const auto& [name, files] : cases) {
    EXPECT_THAT(refused(files), HasSubstr(std::string(name) + " has more than 64 levels")) << name;
  }
  const std::string at_limit =
      R"({"x": )" + std::string(62, '[') + std::string(62, ']') + R"(, "scripts": {"start": "a"}})";
  EXPECT_EQ(detected({{"package.json", at_limit}}).name, "node");
}

TEST(Hostile, json_without_end_that_would_only_say_more_says_nothing) {
  const std::string deep = nested_arrays(R"({"sdk": {"version": )", "}}");
  EXPECT_EQ(detected({{"a.fsproj", ""}, {"global.json", deep}}).name, "dotnet");
  const char* angular =
      R"({"scripts": {"build": "x", "start": "y"}, "devDependencies": {"@angular/ssr": "1"}})";
  const std::string projects = nested_arrays(R"({"projects": )", "}");
  EXPECT_EQ(detected({{"package.json", angular}, {"angular.json", projects}}).name, "node");
  const std::string type = nested_arrays(R"({"projectType": )", "}");
  EXPECT_THAT(refused({{"package.json", "{}"}, {"nx.json", "{}"}, {"apps/a/project.json", type}}),
              HasSubstr("nothing says how it is started"));
}

TEST(Hostile, a_number_that_is_none_is_refused_by_the_name_of_its_file) {
  const std::pair<const char*, Files> cases[] = {
      {"package.json", {{"package.json", R"({"scripts": {"start": "x"}, "a": 1e999})"}}},
      {"composer.json", {{"composer.json", R"({"a": -1e999})"}, {"index.php", ""}}},
      {"deno.json", {{"deno.json", R"({"a": 1e999})"}, {"main.ts", ""}}}};
  for (const auto& [name, files] : cases) {
    EXPECT_THAT(refused(files), HasSubstr(std::string(name) + " is not JSON: number overflow"));
  }
  EXPECT_EQ(detected({{"a.fsproj", ""}, {"global.json", R"({"a": 1e999})"}}).name, "dotnet");
}

TEST(Hostile, a_site_of_a_workspace_needs_no_script_of_one_name) {
  const auto stack = detected({{"package.json", R"({"workspaces": ["a"]})"},
                               {"a/package.json", R"({"scripts": {"heroku-postbuild": "vite build"},
                                                      "devDependencies": {"vite": "5"}})"}});
  EXPECT_EQ(stack.name, "static");
  EXPECT_THAT(stack.dockerfile, HasSubstr("cd a && npm run heroku-postbuild\n"));
}

// Each of these kept the thread that builds for ever, or ended the server by its stack.
TEST(Hostile, patterns_of_workspaces_end) {
  const auto said = [](const std::string& pattern, const Files& more = {}) {
    Files files = more;
    files["package.json"] = R"({"workspaces": [")" + pattern + R"("]})";
    return refused(files);
  };
  const Files deep = {{std::string(200, 'a') + "/package.json", "{}"}};
  EXPECT_THAT(said("*a*a*a*a*a*a*a*a*a*a*a*a*b", deep),
              HasSubstr("nothing says how it is started"));
  std::string folders;
  for (int i = 0; i < 40'000; ++i) folders += "a/";
  EXPECT_THAT(said(folders + "*"), HasSubstr("is too long"));
  folders.clear();
  for (int i = 0; i < 40'000; ++i) folders += "**/";
  EXPECT_THAT(said(folders + "*"), HasSubstr("is too long"));
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "a*\", \"";
  EXPECT_THAT(said(many), HasSubstr("1000 are the limit"));
}

TEST(Hostile, toml_without_end_is_refused_and_takes_no_stack) {
  std::string key = "a";
  for (int i = 0; i < k_brackets; ++i) key += ".a";
  for (const auto& text : {"[" + key + "]\n", key + " = 1\n", "x = {" + key + " = 1}\n"}) {
    EXPECT_THAT(refused({{"Cargo.toml", text}}),
                HasSubstr("Cargo.toml, line 1: lines with many dots"))
        << text.size();
    EXPECT_FALSE(parse_repository_config(text));
  }
}

}  // namespace
}  // namespace atlasflow::builder
