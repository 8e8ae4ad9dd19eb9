// Go, Rust, C++, Java and .NET: which program is built, on what, and what of it is in the image.
#include "tests/builder/detect_fixture.hpp"

namespace atlasflow::builder {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr const char* k_main_go = "// A server.\npackage main\n";

struct Case {
  Files files;
  const char* name;
  const char* builds;  // in the Dockerfile
  const char* start;
};

void expect_built(std::span<const Case> cases) {
  for (const auto& each : cases) {
    const auto stack = detected(each.files);
    EXPECT_EQ(stack.name, each.name);
    EXPECT_THAT(stack.dockerfile, HasSubstr(each.builds));
    EXPECT_EQ(start_line(stack), each.start) << each.builds;
  }
}

TEST(Go, the_program_is_the_roots_or_one_of_cmd_or_of_the_workspace) {
  const Case cases[] = {
      {{{"go.mod", "module example.org/shop\n\ngo 1.22\n"}, {"main.go", k_main_go}},
       "go",
       "go build -trimpath -ldflags='-s -w' -o /out/bin/shop .\n",
       "exec /app/bin/shop"},
      {{{"main.go", k_main_go}}, "go", "-o /out/bin/app main.go\n", "exec /app/bin/app"},
      {{{"go.mod", "module shop\n"},
        {"cmd/worker/main.go", k_main_go},
        {"cmd/web/a.go", k_main_go}},
       "go",
       "-o /out/bin/web ./cmd/web\n",
       "exec /app/bin/web"},
      {{{"go.mod", "module a/shop\n"}, {"cmd/api/a.go", k_main_go}, {"cmd/shop/a.go", k_main_go}},
       "go",
       "./cmd/shop\n",
       "exec /app/bin/shop"},
      {{{"go.work", "go 1.22\nuse (\n  ./lib // a library\n  ./api\n)\n"},
        {"lib/lib.go", "package lib\n"},
        {"api/main.go", k_main_go}},
       "go",
       "-o /out/bin/api ./api\n",
       "exec /app/bin/api"},
  };
  expect_built(cases);
  const auto several = detected({{"go.mod", "module shop\n"},
                                 {"cmd/worker/main.go", k_main_go},
                                 {"cmd/web/a.go", k_main_go}});
  EXPECT_THAT(several.notices, Contains(HasSubstr("cmd/worker is not built: cmd/web is")));
  EXPECT_THAT(refused({{"go.mod", "module x\n"}, {"lib.go", "package lib\n"}}),
              HasSubstr("no package main"));
  EXPECT_THAT(refused({{"go.mod", "go 1.22\n"}}), HasSubstr("go.mod has no line 'module NAME'"));
}

TEST(Go, a_module_of_a_later_version_or_of_a_workspace_has_its_program_by_its_name) {
  const Files cmd = {{"cmd/shop/a.go", k_main_go}, {"cmd/worker/a.go", k_main_go}};
  auto later = cmd;
  later["go.mod"] = "module example.org/shop/v2\r\n\r\ngo 1.21\r\n";
  EXPECT_EQ(start_line(detected(later)), "exec /app/bin/shop");
  EXPECT_EQ(start_line(detected({{"go.mod", "module example.org/shop/v2\n"}, {"a.go", k_main_go}})),
            "exec /app/bin/shop");
  EXPECT_EQ(start_line(detected({{"go.mod", "module v2\n"}, {"a.go", k_main_go}})),
            "exec /app/bin/v2");
  const auto work = detected({{"go.work", "use ./api/\n"},
                              {"api/go.mod", "module api\n"},
                              {"api/cmd/migrate/a.go", k_main_go},
                              {"api/cmd/server/a.go", k_main_go}});
  EXPECT_THAT(work.dockerfile, HasSubstr(" -o /out/bin/server ./api/cmd/server\n"));
  EXPECT_THAT(work.notices, Contains(HasSubstr("api/cmd/migrate is not built: api/cmd/server is")));
}

TEST(Go, a_file_that_its_build_leaves_out_is_no_program) {
  const std::pair<const char*, bool> cases[] = {{"//go:build ignore", false},
                                                {"//go:build tools && linux", false},
                                                {"//go:build windows || darwin", false},
                                                {"//go:build !(linux || windows)", false},
                                                {"//go:build linux", true},
                                                {"//go:build !windows && !plan9", true},
                                                {"//go:build windows || (unix && go1.21)", true},
                                                {"//go:build !!linux", true},
                                                {"//go:build )(", false},
                                                {"// +build ignore", false},
                                                {"// +build linux,ignore", false},
                                                {"// +build ignore linux", true}};
  for (const auto& [line, is_built] : cases) {
    const auto stack = detected({{"go.mod", "module shop\n"},
                                 {"a.go", std::string("// A tool.\n") + line + "\n\n" + k_main_go},
                                 {"cmd/web/a.go", k_main_go}});
    EXPECT_THAT(stack.dockerfile, HasSubstr(is_built ? " .\n" : " ./cmd/web\n")) << line;
  }
  const std::string deep = "//go:build " + std::string(900'000, '(') + "linux\n";
  EXPECT_THAT(refused({{"go.mod", "module x\n"}, {"a.go", deep + k_main_go}}),
              HasSubstr("no package main"));
}

TEST(Go, the_image_is_a_bare_debian_with_the_program_and_certificate_authorities) {
  const auto stack = detected({{"go.mod", "module shop\ngo 1.24.1\n"}, {"main.go", k_main_go}});
  EXPECT_THAT(stack.base_images, ElementsAre("docker.io/library/golang:1.25-bookworm",
                                             "docker.io/library/debian:bookworm-slim"));
  EXPECT_THAT(stack.dockerfile,
              AllOf(HasSubstr("CGO_ENABLED=0"),
                    HasSubstr("COPY --from=build /etc/ssl/certs/ca-certificates.crt "
                              "/etc/ssl/certs/\n"),
                    HasSubstr("COPY --from=build --chown=65534:65534 /out/ /app/\n")));
  EXPECT_THAT(detected({{"go.mod", "module shop\nrequire github.com/mattn/go-sqlite3 v1.14.0\n"},
                        {"main.go", k_main_go}})
                  .dockerfile,
              HasSubstr("CGO_ENABLED=1"));
}

TEST(Go, the_go_line_is_the_least_version) {
  const StackBases own{{"localhost/atlasflow-base/go:1.19-bookworm"}, {}};
  const auto with = [](const char* line) {
    return Files{{"go.mod", std::string("module x\n") + line + "\n"}, {"main.go", k_main_go}};
  };
  EXPECT_EQ(base_of(detected(with("go 1.18"), own)), "go:1.19-bookworm");
  EXPECT_EQ(base_of(detected(with("go 1.22.3"), own)), "golang:1.25-bookworm");
  EXPECT_EQ(base_of(detected(with("go 1.31"))), "golang:1.31-bookworm");
}

TEST(Rust, the_program_is_the_packages_or_the_members_of_its_workspace) {
  constexpr const char* k_package = "[package]\nname = \"shop\"\n";
  const Case cases[] = {
      {{{"Cargo.toml", k_package}, {"src/main.rs", ""}, {"Cargo.lock", ""}},
       "rust",
       "cargo build --release --locked --package shop --bin shop && ",
       "exec /app/bin/shop"},
      {{{"Cargo.toml", std::string(k_package) + "default-run = \"b\"\n"},
        {"src/bin/a.rs", ""},
        {"src/bin/b.rs", ""}},
       "rust",
       "--bin b && ",
       "exec /app/bin/b"},
      {{{"Cargo.toml", std::string(k_package) + "[[bin]]\nname = \"web\"\npath = \"x.rs\"\n"}},
       "rust",
       "--bin web && ",
       "exec /app/bin/web"},
      // Its own program is one beside those of [[bin]], unless one of those is it.
      {{{"Cargo.toml", std::string(k_package) + "edition = \"2021\"\n[[bin]]\nname = \"a\"\n"},
        {"src/main.rs", ""}},
       "rust",
       "--bin shop && ",
       "exec /app/bin/shop"},
      // Of the first edition cargo knows none but those.
      {{{"Cargo.toml", std::string(k_package) + "[[bin]]\nname = \"a\"\npath = \"x.rs\"\n"},
        {"src/main.rs", ""}},
       "rust",
       "--bin a && ",
       "exec /app/bin/a"},
      {{{"Cargo.toml", std::string(k_package) + "[[bin]]\nname = \"a\"\npath = \"src/main.rs\"\n"},
        {"src/main.rs", ""}},
       "rust",
       "--bin a && ",
       "exec /app/bin/a"},
      {{{"Cargo.toml", std::string(k_package) + "edition = \"2021\"\nautobins = false\n"
                                                "[[bin]]\nname = \"a\"\n"},
        {"src/main.rs", ""}},
       "rust",
       "--bin a && ",
       "exec /app/bin/a"},
      // In src/bin are files, and folders with a main.rs.
      {{{"Cargo.toml", k_package},
        {"src/bin/README.md", ""},
        {"src/bin/common/lib.rs", ""},
        {"src/bin/web/main.rs", ""}},
       "rust",
       "--bin web && ",
       "exec /app/bin/web"},
      {{{"Cargo.toml", "[workspace]\nmembers = [\"crates/*\"]\n"},
        {"crates/core/Cargo.toml", "[package]\nname = \"core\"\n"},
        {"crates/core/src/lib.rs", ""},
        {"crates/web/Cargo.toml", "[package]\nname = \"web\"\n"},
        {"crates/web/src/main.rs", ""}},
       "rust",
       "--package web --bin web && ",
       "exec /app/bin/web"},
  };
  expect_built(cases);
  EXPECT_THAT(refused({{"Cargo.toml", "[package]\nname = \"x\"\n"}, {"src/lib.rs", ""}}),
              HasSubstr("no src/main.rs"));
  EXPECT_THAT(refused({{"Cargo.toml", "[package\n"}}), HasSubstr("Cargo.toml, line 1 is not TOML"));
  EXPECT_THAT(refused({{"Cargo.toml", "[workspace]\nmembers = [\"a\"]\n"}, {"a/Cargo.toml", "x"}}),
              HasSubstr("a/Cargo.toml, line 1 is not TOML"));
}

TEST(Rust, a_workspace_may_list_its_root_all_its_folders_and_those_that_are_meant) {
  const std::string shop = "[package]\nname = \"shop\"\n";
  const auto root = detected({{"Cargo.toml", "[workspace]\nmembers = [\".\", \"./a/\"]\n" + shop},
                              {"src/main.rs", ""},
                              {"a/Cargo.toml", "[package]\nname = \"a\"\n"}});
  EXPECT_EQ(start_line(root), "exec /app/bin/shop");
  EXPECT_THAT(root.notices, Not(Contains(HasSubstr("is not built"))));
  const Files two = {{"a/Cargo.toml", "[package]\nname = \"a\"\n"},
                     {"a/src/main.rs", ""},
                     {"b/Cargo.toml", "[package]\nname = \"b\"\n"},
                     {"b/src/main.rs", ""}};
  const std::pair<const char*, const char*> cases[] = {
      {"[workspace]\nmembers = [\"*\"]\n", "exec /app/bin/a"},
      {"[workspace]\nmembers = [\"*\"]\ndefault-members = [\"b\"]\n", "exec /app/bin/b"}};
  for (const auto& [manifest, start] : cases) {
    auto files = two;
    files["Cargo.toml"] = manifest;
    EXPECT_EQ(start_line(detected(files)), start) << manifest;
  }
}

TEST(Rust, a_toolchain_file_is_of_either_form_and_a_nightlys_date_is_no_version) {
  const std::pair<Files, const char*> cases[] = {
      {{{"rust-toolchain", "nightly-2024-01-01\n"}}, "rust:1-bookworm"},
      {{{"rust-toolchain.toml", "[toolchain]\nchannel = \"nightly-2024-01-01\"\n"}},
       "rust:1-bookworm"},
      {{{"rust-toolchain", "stable\n"}}, "rust:1-bookworm"},
      {{{"rust-toolchain", "1.75.0\n"}}, "reason: rust-toolchain"},
      {{{"rust-toolchain", "[toolchain]\nchannel = \"1.75\"\n"}}, "reason: rust-toolchain"},
      {{{"rust-toolchain.toml", "[toolchain]\nchannel = \"1.75\"\n"}},
       "reason: rust-toolchain.toml"}};
  for (auto [files, expected] : cases) {
    files["Cargo.toml"] = "[package]\nname = \"x\"\n";
    files["src/main.rs"] = "";
    const auto stack = detected(files);
    const auto said = "reason: " + (stack.versions.empty() ? "" : stack.versions.front().why);
    EXPECT_THAT((std::vector{base_of(stack), said}), Contains(std::string(expected)));
  }
}

TEST(Rust, sources_are_younger_than_what_an_earlier_build_has_left) {
  const auto stack = detected({{"Cargo.toml", "[package]\nname = \"x\"\n"}, {"src/main.rs", ""}});
  EXPECT_THAT(stack.dockerfile, HasSubstr("find . -type f -exec touch {} + && cargo build"));
}

TEST(Rust, what_debians_compiler_cannot_read_is_built_with_a_newer_one) {
  const StackBases own{{"localhost/atlasflow-base/rust:1.63-bookworm"}, {}};
  Files files = {{"Cargo.toml", "[package]\nname = \"x\"\n"}, {"src/main.rs", ""}};
  EXPECT_EQ(base_of(detected(files, own)), "rust:1.63-bookworm");
  files["Cargo.lock"] = "# generated\nversion = 4\n";
  EXPECT_EQ(base_of(detected(files, own)), "rust:1-bookworm");
  files.erase("Cargo.lock");
  files["Cargo.toml"] += "rust-version = \"1.75\"\n";
  EXPECT_EQ(base_of(detected(files, own)), "rust:1-bookworm");
  files["Cargo.toml"] = "[package]\nname = \"x\"\n[dependencies]\nrocket = \"0.5\"\n";
  EXPECT_THAT(detected(files).dockerfile, HasSubstr("ENV ROCKET_ADDRESS=0.0.0.0"));
}

TEST(Cpp, the_program_is_the_first_that_the_build_file_names) {
  const Case cases[] = {
      {{{"CMakeLists.txt",
         "project(shop)\nadd_library(core a.cpp)\nadd_executable(web main.cpp)\n"}},
       "cpp",
       "cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release && cmake --build /build -j 2\n",
       "exec /app/bin/web"},
      {{{"CMakeLists.txt", "project(shop)\nadd_executable(${PROJECT_NAME} main.cpp)\n"}},
       "cpp",
       "-name shop ",
       "exec /app/bin/shop"},
      {{{"meson.build", "project('x', 'cpp')\nexecutable('web', 'main.cpp')\n"}},
       "cpp",
       "meson setup /build --buildtype=release && meson compile -C /build\n",
       "exec /app/bin/web"},
  };
  expect_built(cases);
  EXPECT_THAT(refused({{"CMakeLists.txt", "add_library(x a.cpp)\n"}}),
              HasSubstr("no add_executable"));
}

TEST(Cpp, libraries_come_from_debian_and_travel_with_the_program) {
  const Files files = {{"CMakeLists.txt",
                        "find_package(OpenSSL REQUIRED)\npkg_check_modules(S REQUIRED sqlite3)\n"
                        "add_executable(web main.cpp)\n"}};
  const auto stack = detected(files);
  EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr("libssl-dev"), HasSubstr("libsqlite3-dev"),
                                      HasSubstr("LD_LIBRARY_PATH=/app/lib")));
  EXPECT_THAT(stack.base_images, ElementsAre("docker.io/library/debian:bookworm-slim"));
  const auto own = detected(
      {{"CMakeLists.txt", "add_executable(web main.cpp)\n"}},
      {{"docker.io/library/debian:bookworm-slim", "localhost/atlasflow-base/cpp:12-bookworm"}, {}});
  EXPECT_THAT(own.dockerfile, Not(HasSubstr("apt-get"))) << "it has the compiler";
}

TEST(Java, maven_and_gradle_and_their_wrappers) {
  const std::string pom = "<project><properties>\n<java.version>17</java.version>\n</properties>";
  const Case cases[] = {
      {{{"pom.xml", pom}},
       "java",
       "mvn --batch-mode -Dmaven.test.skip=true package\n",
       "exec java $JAVA_OPTS -jar app.jar"},
      {{{"pom.xml", pom + "<groupId>org.springframework.boot</groupId>"},
        {"mvnw", ""},
        {".mvn/wrapper/maven-wrapper.properties", ""}},
       "java",
       "sh ./mvnw --batch-mode",
       "exec java $JAVA_OPTS -Dserver.port=$PORT -jar app.jar"},
      {{{"gradlew", ""}, {"build.gradle.kts", "id(\"org.springframework.boot\")\n"}},
       "java",
       "sh ./gradlew --no-daemon bootJar\n",
       "exec java $JAVA_OPTS -Dserver.port=$PORT -jar app.jar"},
      {{{"build.gradle", "plugins { id 'application' }\n"}},
       "java",
       "gradle --no-daemon build -x test\n",
       "exec java $JAVA_OPTS -jar app.jar"},
  };
  expect_built(cases);
  EXPECT_THAT(refused({{"pom.xml", "not xml"}}), HasSubstr("pom.xml, line 1"));
}

TEST(Java, the_version_is_the_builds_and_the_same_runs_it) {
  const std::pair<Files, std::vector<std::string>> cases[] = {
      {{{"pom.xml", "<project><maven.compiler.release>17</maven.compiler.release>"}},
       {"docker.io/library/maven:3-eclipse-temurin-17",
        "docker.io/library/eclipse-temurin:17-jre"}},
      {{{"pom.xml", "<project>"}},
       {"docker.io/library/maven:3-eclipse-temurin-21",
        "docker.io/library/eclipse-temurin:21-jre"}},
      {{{"pom.xml", "<project><maven.compiler.source>1.8</maven.compiler.source>"}},
       {"docker.io/library/maven:3-eclipse-temurin-8", "docker.io/library/eclipse-temurin:8-jre"}},
      {{{"gradlew", ""},
        {"build.gradle",
         "java { toolchain { languageVersion = "
         "JavaLanguageVersion.of(17) } }\n"}},
       {"docker.io/library/eclipse-temurin:17-jdk", "docker.io/library/eclipse-temurin:17-jre"}},
      {{{"pom.xml", "<project>"}, {".java-version", "temurin-11.0.2+9\n"}},
       {"docker.io/library/maven:3-eclipse-temurin-11",
        "docker.io/library/eclipse-temurin:11-jre"}},
      {{{"pom.xml", "<project>"}, {"system.properties", "java.runtime.version=17\n"}},
       {"docker.io/library/maven:3-eclipse-temurin-17",
        "docker.io/library/eclipse-temurin:17-jre"}},
  };
  for (const auto& [files, images] : cases) {
    EXPECT_EQ(detected(files).base_images, images);
  }
  const StackBases own{{"localhost/atlasflow-base/java:17-bookworm",
                        "localhost/atlasflow-base/java-runtime:17-bookworm"},
                       {}};
  const auto debians = detected({{"pom.xml", "<project>"}}, own);
  EXPECT_THAT(debians.base_images,
              ElementsAre("localhost/atlasflow-base/java:17-bookworm",
                          "localhost/atlasflow-base/java-runtime:17-bookworm"));
  EXPECT_THAT(debians.dockerfile, Not(HasSubstr("maven.repo.local")));
  EXPECT_THAT(debians.notices, Contains(HasSubstr("Debian's Maven is offline")));
  // The operator may name that image, which is none but ours.
  const auto named =
      detected({{"pom.xml", "<project>"}},
               {own.present, {{"maven", "localhost/atlasflow-base/java:17-bookworm"}}});
  EXPECT_THAT(named.dockerfile, Not(HasSubstr("maven.repo.local")));
  // The wrappers bring a Maven and a Gradle that download, on whatever they run.
  for (const Files& wrapped :
       {Files{
            {"pom.xml", "<project>"}, {"mvnw", ""}, {".mvn/wrapper/maven-wrapper.properties", ""}},
        Files{{"gradlew", ""}, {"build.gradle", ""}}}) {
    const auto stack = detected(wrapped, own);
    EXPECT_EQ(base_of(stack), "java:17-bookworm");
    EXPECT_THAT(stack.dockerfile, AllOf(HasSubstr("MAVEN_OPTS=-Dmaven.repo.local=/cache/maven"),
                                        HasSubstr("GRADLE_USER_HOME=/cache/gradle")));
    EXPECT_THAT(stack.notices, Not(Contains(HasSubstr("offline"))));
  }
}

TEST(Java, gradles_root_may_have_settings_alone_and_its_wrapper_line_ends_of_windows) {
  for (const std::string kind : {".kts", ""}) {
    const auto stack = detected(
        {{"settings.gradle" + kind, "include(\":app\")\n"},
         {"gradlew", "#!/bin/sh\nexec true\n"},
         {"app/build.gradle" + kind, "id(\"org.springframework.boot\")\njvmToolchain(17)\n"}});
    EXPECT_THAT(stack.dockerfile, HasSubstr(" sh ./gradlew --no-daemon bootJar\n")) << kind;
    EXPECT_EQ(base_of(stack), "eclipse-temurin:17-jdk");
  }
  const auto windows = detected({{"build.gradle", ""}, {"gradlew", "#!/bin/sh\r\nexec true\r\n"}});
  EXPECT_THAT(windows.dockerfile, HasSubstr(" sed -i 's/\\r$//' gradlew && sh ./gradlew "));
  EXPECT_EQ(base_of(detected({{"pom.xml", "<project>"}, {".java-version", "openjdk64-17.0.1\n"}})),
            "maven:3-eclipse-temurin-17");
}

TEST(Java, an_older_java_does_not_run_it_when_the_registry_does_not_answer) {
  StackBases bases{{"docker.io/library/maven:3-eclipse-temurin-21",
                    "localhost/atlasflow-base/java-runtime:17-bookworm"},
                   {}};
  const Files files = {{"pom.xml", "<project>"}};
  const auto first = detected(files, bases);
  EXPECT_THAT(first.base_images, ElementsAre("docker.io/library/maven:3-eclipse-temurin-21",
                                             "docker.io/library/eclipse-temurin:21-jre"));
  EXPECT_TRUE(first.has_fallback);
  bases.may_pull = false;
  EXPECT_THAT(detected(files, bases).base_images,
              ElementsAre("docker.io/library/maven:3-eclipse-temurin-21"));
}

TEST(Dotnet, the_web_project_is_published_for_the_framework_that_it_targets) {
  const char* web =
      "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><PropertyGroup>\n"
      "<TargetFramework>net8.0</TargetFramework></PropertyGroup></Project>\n";
  const auto stack = detected({{"Shop.csproj", web}});
  EXPECT_THAT(stack.base_images, ElementsAre("mcr.microsoft.com/dotnet/sdk:8.0",
                                             "mcr.microsoft.com/dotnet/aspnet:8.0"));
  EXPECT_EQ(start_line(stack),
            "exec env ASPNETCORE_URLS=http://0.0.0.0:$PORT dotnet /app/Shop.dll");
  const auto solution = detected({{"All.sln", ""},
                                  {"src/Core/Core.csproj", "<Project Sdk=\"Microsoft.NET.Sdk\">"},
                                  {"src/Web/Web.csproj", web},
                                  {"global.json", R"({"sdk": {"version": "9.0.100"}})"}});
  EXPECT_THAT(solution.dockerfile, HasSubstr("dotnet publish src/Web/Web.csproj"));
  EXPECT_EQ(base_of(solution), "sdk:8.0");
  EXPECT_EQ(
      base_of(detected({{"a.fsproj", ""}, {"global.json", R"({"sdk": {"version": "9.0.100"}})"}})),
      "sdk:9.0");
}

TEST(Compiled, a_procfile_finds_the_program_where_heroku_has_it) {
  const auto stack = detected(
      {{"go.mod", "module shop\n"}, {"main.go", k_main_go}, {"Procfile", "web: bin/shop -v\n"}});
  EXPECT_EQ(start_line(stack), "bin/shop -v");
  EXPECT_THAT(stack.dockerfile, HasSubstr("-o /out/bin/shop ."));
}

TEST(Dotnet, a_project_is_the_web_one_for_the_framework_that_it_or_all_of_them_have) {
  const std::string web = "<Project Sdk=\"Microsoft.NET.Sdk.Web\">\n";
  EXPECT_THAT(
      detected({{"A.Tests.csproj", "<Project Sdk=\"Microsoft.NET.Sdk\">"}, {"A.csproj", web}})
          .dockerfile,
      HasSubstr("dotnet publish A.csproj "));
  EXPECT_EQ(
      base_of(detected({{"A.csproj", web},
                        {"Directory.Build.props", "<TargetFramework>net9.0</TargetFramework>"}})),
      "sdk:9.0");
  const auto several =
      detected({{"A.csproj", web + "<TargetFrameworks>net8.0;net9.0</TargetFrameworks>\n"}});
  EXPECT_EQ(base_of(several), "sdk:8.0");
  EXPECT_THAT(several.dockerfile, HasSubstr(" --framework net8.0 "));
  EXPECT_THAT(refused({{"A.csproj", "<TargetFrameworkVersion>v4.8</TargetFrameworkVersion>"}}),
              HasSubstr("runs on Windows alone"));
  EXPECT_THAT(refused({{"My;App.csproj", web}}), HasSubstr("the name of its project may have"));
}

TEST(Cpp, its_program_may_be_below_in_capitals_in_the_next_line_or_behind_an_alias) {
  const std::pair<Files, const char*> cases[] = {
      {{{"CMakeLists.txt", "PROJECT(x)\nADD_EXECUTABLE(app a.cpp)\n"}}, "app"},
      {{{"CMakeLists.txt", "add_executable(\r\n  app\r\n  a.cpp)\r\n"}}, "app"},
      {{{"CMakeLists.txt", "add_executable(a::b ALIAS app)\nadd_executable(app a.cpp)\n"}}, "app"},
      {{{"CMakeLists.txt", "project(shop)\nadd_subdirectory(src)\n"},
        {"src/CMakeLists.txt", "add_executable(${PROJECT_NAME} a.cpp)\n"}},
       "shop"},
      {{{"CMakeLists.txt", "add_subdirectory(../x)\nadd_executable(app a.cpp)\n"}}, "app"},
      {{{"meson.build", "exe = executable(\n  'app',\n  'a.c')\n"}}, "app"}};
  for (const auto& [files, program] : cases) {
    EXPECT_EQ(start_line(detected(files)), std::string("exec /app/bin/") + program);
  }
  EXPECT_THAT(
      detected({{"CMakeLists.txt", "add_subdirectory(src)\n"},
                {"src/CMakeLists.txt", "find_package(\n  OpenSSL)\nadd_executable(a a.c)\n"}})
          .dockerfile,
      HasSubstr(" libssl-dev "));
}

TEST(Compiled, no_name_of_a_stranger_is_a_command) {
  EXPECT_THAT(refused({{"CMakeLists.txt", "add_executable($(reboot) main.cpp)\n"}}),
              HasSubstr("no add_executable"));
  EXPECT_THAT(refused({{"Cargo.toml", "[package]\nname = \"x; reboot\"\n"}, {"src/main.rs", ""}}),
              HasSubstr("no src/main.rs"));
  const auto go = detected({{"go.mod", "module a/x;reboot\n"}, {"main.go", k_main_go}});
  EXPECT_THAT(go.dockerfile, Not(HasSubstr("reboot")));
  const auto cmd = detected({{"go.mod", "module a/x;reboot\n"}, {"cmd/main.go", k_main_go}});
  EXPECT_THAT(cmd.dockerfile, Not(HasSubstr("reboot")));
  const auto dotnet = detected({{"a\nRUN reboot\n.sln", ""}, {"web/web.csproj", "<Project>"}});
  EXPECT_THAT(dotnet.dockerfile, Not(HasSubstr("\nRUN reboot")));
  EXPECT_THAT(refused({{"a;reboot.csproj", "<Project>"}}), HasSubstr("letters, digits"));
}

TEST(DetectDotnet, a_project_may_have_spaces_in_its_name) {
  const char* const project =
      "<Project Sdk=\"Microsoft.NET.Sdk.Web\"><PropertyGroup><TargetFramework>net8.0"
      "</TargetFramework></PropertyGroup></Project>";
  const auto stack = detected({{"My App/My App.csproj", project}, {"x.sln", ""}});
  EXPECT_THAT(stack.dockerfile,
              testing::HasSubstr("dotnet publish 'My App/My App.csproj' --configuration Release"));
  EXPECT_THAT(start_line(stack), testing::EndsWith("dotnet '/app/My App.dll'"));
  EXPECT_THAT(refused({{"a'; id; '.csproj", project}}),
              testing::HasSubstr("letters, digits, spaces"));
}

}  // namespace
}  // namespace atlasflow::builder
