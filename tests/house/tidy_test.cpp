// The house rules, first against snippets that break them, so that each rule is known to bite, then
// against the repository.
#include "tests/house/tidy.hpp"

#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/house/marks.hpp"

namespace atlasflow::house {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;

struct Snippet {
  const char* name;
  std::string path;
  std::string text;
  std::string expected;  // part of a finding; empty: none must be found
};

// GoogleTest would show the bytes, and ctest would make them part of the test's name.
void PrintTo(const Snippet& snippet, std::ostream* out) { *out << snippet.expected; }

std::string lines(int count) {
  std::string text;
  for (int i = 0; i < count; ++i) text += "int x;\n";
  return text;
}

// Marks are put together so that this file does not break the rule that it tests.
const std::string k_mark = std::string("TO") + "DO";

const Snippet k_snippets[] = {
    {"a_line_of_101_columns", "edge/a.cpp", "// " + std::string(98, 'x') + "\n", "101 columns"},
    {"a_line_of_100_columns", "edge/a.cpp", "// " + std::string(97, 'x') + "\n", ""},
    {"columns_are_code_points", "edge/a.cpp", "// " + std::string(96, 'x') + "→\n", ""},
    {"a_tab", "edge/a.cpp", "\tint x;\n", "tab"},
    {"a_trailing_space", "edge/a.cpp", "int x; \n", "space at the end"},
    {"a_file_of_501_lines", "edge/a.cpp", lines(501), "501 lines"},
    {"a_file_of_500_lines", "edge/a.cpp", lines(500), ""},
    {"a_long_file_with_a_reason", "edge/a.cpp", "// Long because: one table.\n" + lines(600), ""},
    {"an_unfinished_mark", "edge/a.cpp", "// " + k_mark + ": later\n", k_mark},
    {"a_header_without_pragma_once", "edge/a.hpp", "// What it is.\nint x;\n", "#pragma once"},
    {"a_header_without_a_paragraph", "edge/a.hpp", "#pragma once\n", "opens with a paragraph"},
    {"a_good_header", "edge/a.hpp", "// What it is.\n#pragma once\n\n#include <string>\n", ""},

    {"base_using_events", "base/a.cpp", "#include \"events/ids.hpp\"\n", "may not use events/"},
    {"events_using_files", "events/a.cpp", "#include \"base/digest.hpp\"\n", "events/ is pure"},
    {"github_using_storage", "github/a.cpp", "#include \"storage/log/anchor.hpp\"\n",
     "may not use storage/"},
    {"actors_using_github", "actors/a.cpp", "#include \"github/jwt.hpp\"\n", "may not use github/"},
    {"storage_using_actors", "storage/a.cpp", "#include \"actors/root.hpp\"\n",
     "may not use actors/"},
    {"edge_using_storage", "edge/a.cpp", "#include \"storage/log/anchor.hpp\"\n",
     "may not use storage/"},
    {"vmm_using_builder", "vmm/a.cpp", "#include \"builder/registry/registry.hpp\"\n",
     "may not use builder/"},
    {"actors_using_edge", "actors/a.cpp", "#include \"edge/edge.hpp\"\n", "may not use edge/"},
    {"api_using_http", "api/a.cpp", "#include \"http/parser.hpp\"\n", ""},
    {"a_test_using_more_than_its_folder_may", "tests/vmm/a_test.cpp",
     "#include \"storage/log/anchor.hpp\"\n", "may not use storage/"},
    {"a_test_using_its_folder", "tests/vmm/a_test.cpp", "#include \"vmm/hypervisor/probe.hpp\"\n",
     ""},
    {"an_end_to_end_test_using_all", "tests/end_to_end/a_test.cpp",
     "#include \"vmm/hypervisor/probe.hpp\"\n", ""},
    {"production_code_using_tests", "cli/a.cpp", "#include \"tests/house/tidy.hpp\"\n", "tests/"},
    {"an_include_not_from_the_root", "edge/a.cpp", "#include \"edge.hpp\"\n",
     "from the repository's"},
    {"an_include_upwards", "edge/a.cpp", "#include \"../events/ids.hpp\"\n",
     "from the repository's"},
    {"an_include_in_a_comment", "edge/a.cpp", "// #include \"base/digest.hpp\"\n", ""},
    {"caf_outside_actors", "storage/a.cpp", "#include <caf/all.hpp>\n", "belongs to actors"},
    {"caf_in_actors", "actors/a.cpp", "#include <caf/all.hpp>\n", ""},
    {"curl_outside_base", "cli/a.cpp", "#include <curl/curl.h>\n", "belongs to base"},
    {"curl_in_base", "base/a.cpp", "#include <curl/curl.h>\n", ""},
    {"rocksdb_outside_storage", "actors/a.cpp", "#include <rocksdb/db.h>\n", "belongs to storage"},
    {"rocksdb_in_a_test_of_storage", "tests/storage/a.cpp", "#include <rocksdb/db.h>\n", ""},
    {"rocksdb_in_sim", "sim/a.cpp", "#include <rocksdb/env.h>\n", ""},
    {"toml_in_builder", "builder/a.cpp", "#include <toml++/toml.h>\n", ""},
    {"toml_outside_builder_and_cli", "actors/a.cpp", "#include <toml++/toml.h>\n",
     "belongs to builder"},
    {"libgit2_outside_builder", "api/a.cpp", "#include <git2.h>\n", "belongs to builder"},
    {"llhttp_outside_http", "api/a.cpp", "#include <llhttp.h>\n", "belongs to http"},

    {"a_clock_in_events", "events/a.cpp", "auto t = std::chrono::system_clock::now();\n",
     "system_clock"},
    {"a_clock_in_a_test_of_events", "tests/events/a.cpp", "using std::chrono::system_clock;\n", ""},
    {"a_clock_in_a_comment", "events/a.cpp", "// No system_clock here.\n", ""},
    {"chrono_in_events", "events/a.cpp", "#include <chrono>\n", "no <chrono>"},
    {"randomness_in_events", "events/a.cpp", "std::mt19937 engine;\n", "mt19937"},
    {"the_environment_in_events", "events/a.cpp", "auto home = std::getenv(\"HOME\");\n", "getenv"},
    {"a_file_in_events", "events/a.cpp", "std::ifstream in(path);\n", "ifstream"},
    {"unordered_iteration_in_events", "events/a.cpp", "std::unordered_map<int, int> m;\n",
     "unordered"},
    {"a_double_in_events", "events/a.cpp", "double load = 0;\n", "no double"},
    {"a_float_in_the_schema", "events/event.proto", "message M { float load = 1; }\n", "no float"},
    {"a_map_in_the_schema", "events/event.proto", "message M { map<string, string> m = 1; }\n",
     "no map"},
    {"a_system_header_in_events", "events/a.cpp", "#include <unistd.h>\n", "standard library only"},
    {"logging_in_events", "events/a.cpp", "#include <spdlog/spdlog.h>\n", "standard library only"},
    {"protobuf_in_events", "events/a.cpp", "#include <google/protobuf/message.h>\n", ""},

    {"a_detached_thread", "edge/a.cpp", "std::thread(run).detach();\n", "detached"},
    {"a_detached_actor", "actors/a.cpp", "sys.spawn<caf::detached>(log_writer);\n", ""},
    {"a_naked_new", "edge/a.cpp", "auto* x = new X();\n", "naked new"},
    {"a_new_in_a_smart_pointer", "edge/a.cpp", "return std::unique_ptr<X>(new X(1));\n", ""},
    {"a_new_in_a_member", "edge/a.cpp", "X() : cells_(new Cell[2]) {}\n", "naked new"},
    {"a_test_using_the_simulated_world", "tests/actors/a.cpp", "#include \"sim/world/world.hpp\"\n",
     ""},
    {"a_new_with_a_reason", "edge/a.cpp", "// New because: libfoo frees it.\nauto* x = new X();\n",
     ""},
    {"the_word_new_in_text", "edge/a.cpp", "say(\"a new one\");  // new\nint news = renew();\n",
     ""},
    {"a_naked_delete", "edge/a.cpp", "  delete x;\n", "naked delete"},
    {"a_deleted_function", "edge/a.cpp", "X(const X&) = delete;\n", ""},
    {"a_log_line_by_hand", "vmm/a.cpp", "  spdlog::warn(\"event=x y={}\", y);\n", "log_event"},
    {"a_logger_that_is_set_up", "server/a.cpp", "spdlog::set_default_logger(made);\n", ""},
    {"an_empty_name", "edge/a.cpp", "class RouteManager {};\n", "RouteManager"},
    {"a_noun_for_a_name", "edge/a.cpp", "class RouteTable final {};\n", ""},
};

class Rule : public testing::TestWithParam<Snippet> {};

TEST_P(Rule, finds_what_it_should_and_no_more) {
  const auto& snippet = GetParam();
  const auto found = to_string(check({snippet.path, snippet.text}));
  if (snippet.expected.empty()) {
    EXPECT_EQ(found, "");
  } else {
    EXPECT_THAT(found, HasSubstr(snippet.expected));
  }
}

INSTANTIATE_TEST_SUITE_P(House, Rule, testing::ValuesIn(k_snippets),
                         [](const auto& rule) { return std::string(rule.param.name); });

TEST(CodeOnly, literals_and_comments_are_blank_and_lines_stay) {
  EXPECT_EQ(code_only("a /* b\n c */ d"), "a     \n      d");
  EXPECT_EQ(code_only("f(\"x\\\"y\"); // z"), "f(      );     ");
  EXPECT_EQ(code_only("auto s = R\"--(new \")\" )--\"; int y;"),
            "auto s = " + std::string(17, ' ') + "; int y;");
  EXPECT_EQ(code_only("x = 1'000; y = 'a';"), "x = 1'000; y =    ;");
  EXPECT_EQ(code_only("don't\nnew"), "don  \nnew");
}

TEST(Finding, names_file_and_line) {
  EXPECT_THAT(to_string(check({"edge/a.cpp", "int x;\nauto* y = new X;\n"})),
              HasSubstr("edge/a.cpp:2: naked new"));
}

TEST(Readme, one_without_a_table_is_found) {
  EXPECT_THAT(to_string(check_readme({"edge/README.md", "# Edge\n"}, {})), HasSubstr("no table"));
}

TEST(Readme, one_that_names_a_file_that_is_gone_is_found) {
  const std::string text = "| file | what |\n|---|---|\n| `here.hpp`, `gone.hpp` | x |\n";
  const auto found = to_string(check_readme({"edge/README.md", text}, {"here.hpp"}));
  EXPECT_THAT(found, HasSubstr("edge/README.md:3: there is no file gone.hpp"));
  EXPECT_THAT(found, testing::Not(HasSubstr("here.hpp")));
}

const fs::path k_root = ATLASFLOW_SOURCE_DIR;

const std::vector<std::string> k_code_folders = {
    "base",    "http",    "events", "github", "receive", "storage", "inspect", "backup", "builder",
    "domains", "vmm",     "edge",   "actors", "api",     "sim",     "server",  "cli"};
const std::vector<std::string> k_other_folders = {"tests", "bench", "examples", "docs", "script"};

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> sources() {
  std::vector<fs::path> found;
  auto folders = k_code_folders;
  folders.insert(folders.end(), k_other_folders.begin(), k_other_folders.end());
  for (const auto& folder : folders) {
    if (!fs::exists(k_root / folder)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(k_root / folder)) {
      const auto extension = entry.path().extension();
      if (extension == ".cpp" || extension == ".hpp" || extension == ".proto") {
        found.push_back(entry.path());
      }
    }
  }
  std::ranges::sort(found);
  return found;
}

TEST(Repository, every_source_file_keeps_the_house_rules) {
  const auto files = sources();
  // The walk itself must not go blind.
  ASSERT_THAT(files, Contains(k_root / "events" / "event.proto"));
  ASSERT_THAT(files, Contains(k_root / "tests" / "house" / "tidy.cpp"));
  std::vector<Finding> findings;
  for (const auto& file : files) {
    const auto found = check({fs::relative(file, k_root).string(), read(file)});
    findings.insert(findings.end(), found.begin(), found.end());
  }
  EXPECT_TRUE(findings.empty()) << findings.size() << " findings:\n" << to_string(findings);
}

TEST(Marks, two_that_say_the_same_are_found_wherever_they_stand) {
  const std::vector<SourceFile> files = {
      {"edge/a.cpp", "void f() {\n  ATLAS_PROBE(is(a, \"b\"), \"a late \"\n    \"answer\");\n}\n"},
      {"edge/b.cpp", "bool g() { return ATLAS_BUGGIFY(\"a late answer\"); }\n"},
      {"edge/c.cpp", "void h() { ATLAS_PROBE(true, \"an early answer\"); }\n"}};
  EXPECT_EQ(to_string(check_marks(files)), "edge/b.cpp:1: says what edge/a.cpp:2 says\n");
}

TEST(Marks, one_in_a_header_is_found_and_the_macro_itself_is_none) {
  EXPECT_EQ(to_string(check_marks({{"edge/a.hpp",
                                    "#define ATLAS_PROBE(condition, words) x\n"
                                    "// ATLAS_PROBE(comment, \"in a comment\");\n"
                                    "inline void f() { ATLAS_PROBE(true, \"late\"); }\n"}})),
            "edge/a.hpp:3: a probe or a buggify site in a header\n");
}

TEST(Repository, no_two_marks_of_rare_paths_say_the_same) {
  std::vector<SourceFile> files;
  for (const auto& file : sources()) {
    // The snippets of this test are no marks.
    const auto path = fs::relative(file, k_root).string();
    if (!path.starts_with("tests/house/")) files.push_back({path, read(file)});
  }
  const auto findings = check_marks(files);
  EXPECT_TRUE(findings.empty()) << findings.size() << " findings:\n" << to_string(findings);
}

TEST(Repository, every_folder_says_in_a_table_what_lives_in_it) {
  auto folders = k_code_folders;
  folders.insert(folders.end(), k_other_folders.begin(), k_other_folders.end());
  std::vector<Finding> findings;
  for (const auto& folder : folders) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(k_root / folder)) {
      names.push_back(entry.path().filename().string());
    }
    const auto readme = k_root / folder / "README.md";
    if (!fs::exists(readme)) {
      findings.push_back({folder + "/README.md", 0, "is missing"});
      continue;
    }
    const auto found = check_readme({folder + "/README.md", read(readme)}, names);
    findings.insert(findings.end(), found.begin(), found.end());
  }
  EXPECT_TRUE(findings.empty()) << findings.size() << " findings:\n" << to_string(findings);
}

}  // namespace
}  // namespace atlasflow::house
