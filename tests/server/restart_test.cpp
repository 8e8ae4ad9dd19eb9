#include "server/restart.hpp"

#include <cstdlib>
#include <sstream>

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"

namespace atlasflow::server {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr const char* k_child_folder = "ATLASFLOW_TEST_RESTART_FOLDER";

class Restarting : public testing::Test {
 protected:
  Restarting() {
    std::string name = (fs::temp_directory_path() / "atlasflow-restart-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~Restarting() override {
    std::error_code ignored;
    fs::remove_all(folder_, ignored);
  }
  // Its process id; it has executed itself anew and ended well.
  [[nodiscard]] pid_t run_child(const std::vector<std::string>& arguments) const {
    const pid_t child = ::fork();
    if (child == 0) {
      ::setenv(k_child_folder, folder_.c_str(), 1);
      std::vector<char*> words = {const_cast<char*>("server_test"),
                                  const_cast<char*>("--gtest_filter=RestartingChild.*")};
      for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
      words.push_back(nullptr);
      ::execv("/proc/self/exe", words.data());
      ::_exit(127);
    }
    int status = -1;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return child;
  }
  // What of its arguments it had the second time, behind the test's own.
  [[nodiscard]] std::vector<std::string> arguments_then() const {
    std::vector<std::string> found;
    std::istringstream words(read_file(folder_ / "arguments", 100'000).value_or(""));
    for (std::string word; std::getline(words, word, '\0');) found.push_back(word);
    if (found.size() >= 2) found.erase(found.begin(), found.begin() + 2);
    return found;
  }
  fs::path folder_;
};

// Not a test by itself: what the test below runs in a process of its own, once before and once
// after it has executed itself anew.
TEST(RestartingChild, runs_twice) {
  const char* folder = std::getenv(k_child_folder);
  if (folder == nullptr) GTEST_SKIP() << "the next test starts this one";
  const auto before = recorded_restarts(folder);
  if (before.empty()) {
    const StopSignal stop;
    const auto done =
        restart_process(folder, Error{ErrorCode::internal, "the timers died", "injected"}, stop);
    FAIL() << "it came back: " << (done ? "stopped" : to_string(done.error()));
  }
  ASSERT_EQ(before.size(), 1U);
  const auto arguments = read_file("/proc/self/cmdline", 100'000);
  ASSERT_TRUE(arguments);
  ASSERT_TRUE(replace_file(fs::path(folder) / "arguments", *arguments, 0600));
  ASSERT_TRUE(replace_file(fs::path(folder) / "again", std::to_string(::getpid()), 0600));
}

TEST_F(Restarting, is_the_same_process_with_the_same_arguments_and_says_why) {
  const pid_t child = run_child({"--state-dir", "/srv/state"});
  EXPECT_EQ(read_file(folder_ / "again", 100).value_or(""), std::to_string(child));
  const auto restarts = recorded_restarts(folder_);
  ASSERT_EQ(restarts.size(), 1U);
  EXPECT_EQ(restarts[0].reason, "the timers died (injected)");
  EXPECT_THAT(arguments_then(), testing::ElementsAre("--state-dir", "/srv/state"));
}

// By hand, for one start: the next build to come would be accepted unseen.
TEST_F(Restarting, carries_over_nothing_that_somebody_accepted) {
  static_cast<void>(
      run_child({"--accept-loss", "--config", "a.toml", "--accept-new-fold",
                 "--accept-new-fold=true", "--accept-loss=1", "--accept-new-folder"}));
  EXPECT_THAT(arguments_then(), testing::ElementsAre("--config", "a.toml", "--accept-new-folder"));
}

TEST_F(Restarting, waits_longer_each_time_and_forgets_after_ten_minutes) {
  std::vector<Restart> earlier;
  std::int64_t now = 1'700'000'000'000'000;
  std::vector<std::int64_t> pauses;
  for (int i = 0; i < 8; ++i) {
    pauses.push_back(pause_before_restart(earlier, now).count());
    earlier.push_back({now, ""});
    now += 1'000'000;
  }
  EXPECT_THAT(pauses, testing::ElementsAre(1, 2, 4, 8, 16, 32, 60, 60));
  EXPECT_EQ(pause_before_restart(earlier, now + 601'000'000), seconds(1));
}

TEST_F(Restarting, record_that_is_damaged_is_none) {
  EXPECT_TRUE(recorded_restarts(folder_).empty());
  for (const char* text :
       {"", "{", "{}", "[1, null]", R"([{"at_us": "x", "reason": 1}])", R"([{"at_us": 1}])"}) {
    ASSERT_TRUE(replace_file(folder_ / "restarts.json", text, 0600, Sync::skipped));
    EXPECT_TRUE(recorded_restarts(folder_).empty()) << text;
  }
}

TEST_F(Restarting, ends_when_it_is_told_to_stop_meanwhile) {
  const StopSignal stop;
  stop.wake();
  EXPECT_TRUE(restart_process(folder_, Error{ErrorCode::internal, "x", ""}, stop));
}

}  // namespace
}  // namespace atlasflow::server
