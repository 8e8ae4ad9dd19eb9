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
