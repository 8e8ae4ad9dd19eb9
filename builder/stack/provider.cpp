#include "builder/stack/provider.hpp"

#include <algorithm>

namespace atlasflow::builder {

std::span<const Provider> providers() {
  static const std::vector<Provider> all = {
      {"php", "PHP", {"index.php", "composer.json"}, plan_php},
      {"go", "Go", {"go.mod", "go.work", "main.go"}, plan_go},
      {"java", "Java", {"pom.xml", "gradlew", "build.gradle", "build.gradle.kts"}, plan_java},
      {"rust", "Rust", {"Cargo.toml"}, plan_rust},
      {"ruby", "Ruby", {"Gemfile", "config.ru"}, plan_ruby},
      {"elixir", "Elixir", {"mix.exs"}, plan_elixir},
      {"python",
       "Python",
       {"requirements.txt", "pyproject.toml", "Pipfile", "setup.py", "manage.py", "main.py",
        "app.py", "start.py", "bot.py", "hello.py", "server.py"},
       plan_python},
      {"deno", "Deno", {"deno.json", "deno.jsonc", "deno.lock"}, plan_deno},
      {"dotnet", ".NET", {"*.csproj", "*.fsproj", "*.sln", "*.slnx", "global.json"}, plan_dotnet},
      {"node", "Node", {"package.json"}, plan_node},
      {"gleam", "Gleam", {"gleam.toml"}, plan_gleam},
      {"cpp", "C++", {"CMakeLists.txt", "meson.build"}, plan_cpp},
      {"static",
       "a static site",
       {"Staticfile", "index.html", "index.htm", "public", "dist"},
       plan_static},
      {"shell", "a shell script", {"start.sh"}, plan_shell},
  };
  return all;
}

namespace {

bool is_there(const SourceTree& tree, const std::vector<std::string>& names,
              std::string_view name) {
  if (std::binary_search(names.begin(), names.end(), name)) return true;
  return names.size() >= k_listed_names_max && tree.has_file(std::string(name));
}

}  // namespace

std::string seen_of(const Provider& provider, const SourceTree& tree,
                    const std::vector<std::string>& names) {
  for (const std::string_view trigger : provider.triggers) {
    if (trigger.front() != '*') {
      if (is_there(tree, names, trigger)) return std::string(trigger);
      continue;
    }
    const auto found = std::find_if(names.begin(), names.end(), [&](const std::string& name) {
      return name.ends_with(trigger.substr(1));
    });
    if (found != names.end()) return *found;
  }
  return {};
}

bool ProviderInput::has(std::string_view name) const { return is_there(tree, names, name); }

std::string ProviderInput::in_place(const std::string& name) const {
  return name + " in " + place_of(choice);
}

}  // namespace atlasflow::builder
