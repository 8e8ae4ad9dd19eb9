// What is made of a repository by its files alone.
#include "builder/stack/detect.hpp"

#include <algorithm>
#include <map>

#include <gmock/gmock.h>
#include <sys/stat.h>

#include "builder/source/source_file.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

using Files = std::map<std::string, std::string>;

const StackBases k_bases{{"localhost/atlasflow-base/node:18-bookworm"}, {}};
constexpr const char* k_start = R"({"scripts": {"start": "node server.js"}})";
constexpr const char* k_start_and_dependency =
    R"({"scripts": {"start": "node ."}, "dependencies": {"left-pad": "1"}})";

Result<Stack> detect(const Files& files, const StackChoice& choice = {}) {
  return detect_stack(MemoryTree(files), k_bases, choice);
}

std::string refusal(const Files& files, const StackChoice& choice = {}) {
  const auto stack = detect(files, choice);
  if (stack) return "not refused: " + stack->reason;
  EXPECT_EQ(stack.error().code, ErrorCode::user_error);
  return stack.error().message;
}

Stack stack_of(const Files& files, const StackChoice& choice = {}) {
  auto stack = detect(files, choice);
  EXPECT_TRUE(stack) << to_string(stack.error());
  return stack ? std::move(*stack) : Stack{};
}

struct Case {
  Files files;
  std::string stack;
  std::string said;  // in the reason
};

TEST(Detect, the_first_that_matches_decides) {
  const Case cases[] = {
      {{{"Dockerfile", "FROM a"}}, "dockerfile", "Dockerfile in the root folder"},
      {{{"Containerfile", "FROM a"}}, "dockerfile", "Containerfile in the root folder"},
      {{{"dockerfile", "FROM a"}, {"index.html", ""}}, "dockerfile", "dockerfile in"},
      {{{"Dockerfile", "FROM a"}, {"package.json", k_start}, {"index.html", ""}},
       "dockerfile",
       "Dockerfile"},
      {{{"package.json", k_start}}, "node", "package.json with a start script"},
      {{{"package.json", k_start}, {"index.html", ""}}, "node", "package.json"},
      // What is Python by its file, and has nothing to start, is the Node app beside it.
      {{{"package.json", k_start}, {"requirements.txt", ""}}, "node", "a start script"},
      {{{"package.json", k_start}, {"main.py", ""}}, "python", "main.py in the root folder"},
      {{{"package.json", k_start}, {"go.mod", "module x"}, {"main.go", "package main\n"}},
       "go",
       "go.mod in the root folder"},
      {{{"package.json", k_start}, {"index.php", ""}}, "php", "index.php in the root folder"},
      {{{"index.html", ""}, {"start.sh", ""}}, "static", "index.html in the root folder"},
      {{{"main.py", ""}, {"index.html", ""}}, "python", "main.py"},
      {{{"public/index.html", ""}, {"package.json", "{}"}}, "static", "public/index.html"},
      {{{"Staticfile", "# comment\nroot: ./site/\n"}, {"site/a.html", ""}},
       "static",
       "Staticfile, whose root is site"},
      {{{"package.json", "{}"}, {"index.html", ""}},
       "static",
       "index.html, and package.json without a start"},
      {{{"package.json", R"({"main": "index.js"})"}, {"index.js", ""}, {"index.html", ""}},
       "static",
       "index.html"},
      {{{"package.json", R"({"main": "./lib/app"})"}, {"lib/app.js", ""}}, "node", "with main"},
      {{{"package.json", "{}"}, {"server.js", ""}}, "node", "with server.js"},
      {{{"package.json", "{}"}, {"index.js", ""}}, "node", "with index.js"},
      {{{"package.json", "{}"}, {"Procfile", "worker: x\nweb: node app.js -v\r\n"}},
       "node",
       "the web process of Procfile"},
      {{{"index.html", ""}}, "static", "index.html in the root folder"},
      {{{"public/index.html", ""}}, "static", "public/index.html in the root folder"},
      {{{"package.json",
         R"({"scripts": {"build": "vite build"}, "devDependencies": {"vite": "5"}})"},
        {"index.html", ""}},
       "static",
       "built by npm run build, index.html for every path without a file"},
      {{{"package.json",
         R"({"scripts": {"build": "react-scripts build", "start": "react-scripts start"}})"}},
       "static",
       "a build script and nothing to start"},
      {{{"package.json", k_start_and_dependency}}, "node", "dependencies without a lock file"},
      {{{"package.json", k_start_and_dependency}, {"package-lock.json", "{}"}},
       "node",
       "dependencies from package-lock.json"},
  };
  for (const Case& each : cases) {
    const auto stack = detect(each.files);
    ASSERT_TRUE(stack) << each.said << ": " << to_string(stack.error());
    EXPECT_EQ(stack->name, each.stack) << each.said;
    EXPECT_THAT(stack->reason, HasSubstr(each.said));
  }
}

TEST(Detect, a_refusal_names_what_was_seen_and_the_way_out) {
  EXPECT_THAT(refusal({}),
              AllOf(HasSubstr("looked for Dockerfile, Containerfile, index.php, composer.json, "
                              "go.mod"),
                    HasSubstr("package.json"), HasSubstr("start.sh"),
                    HasSubstr("add a Dockerfile, two lines that begin with 'FROM ' and 'CMD '")));
  const std::pair<const char*, const char*> elsewhere[] = {
      {"DOCKERFILE", ". There is a file DOCKERFILE: dockerfile=DOCKERFILE builds by it"},
      {"web.Dockerfile", "dockerfile=web.Dockerfile builds by it"},
      {"docker/Containerfile", "dockerfile=docker/Containerfile builds the root folder by it"},
      {"web/Dockerfile", "by it, root_folder=web that folder alone"}};
  for (const auto& [file, said] : elsewhere) {
    EXPECT_THAT(refusal({{file, "FROM x\n"}}), ::testing::EndsWith(said));
    EXPECT_THAT(refusal({{file, "FROM x\n"}, {"build.sbt", ""}}), ::testing::EndsWith(said));
  }
  EXPECT_THAT(refusal({{"Dockerfile.dockerignore", ""}}), Not(HasSubstr("There is a")));
  EXPECT_THAT(refusal({{"package.json", "{}"}}), HasSubstr("has no start script"));
  EXPECT_THAT(refusal({{"package.json", R"({"scripts": {"start": ""}})"}}),
              HasSubstr("has no start script"));
  const std::pair<const char*, const char*> unknown[] = {
      {"build.sbt", "Scala"}, {"project.clj", "Clojure"}, {"Package.swift", "Swift"}};
  for (const auto& [file, name] : unknown) {
    EXPECT_THAT(refusal({{file, ""}, {"index.html", ""}}),
                AllOf(HasSubstr("this looks like " + std::string(name) + " (" + file + " in"),
                      HasSubstr("'FROM "), HasSubstr("Dockerfile")))
        << file;
  }
}

TEST(Detect, what_has_nothing_to_start_is_refused_by_name_and_its_sources_are_not_shown_as_a_site) {
  const std::pair<Files, const char*> cases[] = {
      {{{"requirements.txt", "requests\n"}}, "Python (requirements.txt in the root folder)"},
      {{{"pyproject.toml", "[tool.ruff]\nline-length = 99\n"}}, "Python (pyproject.toml"},
      {{{"Gemfile", ""}}, "Ruby (Gemfile"},
      {{{"go.mod", "module example.org/x\n"}}, "Go (go.mod"},
      {{{"Cargo.toml", "[package]\nname = \"x\"\n"}}, "Rust (Cargo.toml"},
      {{{"composer.json", "{}"}}, "PHP (composer.json"},
      {{{"gradlew", ""}}, "Java (gradlew"},
      {{{"mix.exs", ""}}, "Elixir (mix.exs"},
      {{{"deno.json", "{}"}}, "Deno (deno.json"},
      {{{"app.sln", ""}}, ".NET (app.sln"},
      {{{"CMakeLists.txt", "project(x)\n"}}, "C++ (CMakeLists.txt"}};
  for (const auto& [files, said] : cases) {
    auto with_page = files;
    with_page["index.html"] = "";
    EXPECT_THAT(refusal(with_page),
                AllOf(HasSubstr(std::string("this looks like ") + said),
                      HasSubstr("nothing says how it is started"), HasSubstr("'web: COMMAND'")))
        << said;
    auto with_process = files;
    with_process["Procfile"] = "web: ./run --port $PORT\n";
    if (files.contains("requirements.txt") || files.contains("Gemfile") ||
        files.contains("composer.json") || files.contains("deno.json")) {
      EXPECT_THAT(stack_of(with_process).start, ElementsAre("sh", "-c", "./run --port $PORT"))
          << said;
    }
  }
}

TEST(Detect, a_script_starts_what_nothing_else_does_also_beside_a_page) {
  for (const char* page : {"README.md", "index.html"}) {
    const auto stack =
        stack_of({{"CMakeLists.txt", "project(x)\n"}, {"start.sh", "#!/bin/sh\n"}, {page, ""}});
    EXPECT_EQ(stack.name, "shell") << page;
  }
}

TEST(Detect, one_folder_that_can_be_built_is_built_and_several_are_named) {
  const auto one = stack_of({{"README.md", ""}, {"web/package.json", k_start}, {"docs/a.md", ""}});
  EXPECT_EQ(one.folder, "web");
  EXPECT_EQ(one.reason, "package.json with a start script in web");
  EXPECT_THAT(refusal({{"web/package.json", k_start}, {"api/main.py", ""}}),
              AllOf(HasSubstr("several folders that could be built, api (Python, main.py), web "
                              "(Node, package.json)"),
                    HasSubstr("root_folder=NAME chooses one")));
  EXPECT_THAT(refusal({{"a/b/package.json", k_start}}), HasSubstr("nothing to build"));
  for (const char* ignored : {"node_modules", "vendor", "docs", "tests", ".cache"}) {
    EXPECT_THAT(refusal({{std::string(ignored) + "/package.json", k_start}}),
                HasSubstr("nothing to build"))
        << ignored;
  }
  // What is in that folder is named from the root.
  EXPECT_THAT(refusal({{"web/package.json", "{"}}), HasSubstr("web/package.json, line 1"));
  EXPECT_THAT(refusal({{"web/requirements.txt", ""}}),
              HasSubstr("this looks like Python (requirements.txt in web)"));
}

TEST(Detect, a_procfile_wins_over_what_the_provider_would_start) {
  EXPECT_THAT(stack_of({{"main.py", ""}, {"Procfile", "web: python other.py"}}).start,
              ElementsAre("sh", "-c", "python other.py"));
  const auto worker = stack_of({{"main.py", ""}, {"Procfile", "release: x\nworker: python w.py"}});
  EXPECT_THAT(worker.start, ElementsAre("sh", "-c", "python w.py"));
  EXPECT_THAT(worker.notices, ::testing::Contains(HasSubstr("no web process")));
  EXPECT_THAT(refusal({{"main.py", ""}, {"Procfile", "web: a\npython app.py\n"}}),
              HasSubstr("Procfile, line 2 names no process"));
}

TEST(Detect, what_a_procfile_releases_is_no_app) {
  const std::string node = R"({"scripts": {"start": "node a"}})";
  const auto only = stack_of({{"package.json", node}, {"Procfile", "release: ./migrate\r\n"}});
  EXPECT_THAT(only.start, ElementsAre("npm", "start"));
  EXPECT_THAT(only.notices, Contains(HasSubstr("the setting release_command")));
  const auto both =
      stack_of({{"package.json", node}, {"Procfile", "release: ./migrate\nclock: node c\n"}});
  EXPECT_EQ(both.start.back(), "node c");
}

TEST(StaticSite, a_staticfile_says_folder_and_fallback_and_what_else_it_says_is_told) {
  const auto stack = stack_of({{"Staticfile",
                                "# of Cloud Foundry\nroot: \"my site\"\npushstate: enabled\n"
                                "force_https: true\n"},
                               {"my site/index.html", ""}});
  EXPECT_THAT(stack.dockerfile, HasSubstr("COPY [\"my site/\",\"/srv\"]\n"));
  EXPECT_THAT(stack.start, Contains("--fallback"));
  EXPECT_THAT(stack.notices, ElementsAre(HasSubstr("Staticfile: force_https is not used")));
  std::string many;
  for (int i = 0; i < 5000; ++i) many += "k" + std::to_string(i) + ": x\n";
  EXPECT_THAT(stack_of({{"Staticfile", many}, {"index.html", ""}}).notices,
              ElementsAre(HasSubstr("Staticfile: k0, k1, k2, k3, k4 and 4995 more are not used")));
}

TEST(Detect, files_of_windows_editors_are_read_as_their_tools_read_them) {
  // What PowerShell makes of "pip freeze > requirements.txt".
  const auto utf16 = [](const std::string& ascii, bool is_little_endian) {
    std::string text = is_little_endian ? "\xFF\xFE" : "\xFE\xFF";
    for (const char c : ascii)
      text += is_little_endian ? std::string{c, '\0'} : std::string{'\0', c};
    return text;
  };
  for (const auto& text : {std::string("\xEF\xBB\xBF") + "flask\r\n", utf16("flask\r\n", true),
                           utf16("flask\r\n", false), std::string("flask\r\n")}) {
    const auto stack =
        stack_of({{"app.py", "app = Flask(__name__)\r\n"}, {"requirements.txt", text}});
    EXPECT_THAT(stack.start, Contains(HasSubstr("gunicorn --bind 0.0.0.0:$PORT 'app:app'")));
  }
  const std::string mark = "\xEF\xBB\xBF";
  EXPECT_EQ(stack_of({{"main.py", ""}, {"Procfile", mark + "web: python x.py\r\n"}}).start.back(),
            "python x.py");
  EXPECT_EQ(
      stack_of({{"go.mod", mark + "module x\r\n"}, {"main.go", mark + "package main\r\n"}}).name,
      "go");
  EXPECT_EQ(stack_of({{"package.json", mark + k_start}}).name, "node");
}

TEST(Detect, a_dockerfile_in_other_letters_is_told_of) {
  for (const char* name : {"DOCKERFILE", "DockerFile"}) {
    EXPECT_THAT(stack_of({{name, "FROM a\n"}, {"main.py", ""}}).notices,
                Contains(HasSubstr(std::string("the file ") + name + " is not used")));
    EXPECT_THAT(refusal({{name, "FROM a\n"}}),
                HasSubstr(std::string("There is a file ") + name + ": dockerfile=" + name));
  }
  EXPECT_THAT(stack_of({{"DOCKERFILE/a", ""}, {"main.py", ""}}).notices, IsEmpty());
}

TEST(Detect, a_merge_that_was_left_half_done_is_told_with_its_line) {
  for (const char* file : {"requirements.txt", "Gemfile", "go.mod", "Cargo.toml", "Procfile"}) {
    EXPECT_THAT(refusal({{"main.py", ""}, {file, "a\n<<<<<<< HEAD\nb\n"}}),
                HasSubstr(std::string(file) + ", line 2: a merge was left half done"))
        << file;
  }
}

// Whose lists are cut, as those of a folder on disk are.
class CutTree final : public SourceTree {
 public:
  explicit CutTree(Files files) : tree_(std::move(files)) {}
  [[nodiscard]] Result<std::optional<std::string>> read(const std::string& name,
                                                        std::size_t limit_bytes) const override {
    return tree_.read(name, limit_bytes);
  }
  [[nodiscard]] bool has_file(const std::string& name) const override {
    return tree_.has_file(name);
  }
  [[nodiscard]] std::vector<std::string> list(const std::string& folder) const override {
    auto names = tree_.list(folder);
    names.resize(std::min(names.size(), k_listed_names_max));
    return names;
  }

 private:
  MemoryTree tree_;
};

TEST(Detect, a_folder_with_more_names_than_are_listed_is_what_its_files_say) {
  Files files;
  for (int i = 0; i < 10'001; ++i) files["0" + std::to_string(i)] = "";
  const std::pair<Files, const char*> cases[] = {
      {{{"package.json", k_start}, {"package-lock.json", "{}"}}, "node"},
      {{{"requirements.txt", "flask\n"}, {"main.py", ""}}, "python"},
      {{{"go.mod", "module x\n"}, {"main.go", "package main\n"}}, "go"},
      {{{"index.html", ""}}, "static"}};
  for (const auto& [own, name] : cases) {
    auto all = files;
    all.insert(own.begin(), own.end());
    const auto stack = detect_stack(CutTree(all), k_bases);
    ASSERT_TRUE(stack) << name << to_string(stack.error());
    EXPECT_EQ(stack->name, name);
    auto below = Files{{"README.md", ""}};
    for (const auto& [path, text] : all) below["web/" + path] = text;
    const auto one = detect_stack(CutTree(below), k_bases);
    ASSERT_TRUE(one) << name << to_string(one.error());
    EXPECT_EQ(one->folder, "web");
  }
  auto other = files;
  other["build.sbt"] = other["index.html"] = "";
  const auto refused = detect_stack(CutTree(other), k_bases);
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().message, HasSubstr("this looks like Scala"));
}

TEST(Detect, is_the_same_on_disk_as_in_memory_and_reads_nothing_through_links_out_of_it) {
  const Scratch scratch;
  const auto folder = scratch.path() / "checkout";
  write(folder / "main.py", "");
  write(scratch.path() / "secret", "flask\n");
  std::filesystem::create_symlink("../secret", folder / "requirements.txt");
  const auto stack = detect_stack(folder, k_bases);
  ASSERT_TRUE(stack) << to_string(stack.error());
  EXPECT_THAT(stack->dockerfile, Not(HasSubstr("pip install")));
}

TEST(Detect, a_package_json_that_is_broken_is_told_with_its_line_and_reason) {
  EXPECT_THAT(refusal({{"package.json", "{\n  \"name\": \"x\",\n  }\n"}}),
              AllOf(HasSubstr("package.json, line 3 is not JSON: "), HasSubstr("'}'")));
  EXPECT_THAT(refusal({{"package.json", "{"}}, {"apps/web"}),
              HasSubstr("apps/web/package.json, line 1 is not JSON"));
  EXPECT_THAT(refusal({{"package.json", "[]"}, {"index.html", ""}}),
              HasSubstr("must hold an object"));
  EXPECT_THAT(refusal({{"package.json", R"({"scripts": "start"})"}}),
              HasSubstr("\"scripts\" must be an object"));
}

TEST(Detect, a_dockerfile_is_taken_as_it_is_with_its_own_ignore_file) {
  Files files = {{"Dockerfile", "FROM a\n# a comment\n"}, {".dockerignore", "secret\n"}};
  EXPECT_EQ(stack_of(files).dockerfile, "FROM a\n# a comment\n");
  EXPECT_EQ(stack_of(files).ignore, "secret\n");
  files["Dockerfile.dockerignore"] = "notes\n";
  EXPECT_EQ(stack_of(files).ignore, "notes\n");
  files["docker/web.Dockerfile"] = "FROM b";
  files["docker/web.Dockerfile.dockerignore"] = "private\n";
  EXPECT_EQ(stack_of(files, {"", "docker/web.Dockerfile"}).ignore, "private\n");
}

TEST(Detect, nothing_but_regular_files_inside_of_the_folder_counts) {
  const Scratch scratch;
  std::filesystem::create_directory(scratch.path() / "checkout");
  write(scratch.path() / "secret", "FROM secret\n");
  std::filesystem::create_symlink("../secret", scratch.path() / "checkout" / "Dockerfile");
  EXPECT_FALSE(detect_stack(scratch.path() / "checkout", k_bases));
  // Not even where something else could be built: the page would be shown without a word.
  write(scratch.path() / "checkout" / "index.html", "");
  for (const char* target : {"../secret", "/etc/passwd", "gone"}) {
    const auto link = scratch.path() / "checkout" / "Dockerfile";
    std::filesystem::remove(link);
    std::filesystem::create_symlink(target, link);
    const auto stack = detect_stack(scratch.path() / "checkout", k_bases);
    ASSERT_FALSE(stack) << target;
    EXPECT_THAT(stack.error().message,
                HasSubstr("Dockerfile in the root folder is a link that leads out of it, or to "
                          "nothing"));
  }
  ASSERT_EQ(::mkfifo((scratch.path() / "Dockerfile").c_str(), 0644), 0);
  EXPECT_FALSE(detect_stack(scratch.path(), k_bases)) << "and a pipe does not block";
}

TEST(Detect, a_dockerfile_that_was_chosen_is_the_one_and_must_be_there) {
  const Files files = {{"Dockerfile", "FROM wrong"}, {"docker/Dockerfile.prod", "FROM right"}};
  const auto chosen = stack_of(files, {"", "docker/Dockerfile.prod"});
  EXPECT_EQ(chosen.dockerfile, "FROM right");
  EXPECT_EQ(chosen.reason, "docker/Dockerfile.prod in the root folder");
  EXPECT_EQ(refusal(files, {"", "docker/Dockerfile.test"}),
            "there is no file docker/Dockerfile.test in the root folder, which the setting "
            "dockerfile names");
}

TEST(Detect, a_dockerfile_out_of_the_root_folder_is_none) {
  const Scratch scratch;
  write(scratch.path() / "Dockerfile.shared", "FROM a");
  write(scratch.path() / "web/index.html", "");
  std::filesystem::create_symlink("../Dockerfile.shared", scratch.path() / "web/Dockerfile.link");
  EXPECT_FALSE(detect_stack(scratch.path() / "web", k_bases, {"web", "Dockerfile.link"}));
  EXPECT_FALSE(detect_stack(scratch.path() / "web", k_bases, {"web", "../Dockerfile.shared"}));
}

// ---- static sites ----

TEST(StaticSite, is_the_static_server_and_the_files_and_nothing_else) {
  const auto stack = stack_of({{"index.html", ""}});
  EXPECT_EQ(stack.dockerfile,
            "# Made by Atlasflow: index.html in the root folder.\n"
            "FROM scratch\n"
            "ENV PORT=3000\n"
            "COPY --from=atlasflow-static-server /atlasflow-static-server "
            "/atlasflow-static-server\n"
            "COPY . /srv\n"
            "USER 65534:65534\n"
            "EXPOSE 3000\n"
            "CMD [\"/atlasflow-static-server\",\"--root\",\"/srv\"]\n");
  EXPECT_TRUE(stack.needs_static_server);
  EXPECT_THAT(stack.base_images, IsEmpty());
  EXPECT_THAT(stack.ignore, HasSubstr("**/.*\n!.well-known\n"));
}

TEST(StaticSite, the_repositorys_own_ignore_file_wins_but_for_what_must_be_served) {
  EXPECT_EQ(stack_of({{"index.html", ""}, {".dockerignore", "drafts\n"}}).ignore, "drafts\n");
  EXPECT_EQ(stack_of({{"index.html", ""}, {".dockerignore", "*\n!index.html\n"}}).ignore,
            "*\n!.well-known\n!index.html\n");
  EXPECT_EQ(stack_of({{"index.html", ""}, {".containerignore", "notes\n"}, {".dockerignore", "x"}})
                .ignore,
            "notes\n");
}

TEST(StaticSite, folder_and_fallback_are_settings) {
  const auto stack = stack_of({{"docs/a.html", ""}, {"requirements.txt", ""}},
                              {.static_folder = "docs", .static_fallback = "a.html"});
  EXPECT_THAT(stack.dockerfile, HasSubstr("COPY docs/ /srv\n"));
  EXPECT_THAT(stack.start,
              ElementsAre("/atlasflow-static-server", "--root", "/srv", "--fallback", "a.html"));
  EXPECT_THAT(refusal({{"index.html", ""}}, {.static_folder = "absent"}),
              HasSubstr("no folder absent in the root folder"));
}

TEST(Detect, a_dockerfile_may_be_outside_of_the_root_folder) {
  const MemoryTree repository({{"Dockerfile", "FROM top\n"},
                               {"docker/web.Dockerfile", "FROM web\n"},
                               {"docker/web.Dockerfile.dockerignore", "by name\n"},
                               {"apps/web/.dockerignore", "of the context\n"}});
  const MemoryTree web(Files{{".dockerignore", "of the context\n"}});
  StackChoice choice;
  choice.root_folder = "apps/web";
  choice.repository = &repository;
  choice.dockerfile = "/docker/web.Dockerfile";
  const auto named = detect_stack(web, k_bases, choice);
  ASSERT_TRUE(named) << named.error().message;
  EXPECT_EQ(named->dockerfile, "FROM web\n");
  EXPECT_EQ(named->ignore, "by name\n");
  EXPECT_EQ(named->reason, "docker/web.Dockerfile in the repository, for apps/web");
  choice.dockerfile = "/Dockerfile";
  const auto top = detect_stack(web, k_bases, choice);
  ASSERT_TRUE(top) << top.error().message;
  EXPECT_EQ(top->ignore, "of the context\n");

  choice.dockerfile = "/absent";
  const auto absent = detect_stack(web, k_bases, choice);
  ASSERT_FALSE(absent);
  EXPECT_THAT(absent.error().message, HasSubstr("there is no file absent in the repository"));
  for (const char* dockerfile : {"", "Dockerfile"}) {
    choice.dockerfile = dockerfile;
    const auto refused = detect_stack(web, k_bases, choice);
    ASSERT_FALSE(refused);
    EXPECT_THAT(refused.error().message, HasSubstr("dockerfile=/Dockerfile uses that"));
  }
}

TEST(StaticSite, the_root_folder_is_named_in_what_is_said) {
  EXPECT_THAT(refusal({}, {"apps/web"}), HasSubstr("nothing to build in apps/web: looked for"));
  EXPECT_EQ(stack_of({{"index.html", ""}}, {"apps/web"}).reason, "index.html in apps/web");
}

TEST(SourceFolder, is_found_inside_of_the_checkout_only) {
  const Scratch scratch;
  const auto checkout = scratch.path() / "checkout";
  write(checkout / "apps/web/file", "");
  write(scratch.path() / "outside/file", "");
  std::filesystem::create_symlink("apps/web", checkout / "inside");
  std::filesystem::create_symlink(scratch.path() / "outside", checkout / "absolute");
  std::filesystem::create_symlink("../outside", checkout / "relative");
  const auto found = [&](const std::string& name) {
    const auto folder = find_source_folder(checkout, name);
    EXPECT_TRUE(folder) << name;
    return folder ? *folder : std::nullopt;
  };
  EXPECT_EQ(found(""), checkout);
  EXPECT_EQ(found("apps/web"), checkout / "apps/web");
  EXPECT_EQ(found("inside"), checkout / "apps/web");
  for (const char* name :
       {"absent", "absolute", "relative", "../outside", "apps/web/file", "/etc", "apps/../.."}) {
    EXPECT_EQ(found(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace atlasflow::builder
