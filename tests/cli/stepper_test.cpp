// The full screen of `replay`, driven by keys through a pseudo terminal.
#include <array>
#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/builder/scratch.hpp"

namespace atlasflow::cli {
namespace {

namespace fs = std::filesystem;

class Screen : public testing::Test {
 protected:
  void SetUp() override {
    fs::copy(RECORDED_LOG, folder_, fs::copy_options::recursive);
    const winsize size{30, 110, 0, 0};
    child_ = ::forkpty(&terminal_, nullptr, nullptr, &size);
    ASSERT_GE(child_, 0);
    if (child_ == 0) {
      ::setenv("TERM", "xterm", 1);
      ::execl(ATLASFLOW_EXECUTABLE, "atlasflow", "replay", "a2omrvgu", "--log", folder_.c_str(),
              static_cast<char*>(nullptr));
      ::_exit(127);
    }
  }
  void TearDown() override {
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
    ::close(terminal_);
  }

  void press(std::string_view keys) {
    ASSERT_EQ(::write(terminal_, keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  // Whether the text is drawn within the time; what is drawn is read along the way.
  bool draws(const std::string& text) {
    constexpr int k_limit_ms = 20'000;
    pollfd ready{terminal_, POLLIN, 0};
    while (drawn_.find(text) == std::string::npos) {
      std::array<char, 4096> bytes{};
      if (::poll(&ready, 1, k_limit_ms) <= 0) return false;
      const auto size = ::read(terminal_, bytes.data(), bytes.size());
      if (size <= 0) return false;
      drawn_.append(bytes.data(), static_cast<std::size_t>(size));
    }
    return true;
  }
  int end() {
    int status = 0;
    ::waitpid(std::exchange(child_, -1), &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  builder::Scratch scratch_;
  fs::path folder_ = scratch_.path() / "events";
  int terminal_ = -1;
  pid_t child_ = -1;
  std::string drawn_;
};

TEST_F(Screen, shows_the_first_event_runs_to_a_type_and_leaves) {
  EXPECT_TRUE(draws("event 1 of 18")) << drawn_;
  EXPECT_TRUE(draws("world owes"));
  press("tRouted\n");
  EXPECT_TRUE(draws("Routed")) << drawn_;
  EXPECT_TRUE(draws("routing -> live")) << drawn_;
  press("/no such text\n");
  EXPECT_TRUE(draws("is in no event behind this one")) << drawn_;
  press("q");
  EXPECT_EQ(end(), 0);
}

TEST_F(Screen, says_where_the_last_event_is) {
  EXPECT_TRUE(draws("event 1 of 18")) << drawn_;
  press("Gj");
  EXPECT_TRUE(draws("this is the last event")) << drawn_;
  press("q");
  EXPECT_EQ(end(), 0);
}

}  // namespace
}  // namespace atlasflow::cli
