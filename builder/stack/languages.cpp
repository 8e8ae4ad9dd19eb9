#include "builder/stack/languages.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace atlasflow::builder {

std::span<const Language> languages() {
  static const std::vector<Language> known = {
      {"cpp", "cpp", "C++", k_debian_image, "", {"12"}},
      {"deno", "", "Deno", "docker.io/denoland/deno:{}", "docker.io/denoland/deno:{}", {"2.5.2"}},
      {"dotnet", "", ".NET", "mcr.microsoft.com/dotnet/sdk:{}", "", {"8.0", "9.0", "10.0", "6.0"}},
      {"dotnet-runtime",
       "",
       ".NET",
       "mcr.microsoft.com/dotnet/aspnet:{}",
       "",
       {"8.0", "9.0", "10.0", "6.0"}},
      {"elixir",
       "",
       "Elixir",
       "docker.io/library/elixir:{}-slim",
       "docker.io/library/elixir:{}-slim",
       {"1.18", "1.17", "1.16", "1.15", "1.14"}},
      {"gleam", "", "Gleam", "ghcr.io/gleam-lang/gleam:v{}-erlang-alpine", "", {"1.11.0"}},
      {"go",
       "go",
       "Go",
       "docker.io/library/golang:{}-bookworm",
       "",
       {"1.25", "1.24", "1.23", "1.22", "1.21", "1.20"}},
      {"gradle", "", "Java", "docker.io/library/gradle:8-jdk{}", "", {"21", "17", "11"}},
      {"java",
       "java",
       "Java",
       "docker.io/library/eclipse-temurin:{}-jdk",
       "",
       {"21", "17", "25", "11", "8"}},
      {"java-runtime",
       "java-runtime",
       "Java",
       "docker.io/library/eclipse-temurin:{}-jre",
       "",
       {"21", "17", "25", "11", "8"}},
      {"maven",
       "java",
       "Java",
       "docker.io/library/maven:3-eclipse-temurin-{}",
       "",
       {"21", "17", "25", "11", "8"}},
      {"node",
       "node",
       "Node",
       "docker.io/library/node:{}-bookworm-slim",
       "docker.io/library/node:{}-slim",
       {"22", "24", "20", "18"}},
      {"php",
       "php",
       "PHP",
       "docker.io/library/php:{}-apache-bookworm",
       "",
       {"8.3", "8.4", "8.2", "8.1"}},
      {"python",
       "python",
       "Python",
       "docker.io/library/python:{}-slim-bookworm",
       "docker.io/library/python:{}-slim",
       {"3.13", "3.12", "3.14", "3.11", "3.10", "3.9"}},
      {"ruby",
       "ruby",
       "Ruby",
       "docker.io/library/ruby:{}-slim-bookworm",
       "docker.io/library/ruby:{}-slim",
       {"3.4", "3.3", "3.2", "3.1"}},
      {"rust", "rust", "Rust", "docker.io/library/rust:{}-bookworm", "", {"1"}},
      {"shell", "", "the shell", k_debian_image, "", {"12"}},
  };
  return known;
}

const Language& language(std::string_view key) {
  const auto all = languages();
  const auto found =
      std::find_if(all.begin(), all.end(), [&](const Language& each) { return each.key == key; });
  ATLAS_ASSERT(found != all.end(), key);
  return *found;
}

}  // namespace atlasflow::builder
