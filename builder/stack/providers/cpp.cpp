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

}  // namespace

Result<Offer> plan_cpp(const ProviderInput& input, const std::string& seen) {
  ATLAS_TRY(const auto text, read_text(input.tree, seen));
  const bool is_cmake = seen == "CMakeLists.txt";
  auto program = is_cmake ? first_match(*text, R"(^add_executable\s*\(\s*([^\s)]+))")
                          : first_match(*text, R"((?:^|=\s*)executable\s*\(\s*['"]([^'"]+)['"])");
  if (program.find("PROJECT_NAME") != std::string::npos) {
    program = first_match(*text, R"(^project\s*\(\s*([^\s)]+))");
  }
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
  for (auto& each : library_packages(*text)) packages.push_back(std::move(each));
  install_packages(build, packages);
  build.steps.push_back(CopyStep{{"."}, ".", "", false});
  build.steps.push_back(RunStep{
      is_cmake ? "cmake -S . -B /build -DCMAKE_BUILD_TYPE=Release && cmake --build /build -j 2"
               : "meson setup /build --buildtype=release && meson compile -C /build",
      {}});
  build.steps.push_back(
      RunStep{"p=$(find /build -type f -executable -name " + program +
                  " | head -n 1) && test -n \"$p\" && mkdir -p /out/bin && cp \"$p\" /out/bin/",
              {}});
  build.steps.push_back(RunStep{gather_libraries("/out/bin/" + program), {}});
  plan.ignored = {".git"};
  plan.always_ignored = {"build"};
  plan.stages.push_back(std::move(build));
  plan.stages.push_back(compiled_app_stage());
  if (!set_start(plan, input, "/app/bin/" + program, "")) return Offer(CannotStart{});
  return Offer(std::move(plan));
}

}  // namespace atlasflow::builder
