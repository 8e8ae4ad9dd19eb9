#include "base/process.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <string>
#include <thread>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/process_identity.hpp"

namespace atlasflow {
namespace {

using namespace std::chrono_literals;

// In the child, before it is tied to its parent.
int kill_parent(void* /*context*/, const char** /*step*/) {
  const pid_t parent = ::getppid();
  if (::kill(parent, SIGKILL) != 0) return errno;
  while (::getppid() == parent) ::usleep(1000);
  return 0;
}

TEST(Spawn, a_child_whose_parent_is_killed_before_it_is_tied_to_it_ends_too) {
  std::array<int, 2> alive{};
  ASSERT_EQ(::pipe2(alive.data(), O_CLOEXEC), 0);
  const pid_t server = ::fork();
  if (server == 0) {
    SpawnRequest request;
    request.argv = {"/bin/sleep", "600"};
    request.dies_with_parent = true;
    request.prepare = kill_parent;
    [[maybe_unused]] const auto process = spawn_process(request);
    ::_exit(0);
  }
  ::close(alive[1]);
  int status = 0;
  ASSERT_EQ(::waitpid(server, &status, 0), server);
  EXPECT_TRUE(WIFSIGNALED(status));
  // The child has a copy of the other end as long as it lives.
  pollfd end{alive[0], POLLIN, 0};
  constexpr int k_limit_ms = 10'000;
  EXPECT_EQ(::poll(&end, 1, k_limit_ms), 1);
  ::close(alive[0]);
}

SpawnRequest shell(const std::string& script) {
  return {.argv = {"sh", "-c", script}, .program = "/bin/sh", .environment = {"GREETING=hello"}};
}

TEST(Run, hands_on_both_outputs_and_how_it_ended) {
  std::string output;
  std::string error;
  const auto ran = run_process(
      shell("echo $GREETING; echo broken >&2; exit 3"), 20s, {},
      [&](std::string_view text) { output += text; },
      [&](std::string_view text) { error += text; });
  ASSERT_TRUE(ran) << to_string(ran.error());
  EXPECT_EQ(ran->end, RunOutcome::End::exited);
  EXPECT_EQ(ran->exit_code, 3);
  EXPECT_EQ(output, "hello\n");
  EXPECT_EQ(error, "broken\n");
}

TEST(Run, without_a_taker_of_errors_both_go_the_same_way) {
  std::string output;
  ASSERT_TRUE(run_process(shell("echo one; echo two >&2"), 20s, {},
                          [&](std::string_view text) { output += text; }));
  EXPECT_EQ(output, "one\ntwo\n");
}

TEST(Run, is_over_at_the_deadline_with_all_that_was_started) {
  std::string output;
  const auto ran = run_process(shell("sleep 600 & echo $!; wait"), 300ms, {},
                               [&](std::string_view text) { output += text; });
  ASSERT_TRUE(ran) << to_string(ran.error());
  EXPECT_EQ(ran->end, RunOutcome::End::timed_out);
  const pid_t started = std::stoi(output);
  for (int tries = 0; tries < 5'000 && identify_process(started); ++tries) {
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_FALSE(identify_process(started));
}

TEST(Run, that_closed_its_outputs_is_not_over) {
  const auto ran =
      run_process(shell("exec >/dev/null 2>&1; sleep 600"), 300ms, {}, [](std::string_view) {});
  ASSERT_TRUE(ran) << to_string(ran.error());
  EXPECT_EQ(ran->end, RunOutcome::End::timed_out);
}

TEST(Spawn, gives_the_environment_and_the_descriptors_that_were_named_and_no_other) {
  // Without O_CLOEXEC: what another thread or a library leaves open.
  const FileDescriptor left_open(::open("/dev/zero", O_RDONLY));
  const FileDescriptor named(::open("/dev/full", O_RDONLY | O_CLOEXEC));
  auto request = shell(
      "env | grep -v '^PWD=\\|^_=\\|^SHLVL='; readlink /proc/$$/fd/3; "
      "ls /proc/$$/fd | tr '\\n' ' '");
  request.inherit = {named.get()};
  std::string output;
  ASSERT_TRUE(
      run_process(std::move(request), 20s, {}, [&](std::string_view text) { output += text; }));
  EXPECT_EQ(output, "GREETING=hello\n/dev/full\n0 1 2 3 ");
}

TEST(Spawn, that_cannot_execute_or_be_prepared_says_the_step) {
  const auto missing = spawn_process({.argv = {"/no/such/program"}, .environment = {}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::unavailable);
  EXPECT_EQ(missing.error().message, "/no/such/program could not be started (execute)");
  auto request = shell("true");
  request.prepare = [](void* /*context*/, const char** step) {
    *step = "do what it should";
    return EPERM;
  };
  EXPECT_EQ(spawn_process(request).error().message, "sh could not be started (do what it should)");
}

TEST(Spawn, what_is_given_away_runs_on) {
  pid_t pid = 0;
  {
    auto request = shell("exec sleep 600");
    request.dies_with_parent = false;
    auto process = spawn_process(request);
    ASSERT_TRUE(process) << to_string(process.error());
    pid = process->release();
  }
  const auto identity = identify_process(pid);
  ASSERT_TRUE(identity);
  EXPECT_TRUE(end_process(*identity, 0ms));
}

TEST(BoundedText, keeps_the_end_of_what_never_ends) {
  std::string kept;
  for (int i = 0; i < 10'000; ++i) append_bounded(kept, std::to_string(i) + " ", 100);
  EXPECT_GE(kept.size(), 100U);
  EXPECT_LE(kept.size(), 200U);
  EXPECT_TRUE(kept.ends_with(" 9998 9999 "));
}

}  // namespace
}  // namespace atlasflow
