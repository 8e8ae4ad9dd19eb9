// script/bench beside benchmarks of the test's own, which are built from nothing.
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/wait.h>

namespace atlasflow::house {
namespace {

namespace fs = std::filesystem;

class BenchScript : public testing::Test {
 protected:
  void SetUp() override {
    std::string made = (fs::temp_directory_path() / "bench-script-XXXXXX").string();
    ASSERT_NE(::mkdtemp(made.data()), nullptr);
    root_ = made;
    fs::create_directories(root_ / "script");
    fs::create_directories(root_ / "bench");
    fs::copy_file(fs::path(ATLASFLOW_SOURCE_DIR) / "script/bench", root_ / "script/bench");
    write("plain.sh", "echo \"BAR runs 1 >= 1\"");
    write("counts.sh", "# arguments: N\necho \"BAR runs $1 >= 3\"");
  }
  void TearDown() override { fs::remove_all(root_); }

  void write(const std::string& name, const std::string& body) const {
    const auto path = root_ / "bench" / name;
    std::ofstream(path) << "#!/usr/bin/env bash\n# What it measures.\n" << body << "\n";
    fs::permissions(path, fs::perms::owner_all);
  }
  [[nodiscard]] int code_of(const std::string& arguments) const {
    const auto command = (root_ / "script/bench").string() + " " + arguments + " >/dev/null 2>&1";
    const int status = std::system(command.c_str());
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  fs::path root_;
};

TEST_F(BenchScript, refuses_arguments_that_a_benchmark_would_leave_unread) {
  EXPECT_EQ(code_of("plain"), 0);
  EXPECT_EQ(code_of("plain --events 3"), 2);
  EXPECT_EQ(code_of("plain ''"), 2);
}

TEST_F(BenchScript, hands_arguments_on_to_one_that_takes_them) {
  EXPECT_EQ(code_of("counts 3"), 0);
  EXPECT_EQ(code_of("counts 2"), 1) << "the bar fell short";
}

}  // namespace
}  // namespace atlasflow::house
