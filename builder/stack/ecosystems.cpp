#include "builder/stack/ecosystems.hpp"

#include <algorithm>
#include <vector>

namespace atlasflow::builder {
namespace {

struct Known {
  const char* name;
  std::vector<const char*> files;  // one that begins with '*' is the end of a name
  const char* image;
  const char* start;
};

const std::vector<Known>& known_ecosystems() {
  static const std::vector<Known> known = {
      {"PHP",
       {"index.php", "composer.json"},
       "php:8.3-cli",
       R"(CMD ["php", "-S", "0.0.0.0:3000"])"},
      {"Go", {"go.mod", "go.work", "main.go"}, "golang:1.23", R"(CMD ["go", "run", "."])"},
      {"Java (Maven)",
       {"pom.xml"},
       "maven:3-eclipse-temurin-21",
       R"(CMD ["sh", "-c", "java -jar target/*.jar"])"},
      {"Java (Gradle)",
       {"gradlew", "build.gradle", "build.gradle.kts"},
       "gradle:8-jdk21",
       R"(CMD ["sh", "-c", "java -jar build/libs/*.jar"])"},
      {"Rust", {"Cargo.toml"}, "rust:1", R"(CMD ["cargo", "run", "--release"])"},
      {"Ruby",
       {"Gemfile", "config.ru"},
       "ruby:3.3-slim",
       R"(CMD ["bundle", "exec", "rackup", "-o", "0.0.0.0", "-p", "3000"])"},
      {"Elixir", {"mix.exs"}, "elixir:1.17", R"(CMD ["mix", "phx.server"])"},
      {"Python",
       {"requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "manage.py", "uv.lock",
        "poetry.lock", "main.py", "app.py", "start.py", "bot.py", "hello.py", "server.py"},
       "python:3.12-slim",
       R"(CMD ["python", "app.py"])"},
      {"Deno",
       {"deno.json", "deno.jsonc", "deno.lock"},
       "denoland/deno:2",
       R"(CMD ["run", "--allow-all", "main.ts"])"},
      {".NET",
       {"*.csproj", "*.fsproj", "*.sln", "global.json"},
       "mcr.microsoft.com/dotnet/sdk:8.0",
       R"(CMD ["dotnet", "run"])"},
      {"Gleam",
       {"gleam.toml"},
       "ghcr.io/gleam-lang/gleam:v1.5.1-erlang-alpine",
       R"(CMD ["gleam", "run"])"},
      {"Scala",
       {"build.sbt"},
       "sbtscala/scala-sbt:eclipse-temurin-21.0.2_13_1.10.2_3.5.1",
       R"(CMD ["sbt", "run"])"},
      {"Clojure",
       {"deps.edn", "project.clj"},
       "clojure:temurin-21",
       R"(CMD ["clojure", "-M", "-m", "main"])"},
      {"Haskell", {"stack.yaml", "*.cabal"}, "haskell:9", R"(CMD ["cabal", "run"])"},
      {"Swift", {"Package.swift"}, "swift:6.0", R"(CMD ["swift", "run"])"},
      {"Dart", {"pubspec.yaml"}, "dart:stable", R"(CMD ["dart", "run"])"},
      {"Crystal",
       {"shard.yml"},
       "crystallang/crystal:1",
       R"(CMD ["crystal", "run", "src/main.cr"])"},
      {"Zig", {"build.zig"}, "debian:bookworm-slim", R"(CMD ["./zig-out/bin/app"])"},
      {"Perl", {"cpanfile"}, "perl:5-slim", R"(CMD ["perl", "app.pl"])"},
      {"C or C++", {"CMakeLists.txt", "meson.build"}, "gcc:14", R"(CMD ["./build/app"])"},
      {"a shell script", {"start.sh"}, "debian:bookworm-slim", R"(CMD ["sh", "start.sh"])"},
  };
  return known;
}

}  // namespace

std::optional<Ecosystem> find_ecosystem(const SourceTree& tree) {
  const auto names = tree.list("");
  for (const auto& known : known_ecosystems()) {
    for (const std::string_view file : known.files) {
      const auto seen = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
        return file.front() == '*' ? name.ends_with(file.substr(1)) : name == file;
      });
      if (seen != names.end()) return Ecosystem{known.name, *seen, known.image, known.start};
    }
  }
  return std::nullopt;
}

}  // namespace atlasflow::builder
