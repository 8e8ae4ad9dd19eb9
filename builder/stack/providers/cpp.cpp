// C and C++: the program of a CMakeLists.txt or meson.build.
#include <algorithm>
#include <cctype>

#include "builder/stack/recipe.hpp"
#include "builder/stack/source_text.hpp"

namespace atlasflow::builder {
namespace {

// Debian's packages of what is looked for by find_package, pkg_check_modules and dependency().
struct Library {
  const char* word;
  const char* package;
};
constexpr Library k_libraries[] = {{"Boost", "libboost-all-dev"},
                                   {"CURL", "libcurl4-openssl-dev"},
                                   {"libcurl", "libcurl4-openssl-dev"},
                                   {"OpenSSL", "libssl-dev"},
                                   {"openssl", "libssl-dev"},
                                   {"PostgreSQL", "libpq-dev"},
                                   {"Protobuf", "libprotobuf-dev protobuf-compiler"},
                                   {"SQLite3", "libsqlite3-dev"},
                                   {"sqlite3", "libsqlite3-dev"},
                                   {"ZLIB", "zlib1g-dev"},
                                   {"zlib", "zlib1g-dev"},
                                   {"asio", "libasio-dev"},
                                   {"fmt", "libfmt-dev"},
                                   {"nlohmann_json", "nlohmann-json3-dev"},
                                   {"spdlog", "libspdlog-dev"},
                                   {"yaml-cpp", "libyaml-cpp-dev"}};

bool has_word(std::string_view text, std::string_view word) {
  const auto is_part = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  };
  for (auto at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const auto end = at + word.size();
    const bool begins = at == 0 || !is_part(text[at - 1]);
    if (begins && (end == text.size() || !is_part(text[end]))) return true;
  }
  return false;
}

std::vector<std::string> library_packages(const std::string& text) {
  std::vector<std::string> packages;
  // What follows the parenthesis; pkg_check_modules(NAME REQUIRED openssl) names it later.
  const auto calls =
      matches_by_line(text, R"((?:find_package|pkg_check_modules|dependency)\s*\(([^)]*))");
  for (const auto& library : k_libraries) {
    const bool is_meant = std::any_of(calls.begin(), calls.end(), [&](const std::string& call) {
      return has_word(call, library.word);
    });
    if (is_meant && std::find(packages.begin(), packages.end(), library.package) == packages.end())
      packages.emplace_back(library.package);
  }
  return packages;
}

// With each call in one line: "add_executable(" may have its name in the next.
std::string with_calls_in_line(std::string_view text) {
  std::string lines;
  bool has_opened = false;
  for (const char c : text) {
    if (has_opened && std::isspace(static_cast<unsigned char>(c)) != 0) continue;
    has_opened = c == '(';
    lines += c;
  }
  return lines;
}

// Of the root and of the folders that it adds, one level down. CMake's commands are in any case.
std::string cmake_text(const SourceTree& tree, const std::string& root) {
  constexpr std::size_t k_folders_max = 16;
  std::string text = with_calls_in_line(root);
  auto folders = matches_by_line(text, R"(^(?:add_subdirectory|ADD_SUBDIRECTORY)\s*\(([^\s)]+))");
  folders.resize(std::min(folders.size(), k_folders_max));
  for (const auto& folder : folders) {
    if (!is_plain_word(folder)) continue;
    text += "\n" + with_calls_in_line(text_or_nothing(tree, folder + "/CMakeLists.txt"));
  }
  return text;
}

// The first program; an alias or what is imported ("a::b") is none.
std::string cmake_program(const std::string& text) {
  std::string project = first_match(text, R"(^(?:project|PROJECT)\s*\(([^\s)]+))");
  for (auto& name : matches_by_line(text, R"(^(?:add_executable|ADD_EXECUTABLE)\s*\(([^\s)]+))")) {
    if (name.find("PROJECT_NAME") != std::string::npos) name = project;
    if (is_plain_word(name)) return name;
  }
  return {};
}

}  // namespace

Result<Offer> plan_cpp(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto file, read_text(input.tree, seen));
  if (!file) return Offer(CannotStart{seen + " is no file"});
  const bool is_cmake = seen == "CMakeLists.txt";
  const std::string text = is_cmake ? cmake_text(input.tree, *file) : with_calls_in_line(*file);
  const auto program = is_cmake
                           ? cmake_program(text)
                           : first_match(text, R"((?:^|=\s*)executable\s*\(\s*['"]([^'"]+)['"])");
  if (!is_plain_word(program)) {
    return Offer(CannotStart{is_cmake ? "CMakeLists.txt has no add_executable(NAME …): add one"
                                      : "meson.build has no executable('NAME', …): add one"});
  }
  Plan plan;
  plan.provider = "cpp";
  plan.reason = input.in_place(seen) + ", whose first program is " + program;
  ATLAS_TRY(const auto base, take_base(plan, input, "cpp", {}));
  plan.versions.back() = {is_cmake ? "cmake" : "meson", "", "the base image " + base.image};
  PlanStage build = build_stage(input, base.image);
  std::vector<std::string> packages;
  if (!base.is_own) {
    packages = {"build-essential", "ca-certificates", "cmake",     "git",
                "meson",           "ninja-build",     "pkg-config"};
  }
  for (auto& each : library_packages(text)) packages.push_back(std::move(each));
  install_packages(build, packages);
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  add_install(build, input, {});
  add_build(
      build, input,
      {is_cmake ? "cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release && cmake --build /build -j 2"
                : "meson setup /build --buildtype=release && meson compile -C /build",
       {}});
  // A build_command may have put it anywhere, or have made another one that start_command names.
  const bool is_detected = input.choice.build_command.empty();
  const std::string find = "p=$(find /build -type f -executable -name " + program;
  const std::string find_any =
      "mkdir -p /build && p=$(find /build /app -type f -executable -name " + program;
  build.steps.push_back(RunStep{
      is_detected
          ? find + " | head -n 1) && test -n \"$p\" && mkdir -p /out/bin && cp \"$p\" /out/bin/"
          : find_any + " | head -n 1) && mkdir -p /out/bin && "
                       "if test -n \"$p\"; then cp \"$p\" /out/bin/; fi",
      {}});
  build.steps.push_back(
      RunStep{is_detected ? gather_libraries("/out/bin/" + program) : gather_all_libraries(), {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"build"};
  plan.stages.push_back(std::move(build));
  plan.stages.push_back(compiled_app_stage(input));
  if (!set_start(plan, input, "/app/bin/" + program, "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
