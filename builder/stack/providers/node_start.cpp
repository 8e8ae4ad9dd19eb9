#include "builder/stack/providers/node_start.hpp"

#include <algorithm>
#include <array>
#include <cstddef>
#include <set>
#include <string_view>
#include <utility>

#include "builder/source/watch_paths.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {
namespace {

constexpr std::size_t k_packages_max = 200;  // of workspaces that are looked at
constexpr std::size_t k_folders_max = 5000;  // that are listed for their patterns
constexpr std::size_t k_patterns_max = 1000;
constexpr std::size_t k_pattern_bytes_max = 512;
constexpr std::ptrdiff_t k_pattern_slashes_max = 32;

struct Framework {
  const char* package;
  std::vector<std::string> start;
};
// What their own documentation says of a Node server, once it is built.
const std::vector<Framework>& frameworks() {
  static const std::vector<Framework> known = {
      {"next", {"node_modules/.bin/next", "start"}},
      {"nuxt", {"node", ".output/server/index.mjs"}},
      {"@remix-run/serve", {"node_modules/.bin/remix-serve", "build/server/index.js"}},
      {"@react-router/serve", {"node_modules/.bin/react-router-serve", "build/server/index.js"}},
      {"@sveltejs/adapter-node", {"node", "build"}},
      {"@astrojs/node", {"node", "dist/server/entry.mjs"}},
      {"@tanstack/react-start", {"node", ".output/server/index.mjs"}},
      {"@solidjs/start", {"node", ".output/server/index.mjs"}},
      {"@nestjs/core", {"node", "dist/main.js"}},
  };
  return known;
}

// These show a project to whoever works on it; what they show to everybody else is what the build
// script makes.
bool is_development_server(const std::string& script) {
  constexpr std::array<std::string_view, 25> k_commands = {"react-scripts start",
                                                           "docusaurus start",
                                                           "ng serve",
                                                           "ng s",
                                                           "vue-cli-service serve",
                                                           "webpack serve",
                                                           "webpack-dev-server",
                                                           "astro dev",
                                                           "astro preview",
                                                           "vite dev",
                                                           "vite serve",
                                                           "vite preview",
                                                           "vite --",
                                                           "parcel index.html",
                                                           "gatsby dev",
                                                           "eleventy --serve",
                                                           "nx serve",
                                                           "next dev",
                                                           "nuxt dev",
                                                           "turbo dev",
                                                           "turbo run dev",
                                                           "remix vite:dev",
                                                           "react-router dev",
                                                           "expo start",
                                                           "vinxi dev"};
  return script == "vite" || script == "ng serve" ||
         std::any_of(k_commands.begin(), k_commands.end(),
                     [&](std::string_view command) { return script.starts_with(command); });
}

// Without the variables that are set for a command: "cross-env A=b x" is "x".
std::string without_variables(std::string script) {
  for (;;) {
    const auto word = script.substr(0, script.find(' '));
    const bool is_variable = word.find('=') != std::string::npos && word.front() != '-';
    if (word == script || (word != "cross-env" && word != "env" && !is_variable)) return script;
    script = trimmed(std::string_view(script).substr(word.size()));
  }
}

// The command of a script, where that only runs another one: "npm run dev".
std::string command_of(const PackageJson& package, const std::string& script) {
  constexpr int k_steps_max = 8;
  std::string command = without_variables(script);
  for (int i = 0; i < k_steps_max; ++i) {
    const std::string* next = nullptr;
    for (const std::string_view by :
         {"npm run ", "yarn run ", "pnpm run ", "bun run ", "yarn ", "pnpm "}) {
      if (next == nullptr && command.starts_with(by)) {
        next = package.script(command.substr(by.size()));
      }
    }
    if (next == nullptr) break;
    command = without_variables(*next);
  }
  return command;
}

// Programs that are not called as their packages are.
constexpr std::pair<std::string_view, std::string_view> k_programs[] = {
    {"nest", "@nestjs/cli"},   {"dotenv", "dotenv-cli"},      {"babel-node", "@babel/node"},
    {"tsc", "typescript"},     {"swc-node", "@swc-node/cli"}, {"ng", "@angular/cli"},
    {"ts-node-esm", "ts-node"}};

// Without quotes.
std::vector<std::string> words_of(const std::string& command) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : command + " ") {
    if (c == '"' || c == '\'') continue;
    if (c != ' ' && c != '\t' && c != ';' && c != '&' && c != '|') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  return words;
}

// All that the command runs, in words: of itself, and of the scripts that it calls, with what comes
// before and behind a start script. Without a command: `npm start`.
std::vector<std::string> start_words(const PackageJson& package, const std::string& command) {
  constexpr std::size_t k_scripts_max = 16;
  std::vector<std::string> names;
  std::vector<std::string> words;
  const auto call = [&names](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  const auto take = [&](const std::string& text) {
    std::string previous;
    for (auto& word : words_of(text)) {
      const bool is_called = previous == "run" || previous == "yarn" || previous == "pnpm" ||
                             previous == "bun" || (previous == "npm" && word == "start");
      if (is_called && package.script(word) != nullptr) {
        if (word == "start") call("prestart");
        call(word);
        if (word == "start") call("poststart");
      }
      // npm run --silent start
      if (!word.starts_with('-')) previous = word;
      words.push_back(std::move(word));
    }
  };
  if (command.empty()) {
    names = {"prestart", "start", "poststart"};
  } else {
    take(command);
  }
  for (std::size_t i = 0; i < names.size() && i < k_scripts_max; ++i) {
    if (const auto* script = package.script(names[i])) take(*script);
  }
  return words;
}

// The package of "./node_modules/.bin/tsx", "node_modules/tsx/dist/cli.js".
std::string_view without_modules_folder(std::string_view word) {
  for (const std::string_view folder : {"./", "node_modules/", ".bin/"}) {
    if (word.starts_with(folder)) word.remove_prefix(folder.size());
  }
  return word;
}

// What package.json calls main is a file, or one with .js behind it, or a folder's index.js.
std::optional<std::string> main_file(const SourceTree& tree, const PackageJson& package) {
  if (package.main.empty()) return std::nullopt;
  std::string name = package.main;
  while (name.starts_with("./")) name.erase(0, 2);
  for (const auto& candidate : {name, name + ".js", name + "/index.js"}) {
    if (tree.has_file(candidate)) return candidate;
  }
  return std::nullopt;
}

// next.config with output: "export" makes files.
bool exports_next_site(const SourceTree& tree) {
  for (const char* name : {"next.config.js", "next.config.mjs", "next.config.ts"}) {
    const auto found =
        first_match(text_or_nothing(tree, name), R"(output['"]?\s*:\s*['"](export)['"])");
    if (!found.empty()) return true;
  }
  return false;
}

// dist/NAME/server/server.mjs, of the first project in angular.json.
std::optional<NodeStart> angular_server(const SourceTree& tree, const PackageJson& package) {
  if (!package.depends_on("@angular/ssr")) return std::nullopt;
  const auto file = parse_json(text_or_nothing(tree, "angular.json"), "angular.json", true);
  if (!file) return std::nullopt;
  const auto& projects = object_at(*file, {"projects"});
  if (!projects.is_object()) return std::nullopt;
  for (const auto& [name, project] : projects.items()) {
    if (!is_plain_word(name)) continue;
    return NodeStart{{"node", "dist/" + name + "/server/server.mjs"}, "@angular/ssr"};
  }
  return std::nullopt;
}

std::optional<NodeStart> framework_start(const SourceTree& tree, const PackageJson& package) {
  if (auto angular = angular_server(tree, package)) return angular;
  for (const auto& framework : frameworks()) {
    if (package.depends_on(framework.package)) return NodeStart{framework.start, framework.package};
  }
  return std::nullopt;
}

std::optional<NodeStart> file_start(const SourceTree& tree, const PackageJson& package) {
  if (tree.has_file("server.js")) return NodeStart{{"node", "server.js"}, "server.js"};
  // Beside a page, main and index.js are the page's.
  if (tree.has_file("index.html") || tree.has_file("index.htm")) return std::nullopt;
  if (const auto file = main_file(tree, package)) return NodeStart{{"node", *file}, "main"};
  for (const char* name : {"index.js", "index.mjs", "server.mjs"}) {
    if (tree.has_file(name)) return NodeStart{{"node", name}, name};
  }
  const bool has_bun = tree.has_file("bun.lock") || tree.has_file("bun.lockb");
  for (const char* name : {"index.ts", "server.ts"}) {
    if (has_bun && tree.has_file(name)) return NodeStart{{"bun", name}, name};
  }
  return std::nullopt;
}

// The entries of "packages:" in pnpm-workspace.yaml: "  - 'apps/*'", or "['apps/*']" behind it.
std::vector<std::string> pnpm_packages(const std::string& text) {
  std::vector<std::string> patterns;
  bool inside = false;
  for (const auto& line : lines_of(text)) {
    if (line.empty() || line.front() == '#') continue;
    if (line.starts_with("packages:")) {
      inside = true;
      for (std::string_view rest = line; rest.find_first_of("'\"") != std::string_view::npos;) {
        const auto begin = rest.find_first_of("'\"");
        const auto end = rest.find(rest[begin], begin + 1);
        if (end == std::string_view::npos) break;
        patterns.emplace_back(rest.substr(begin + 1, end - begin - 1));
        rest.remove_prefix(end + 1);
      }
    } else if (line.front() == '-' && inside) {
      auto pattern = trimmed(std::string_view(line).substr(1));
      std::erase_if(pattern, [](char c) { return c == '"' || c == '\''; });
      patterns.push_back(pattern);
    } else {
      inside = false;
    }
  }
  return patterns;
}

// The folders that a workspace's patterns mean: "apps/*", "*", "packages/**", "libs/*/plugins".
// What is listed for all of them together is bounded.
class FolderSearch {
 public:
  explicit FolderSearch(const SourceTree& tree) : tree_(tree) {}

  Result<std::vector<std::string>> run(std::string pattern) {
    if (pattern.size() > k_pattern_bytes_max ||
        std::count(pattern.begin(), pattern.end(), '/') > k_pattern_slashes_max) {
      return fail(ErrorCode::user_error, "the pattern '" + pattern.substr(0, 60) +
                                             "…' of the workspaces is too long: 512 bytes and 32 "
                                             "slashes are the limits");
    }
    while (pattern.starts_with("./")) pattern.erase(0, 2);
    while (pattern.ends_with('/')) pattern.pop_back();
    if (pattern.find('*') == std::string::npos) return std::vector{pattern};
    walk("", pattern);
    std::sort(found_.begin(), found_.end());
    found_.erase(std::unique(found_.begin(), found_.end()), found_.end());
    return std::exchange(found_, {});
  }

 private:
  void walk(const std::string& folder, std::string_view pattern) {
    if (pattern.empty()) {
      const bool is_package =
          tree_.has_file(folder + "/package.json") || tree_.has_file(folder + "/project.json");
      if (!folder.empty() && is_package) found_.push_back(folder);
      return;
    }
    const auto slash = pattern.find('/');
    const auto first = pattern.substr(0, slash);
    const auto rest = slash == std::string_view::npos ? "" : pattern.substr(slash + 1);
    const auto below = [&](const std::string& name) {
      return folder.empty() ? name : folder + "/" + name;
    };
    if (first.find('*') == std::string_view::npos) return walk(below(std::string(first)), rest);
    const bool is_deep = first == "**";
    if (is_deep) walk(folder, rest);
    if (++looked_at_ > k_folders_max) return;
    for (const auto& name : tree_.list(folder)) {
      if (name.front() == '.' || name == "node_modules") continue;
      if (is_deep) {
        // What has no names in it is a file.
        if (looked_at_ <= k_folders_max) walk(below(name), pattern);
      } else if (name_matches(first, name)) {
        walk(below(name), rest);
      }
    }
  }

  const SourceTree& tree_;
  std::size_t looked_at_ = 0;
  std::vector<std::string> found_;
};

// An app of Nx without scripts of its own: "nx build NAME" writes dist/apps/NAME.
std::optional<WorkspaceApp> nx_app(const SourceTree& tree, const std::string& folder) {
  const auto file = folder + "/project.json";
  const auto project = parse_json(text_or_nothing(tree, file), file, true);
  const std::string name = folder.substr(folder.rfind('/') + 1);
  if (!project || !project->is_object() || name.ends_with("-e2e") || !is_plain_word(name))
    return std::nullopt;
  if (text_at(*project, {"projectType"}) == "library") return std::nullopt;
  WorkspaceApp app;
  app.folder = folder;
  app.package.scripts["build"] = "nx build " + name;
  const std::string executor = text_at(*project, {"targets", "serve", "executor"});
  if (executor.ends_with(":node")) {
    app.start = NodeStart{{"node", "dist/" + folder + "/main.js"}, "Nx's " + name};
  }
  return app;
}

}  // namespace

std::string started_dev_dependency(const PackageJson& package, const std::string& command) {
  const auto is_only_dev = [&package](const std::string& name) {
    return package.dev_dependencies.contains(name) && !package.dependencies.contains(name);
  };
  for (const auto& word : start_words(package, command)) {
    // "--import=tsx", "-r=ts-node/register".
    const auto equals = word.starts_with('-') ? word.find('=') : std::string::npos;
    const std::string used(without_modules_folder(equals == std::string::npos
                                                      ? std::string_view(word)
                                                      : std::string_view(word).substr(equals + 1)));
    const auto scope = used.starts_with('@') ? used.find('/') : std::string::npos;
    const auto name = used.substr(0, used.find('/', scope == std::string::npos ? 0 : scope + 1));
    if (is_only_dev(name)) return name;
    for (const auto& [program, owner] : k_programs) {
      if (used == program && is_only_dev(std::string(owner))) return std::string(owner);
    }
  }
  return {};
}

std::string started_port(const PackageJson& package, const std::string& command) {
  const auto is_port = [](const std::string& text) {
    // mkdir -p 7 is none.
    return text.size() >= 2 && text.size() <= 5 && text != "3000" && text.front() != '0' &&
           text.find_first_not_of("0123456789") == std::string::npos;
  };
  const auto words = start_words(package, command);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto equals = words[i].find('=');
    const auto name = words[i].substr(0, equals);
    const bool is_option = name == "-p" || name == "--port";
    if (equals != std::string::npos && (name == "PORT" || is_option)) {
      if (const auto value = words[i].substr(equals + 1); is_port(value)) return value;
    }
    if (is_option && i + 1 < words.size() && is_port(words[i + 1])) return words[i + 1];
  }
  return {};
}

const char* build_script_of(const PackageJson& package) {
  for (const char* name : {"heroku-postbuild", "build"}) {
    if (package.script(name) != nullptr) return name;
  }
  return nullptr;
}

bool builds_site(const SourceTree& tree, const PackageJson& package) {
  if (build_script_of(package) == nullptr) return false;
  if (exports_next_site(tree)) return true;
  constexpr std::array<const char*, 12> k_sites = {
      "vite", "react-scripts",  "@angular/core", "@vue/cli-service", "astro",  "gatsby",
      "expo", "@11ty/eleventy", "parcel",        "vitepress",        "rspack", "@docusaurus/core"};
  return std::any_of(k_sites.begin(), k_sites.end(),
                     [&](const char* name) { return package.depends_on(name); });
}

std::optional<NodeStart> find_node_start(const SourceTree& tree, const PackageJson& package) {
  const bool builds = build_script_of(package) != nullptr;
  const auto* script = package.script("start");
  if (builds && exports_next_site(tree)) return std::nullopt;
  if (script != nullptr && !(builds && is_development_server(command_of(package, *script)))) {
    return NodeStart{{}, "a start script"};
  }
  if (builds) {
    if (auto start = framework_start(tree, package)) return start;
  }
  if (script != nullptr) return std::nullopt;
  return file_start(tree, package);
}

std::vector<std::string> workspace_patterns(const SourceTree& tree, const PackageJson& root) {
  auto patterns = root.workspaces;
  for (auto& each : pnpm_packages(text_or_nothing(tree, "pnpm-workspace.yaml"))) {
    patterns.push_back(std::move(each));
  }
  if (patterns.empty() && tree.has_file("nx.json")) patterns = {"apps/*"};
  return patterns;
}

Result<std::vector<WorkspaceApp>> find_workspace_apps(const SourceTree& tree,
                                                      const PackageJson& root) {
  std::vector<WorkspaceApp> apps;
  std::vector<WorkspaceApp> sites;
  std::size_t seen = 0;
  const auto patterns = workspace_patterns(tree, root);
  if (patterns.size() > k_patterns_max) {
    return fail(ErrorCode::user_error,
                "the workspaces have " + std::to_string(patterns.size()) +
                    " patterns; 1000 are the limit: use '*' for the folders of one place");
  }
  FolderSearch search(tree);
  std::set<std::string> left_out;
  for (const auto& pattern : patterns) {
    if (!pattern.starts_with('!')) continue;
    ATLAS_TRY(const auto folders, search.run(pattern.substr(1)));
    left_out.insert(folders.begin(), folders.end());
  }
  for (const auto& pattern : patterns) {
    if (pattern.starts_with('!')) continue;
    ATLAS_TRY(const auto folders, search.run(pattern));
    for (const auto& folder : folders) {
      if (++seen > k_packages_max || !is_plain_word(folder) || left_out.contains(folder)) continue;
      const std::string name = folder + "/package.json";
      ATLAS_TRY(const auto text, read_text(tree, name));
      if (!text) {
        auto app = nx_app(tree, folder);
        if (app) (app->start ? apps : sites).push_back(std::move(*app));
        continue;
      }
      ATLAS_TRY(auto package, parse_package_json(*text, name));
      const SubTree part(tree, folder);
      auto start = find_node_start(part, package);
      // What has a main alone is a library.
      const bool is_app = start &&
                          (start->command.empty() || build_script_of(package) != nullptr) &&
                          start->why != "main";
      if (is_app) {
        start->folder = folder;
        apps.push_back({folder, std::move(package), std::move(start)});
      } else if (builds_site(part, package)) {
        sites.push_back({folder, std::move(package), std::nullopt});
      }
    }
  }
  return apps.empty() ? sites : apps;
}

}  // namespace atlasflow::builder
