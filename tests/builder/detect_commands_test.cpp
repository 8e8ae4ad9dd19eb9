// The settings install_command, build_command and start_command in place of what is detected.
#include "builder/stack/dockerfile_lines.hpp"
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

struct Sample {
  const char* stack;
  Files files;
};

// One repository of each stack that has something to start.
std::vector<Sample> samples() {
  return {{"php", {{"index.php", ""}}},
          {"go", {{"go.mod", "module x\n\ngo 1.22\n"}, {"main.go", "package main\n"}}},
          {"java", {{"pom.xml", "<project></project>"}}},
          {"rust",
           {{"Cargo.toml", "[package]\nname = \"web\"\nversion = \"1.0.0\"\n"},
            {"src/main.rs", "fn main() {}\n"}}},
          {"ruby", {{"Gemfile", "gem 'rack'\n"}, {"config.ru", ""}}},
          {"elixir", {{"mix.exs", "def project do [app: :web, elixir: \"~> 1.15\"] end\n"}}},
          {"python", {{"requirements.txt", "flask\n"}, {"main.py", ""}}},
          {"deno", {{"deno.json", R"({"tasks": {"start": "deno run main.ts"}})"}}},
          {"dotnet",
           {{"web.csproj",
             "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><PropertyGroup><TargetFramework>net8.0"
             "</TargetFramework></PropertyGroup></Project>"}}},
          {"node", {{"package.json", R"({"scripts": {"start": "node server.js"}})"}}},
          {"gleam", {{"gleam.toml", "name = \"web\"\n"}}},
          {"cpp", {{"CMakeLists.txt", "add_executable(web main.cpp)\n"}}},
          {"shell", {{"start.sh", "#!/bin/sh\n"}}}};
}

StackChoice with_start(const std::string& command) {
  StackChoice choice;
  choice.start_command = command;
  return choice;
}
StackChoice with_steps(const std::string& install, const std::string& build) {
  StackChoice choice;
  choice.install_command = install;
  choice.build_command = build;
  return choice;
}

std::size_t times(const std::string& text, const std::string& word) {
  std::size_t count = 0;
  for (auto at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) ++count;
  return count;
}

// Whoever calls it: what it uses of the dev dependencies stays, and a port that it names is told.
TEST(DetectCommands, the_start_script_is_looked_at_behind_a_command_that_runs_it) {
  const std::string package =
      R"({"scripts": {"start": "tsx a.ts -p 8080"}, "dependencies": {"x": "1"},
          "devDependencies": {"tsx": "1"}})";
  const Files files = {{"package.json", package}, {"package-lock.json", "{}"}, {"a.ts", ""}};
  const auto expect_told = [](const Stack& stack) {
    EXPECT_THAT(stack.dockerfile, Not(HasSubstr("npm prune")));
    EXPECT_THAT(stack.dockerfile, HasSubstr("npm ci --include=dev"));
    EXPECT_THAT(stack.notices, Contains(HasSubstr("what starts the app uses tsx")));
    EXPECT_THAT(stack.notices, Contains(HasSubstr("the setting port has to be 8080 as well")));
  };
  for (const char* command :
       {"npm start", "npm run --silent start", "exec yarn start", "npx tsx a.ts --port 8080"}) {
    auto with_procfile = files;
    with_procfile["Procfile"] = std::string("web: ") + command + "\n";
    expect_told(detected(with_procfile));
    expect_told(detected(files, {}, with_start(command)));
  }
  EXPECT_THAT(detected(files, {}, with_start("node b.js")).notices,
              Not(Contains(HasSubstr("tsx"))));
}

TEST(DetectCommands, every_stack_is_started_by_the_setting) {
  for (const auto& [name, files] : samples()) {
    SCOPED_TRACE(name);
    const auto stack = detected(files, {}, with_start("bin/serve --port \"$PORT\""));
    EXPECT_EQ(stack.name, name);
    EXPECT_THAT(stack.start, ElementsAre("sh", "-c", "bin/serve --port \"$PORT\""));
    EXPECT_THAT(stack.dockerfile,
                EndsWith("CMD [\"sh\",\"-c\",\"bin/serve --port \\\"$PORT\\\"\"]\n"));
    EXPECT_THAT(stack.reason, HasSubstr("the setting start_command"));
    for (const auto& notice : stack.notices) EXPECT_THAT(notice, Not(HasSubstr("Procfile")));
  }
}

TEST(DetectCommands, the_setting_wins_over_a_procfile_and_what_is_wrong_in_that) {
  const auto stack =
      detected({{"main.py", ""}, {"Procfile", "no process\n"}}, {}, with_start("python other.py"));
  EXPECT_EQ(start_line(stack), "python other.py");
}

TEST(DetectCommands, every_stack_is_built_by_the_settings_in_one_stage_and_in_order) {
  for (const auto& [name, files] : samples()) {
    SCOPED_TRACE(name);
    const auto stack = detected(files, {}, with_steps("fetch-all the things", "make the-app"));
    const auto& text = stack.dockerfile;
    EXPECT_EQ(stack.name, name);
    EXPECT_EQ(times(text, "fetch-all the things"), 1U) << text;
    EXPECT_EQ(times(text, "make the-app"), 1U) << text;
    const auto sources = std::min(text.find("COPY . ."), text.find("COPY --chown=65534:65534 . ."));
    const auto install = text.find("fetch-all the things");
    EXPECT_LT(sources, install) << "a command of the project's own may read any file\n" << text;
    EXPECT_LT(install, text.find("make the-app")) << text;
    EXPECT_LT(text.find("make the-app"), text.rfind("\nFROM ")) << "in a stage before\n" << text;
    EXPECT_THAT(text.substr(text.rfind("\nFROM ")), HasSubstr("COPY --from=build")) << text;
    EXPECT_THAT(stack.reason, AllOf(HasSubstr("installed by the setting install_command"),
                                    HasSubstr("built by the setting build_command")));
    EXPECT_EQ(stack.install, "fetch-all the things");
    EXPECT_EQ(stack.build, "make the-app");
  }
}

TEST(DetectCommands, what_a_build_command_leaves_in_the_apps_folder_is_in_the_image) {
  for (const auto& [name, files] : samples()) {
    SCOPED_TRACE(name);
    if (std::string_view(name) == "java") continue;  // A jar, wherever it is: the next test.
    const auto& text = detected(files, {}, with_steps("", "make")).dockerfile;
    EXPECT_THAT(text.substr(text.rfind("\nFROM ")),
                testing::ContainsRegex("COPY --from=build (--chown=65534:65534 )?/app/? /app"))
        << text;
  }
}

TEST(DetectCommands, a_jar_is_looked_for_after_the_command_and_all_is_taken_for_a_start_command) {
  const Files files = {{"pom.xml", "<project></project>"}};
  auto choice = with_steps("", "mvn -P prod package");
  EXPECT_THAT(detected(files, {}, choice).dockerfile, HasSubstr("/out/ /app/"));
  choice.start_command = "java -jar target/x.jar";
  EXPECT_THAT(detected(files, {}, choice).dockerfile, HasSubstr("/app/ /app/"));
}

TEST(DetectCommands, what_was_detected_is_not_done_as_well) {
  const StackChoice choice = with_steps("fetch-all", "make");
  const auto python =
      detected({{"requirements.txt", "flask\n"}, {"main.py", ""}}, {}, choice).dockerfile;
  EXPECT_THAT(python, Not(HasSubstr("-r requirements.txt")));
  const auto node =
      detected({{"package.json", R"({"scripts": {"start": "node .", "build": "vite build"},
                                     "dependencies": {"a": "1"}, "devDependencies": {"b": "1"}})"},
                {"package-lock.json", "{}"}},
               {}, choice);
  EXPECT_THAT(node.dockerfile, AllOf(Not(HasSubstr("npm ci")), Not(HasSubstr("npm run build")),
                                     Not(HasSubstr("prune"))));
  EXPECT_THAT(node.dockerfile, HasSubstr("export NODE_ENV=production && make"));
  const auto go = detected({{"go.mod", "module x\n"}, {"main.go", "package main\n"}}, {}, choice);
  EXPECT_THAT(go.dockerfile, Not(HasSubstr("go build")));
}

TEST(DetectCommands, one_of_them_alone_leaves_the_other_as_it_was_found) {
  const Files files = {{"package.json", R"({"scripts": {"start": "node .", "build": "vite build"},
                                            "devDependencies": {"b": "1"}})"},
                       {"package-lock.json", "{}"}};
  EXPECT_THAT(detected(files, {}, with_steps("npm install --legacy-peer-deps", "")).dockerfile,
              AllOf(HasSubstr("RUN npm install --legacy-peer-deps\n"), HasSubstr("npm run build")));
  EXPECT_THAT(detected(files, {}, with_steps("", "npm run build:prod")).dockerfile,
              AllOf(HasSubstr("npm ci"), HasSubstr("&& npm run build:prod\n"),
                    Not(HasSubstr("npm run build\n"))));
}

TEST(DetectCommands, the_mounts_of_the_step_stay) {
  const Files with_npmrc = {{"package.json", R"({"scripts": {"start": "node ."}})"},
                            {".npmrc", "//registry.example.com/:_authToken=abc\n"}};
  EXPECT_THAT(
      detected(with_npmrc, {}, with_steps("npm install --force", "")).dockerfile,
      testing::ContainsRegex("RUN --mount=type=secret,id=[a-z.]+,[^ ]* npm install --force"));
  EXPECT_THAT(detected({{"go.mod", "module x\n"}, {"main.go", "package main\n"}}, {},
                       with_steps("", "make"))
                  .dockerfile,
              HasSubstr("RUN --mount=type=cache,target=/cache make\n"));
}

// No step that only brings system packages or tools sees one, and none of the image's own.
TEST(DetectCommands, steps_that_install_or_build_see_the_projects_build_secrets) {
  StackChoice choice = with_steps("fetch-all", "make");
  choice.secrets = {{"NPM_TOKEN", "NPM_TOKEN.0123456789ab"}};
  const std::string mount =
      "--mount=type=secret,id=NPM_TOKEN.0123456789ab,target=/run/secrets/NPM_TOKEN,mode=0444 ";
  for (const auto& sample : samples()) {
    const auto stack = detected(sample.files, {}, choice);
    EXPECT_EQ(times(stack.dockerfile, mount), 2U) << stack.dockerfile;
    EXPECT_THAT(stack.dockerfile, HasSubstr(mount + "fetch-all\n")) << sample.stack;
    EXPECT_THAT(stack.dockerfile, testing::ContainsRegex(mount + "[^\n]*make")) << sample.stack;
    EXPECT_THAT(detected(sample.files).dockerfile, Not(HasSubstr("type=secret"))) << sample.stack;
  }
}

TEST(DetectCommands, a_build_command_makes_a_site_of_a_package_json_that_starts_nothing) {
  const Files files = {{"package.json", R"({"devDependencies": {"eleventy": "2"}})"},
                       {"package-lock.json", "{}"}};
  const auto site = detected(files, {}, with_steps("", "npx eleventy"));
  EXPECT_EQ(site.name, "static");
  EXPECT_THAT(site.dockerfile, HasSubstr("npx eleventy"));
}

TEST(DetectCommands, the_assets_of_another_language_are_made_as_they_were) {
  const auto stack = detected({{"package.json", R"({"scripts": {"build": "vite build"}})"},
                               {"requirements.txt", "flask\n"},
                               {"main.py", ""}},
                              {}, with_steps("pip install .", "python build.py"));
  EXPECT_THAT(stack.dockerfile, HasSubstr("npm run build"));
  EXPECT_EQ(times(stack.dockerfile, "pip install ."), 1U);
  EXPECT_EQ(times(stack.dockerfile, "python build.py"), 1U);
}

TEST(DetectCommands, a_site_that_has_nothing_to_run_them_in_is_refused_with_the_way_out) {
  const Files site = {{"index.html", ""}};
  EXPECT_THAT(refused(site, {}, with_start("python3 -m http.server")),
              AllOf(HasSubstr("start_command is set, and this is a static site"),
                    HasSubstr("take start_command away, or add a Dockerfile")));
  EXPECT_THAT(refused(site, {}, with_steps("", "make")),
              AllOf(HasSubstr("build_command is set"), HasSubstr("add a package.json")));
  EXPECT_THAT(refused(site, {}, with_steps("make", "")), HasSubstr("install_command is set"));
}

// What the repository writes must stay one instruction, whose text reaches the shell as it is.
TEST(DetectCommands, no_command_is_read_by_the_dockerfiles_own_syntax) {
  for (const char* const command : {"--mount=type=bind,from=x,target=/y true", "[\"a\", \"b\"]",
                                    "cat <<EOF", "echo 'it''s' <<-X", "true \\", "true \\  ",
                                    "# nothing", "a 'b' && \"c\" \\", "--network=host id"}) {
    SCOPED_TRACE(command);
    for (const auto& [name, files] : samples()) {
      SCOPED_TRACE(name);
      const auto plain = detected(files, {}, with_steps("true", "true"));
      const auto stack = detected(files, {}, with_steps("true", command));
      const auto lines = read_instructions(stack.dockerfile);
      ASSERT_TRUE(lines) << to_string(lines.error());
      EXPECT_EQ(lines->instructions.size(),
                read_instructions(plain.dockerfile)->instructions.size());
      for (const auto& each : lines->instructions) {
        EXPECT_THAT(each.documents.size(), each.name == "COPY" ? each.documents.size() : 0U);
        for (const auto& flag : each.flags) {
          EXPECT_THAT(flag.text, AllOf(Not(HasSubstr("from=x")), Not(HasSubstr("--network"))));
        }
      }
    }
  }
}

// ---- with a Dockerfile ----

std::string built_text(const Files& files, const std::string& command,
                       const std::string& target = "") {
  const auto stack = detect_files(files, {}, with_start(command));
  if (!stack) return to_string(stack.error());
  const auto plan =
      plan_dockerfile(stack->dockerfile, {"Dockerfile", {}, target, false, stack->start});
  return plan ? plan->text : to_string(plan.error());
}

TEST(DetectCommands, a_start_command_is_in_place_of_a_dockerfiles_own) {
  const Files files = {{"Dockerfile", "FROM debian\nENTRYPOINT [\"/x\"]\nCMD [\"y\"]\n"}};
  EXPECT_THAT(built_text(files, "node server.js --port=80"),
              EndsWith("CMD [\"y\"]\nENTRYPOINT []\nCMD [\"node\",\"server.js\",\"--port=80\"]\n"));
  const auto stack = detect_files(files, {}, with_start("node server.js"));
  ASSERT_TRUE(stack);
  EXPECT_THAT(stack->start, ElementsAre("node", "server.js"));
  EXPECT_THAT(stack->reason, HasSubstr("started by the setting start_command"));
  EXPECT_THAT(built_text(files, ""), EndsWith("CMD [\"y\"]\n")) << "as it was";
}

TEST(DetectCommands, only_what_needs_a_shell_is_given_one) {
  const auto start_of = [](const std::string& command) {
    return detect_files({{"Dockerfile", "FROM debian\n"}}, {}, with_start(command))->start;
  };
  EXPECT_THAT(start_of("  /app/server   -v "), ElementsAre("/app/server", "-v"));
  for (const std::string command : {"./a && ./b", "./a $PORT", "FOO=1 ./a", "exec ./a", "cd x",
                                    "./a 'b c'", "./a *.txt", "./a > /tmp/x", "./\xC3\xA4"}) {
    EXPECT_THAT(start_of(command), ElementsAre("/bin/sh", "-c", command));
  }
}

TEST(DetectCommands, it_is_put_into_the_stage_that_becomes_the_image) {
  const Files files = {{"Dockerfile", "FROM debian AS one\nRUN x\nFROM alpine AS two\nRUN y\n"}};
  EXPECT_THAT(built_text(files, "go", "one"),
              HasSubstr("RUN x\nENTRYPOINT []\nCMD [\"go\"]\nFROM scratch AS two"));
  EXPECT_THAT(built_text(files, "go"), EndsWith("RUN y\nENTRYPOINT []\nCMD [\"go\"]\n"));
}

TEST(DetectCommands, it_stands_behind_a_here_document_and_under_another_escape) {
  EXPECT_THAT(built_text({{"Dockerfile", "FROM debian\nRUN <<X\ntrue\nX\n"}}, "./go 'a\\b`'"),
              EndsWith("true\nX\nENTRYPOINT []\nCMD [\"/bin/sh\",\"-c\",\"./go 'a\\\\b`'\"]\n"));
  EXPECT_THAT(built_text({{"Dockerfile", "# escape=`\nFROM debian\n"}}, "./go 'a\\b`'"),
              EndsWith("ENTRYPOINT []\nCMD [\"/bin/sh\",\"-c\",\"./go 'a\\\\b`'\"]\n"));
}

TEST(DetectCommands, what_a_dockerfile_does_not_use_is_told) {
  const auto stack = detect_files({{"Dockerfile", "FROM debian\n"}}, {}, with_steps("x", "y"));
  ASSERT_TRUE(stack);
  EXPECT_THAT(stack->notices, ElementsAre(HasSubstr("install_command is not used"),
                                          HasSubstr("build_command is not used")));
  EXPECT_THAT(detect_files({{"Dockerfile", "FROM debian\n"}})->notices, IsEmpty());
}

}  // namespace
}  // namespace atlasflow::builder
