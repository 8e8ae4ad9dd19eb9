#include "vmm/hypervisor/process.hpp"

#include <thread>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.hpp"
#include "tests/vmm/image_fixture.hpp"

namespace atlasflow::vmm {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

TEST(Tool, gives_its_output_and_takes_its_input) {
  EXPECT_EQ(run_tool({"cat"}, 20s, {}, "some text").value(), "some text");
  EXPECT_EQ(run_tool({"true"}, 20s, {}, std::string(300'000, 'x')).value(), "")
      << "a tool that does not read its input";
}

TEST(Tool, that_fails_says_why) {
  const auto failed = run_tool({"sh", "-c", "echo broken >&2; exit 3"}, 20s);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code, ErrorCode::internal);
  EXPECT_EQ(failed.error().cause, "broken");
  const auto missing = run_tool({"no-such-program"}, 20s);
  EXPECT_EQ(missing.error().code, ErrorCode::unavailable);
  EXPECT_THAT(missing.error().message, HasSubstr("no-such-program"));
}

TEST(Tool, is_ended_with_its_children_at_the_deadline_and_on_stop) {
  EXPECT_EQ(run_tool({"sh", "-c", "sleep 600 & sleep 600"}, 100ms).error().code,
            ErrorCode::timed_out);
  EXPECT_EQ(run_tool({"sh", "-c", "exec >/dev/null 2>&1; sleep 600"}, 100ms).error().code,
            ErrorCode::timed_out)
      << "closed outputs are no end";
  std::stop_source stop;
  std::jthread stopper([&] {
    std::this_thread::sleep_for(50ms);
    stop.request_stop();
  });
  EXPECT_EQ(run_tool({"sleep", "600"}, 600s, stop.get_token()).error().code, ErrorCode::cancelled);
}

TEST(ProcessId, is_not_trusted_when_the_start_time_differs) {
  const auto self = identify_process(::getpid());
  ASSERT_TRUE(self);
  EXPECT_TRUE(is_alive(*self));
  const ProcessId later{self->pid, self->start_ticks + 1, self->boot_id};
  EXPECT_FALSE(is_alive(later));
  EXPECT_TRUE(kill_process(later, 1s)) << "and was not killed";
}

DaemonSpec shell(const std::string& script) {
  DaemonSpec spec;
  spec.args = {"sh", "-c", script};
  return spec;
}

TEST(Daemon, has_a_session_and_limits_and_the_given_files_only) {
  const test::TemporaryFolder folder;
  const FileDescriptor first(
      ::open((folder.path() / "first").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  const FileDescriptor second(
      ::open((folder.path() / "second").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  DaemonSpec spec = shell(
      "echo one >&3; echo two >&4; echo err >&2; ulimit -c >&3; ls /proc/self/fd | tr '\\n' ' ' "
      ">&4");
  spec.fds = {first.get(), second.get()};
  const FileDescriptor error(
      ::open((folder.path() / "error").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  spec.stderr_fd = error.get();
  pid_t session = 0;
  const auto process = spawn_daemon(spec, [&](const ProcessId& id) -> Result<void> {
    for (int tries = 0; tries < 1000 && session != id.pid; ++tries) {
      session = ::getsid(id.pid);
      std::this_thread::sleep_for(1ms);
    }
    return {};
  });
  ASSERT_TRUE(process) << to_string(process.error());
  EXPECT_EQ(session, process->pid);
  for (int tries = 0; tries < 5000 && is_alive(*process); ++tries) std::this_thread::sleep_for(2ms);
  ASSERT_FALSE(is_alive(*process));
  EXPECT_EQ(read_file(folder.path() / "first", 100).value(), "one\n0\n");
  // ls itself opens one more, the folder that it reads.
  EXPECT_EQ(read_file(folder.path() / "second", 100).value(), "two\n0 1 2 3 4 5 ");
  EXPECT_EQ(read_file(folder.path() / "error", 100).value(), "err\n");
}

TEST(Daemon, that_could_not_be_written_down_never_runs) {
  const test::TemporaryFolder folder;
  const auto mark = folder.path() / "ran";
  pid_t pid = 0;
  const auto process =
      spawn_daemon(shell("echo > " + mark.string()), [&](const ProcessId& id) -> Result<void> {
        pid = id.pid;
        return fail(ErrorCode::internal, "the disk is full");
      });
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error().message, "the disk is full");
  EXPECT_FALSE(identify_process(pid));
  EXPECT_FALSE(std::filesystem::exists(mark));
}

TEST(Daemon, whose_parent_is_killed_before_the_record_never_runs) {
  const test::TemporaryFolder folder;
  const auto mark = folder.path() / "ran";
  const auto pid_file = folder.path() / "pid";
  const pid_t parent = ::fork();
  ASSERT_GE(parent, 0);
  if (parent == 0) {
    (void)spawn_daemon(shell("echo > " + mark.string()), [&](const ProcessId& id) -> Result<void> {
      (void)replace_file(pid_file, std::to_string(id.pid), 0600);
      ::kill(::getpid(), SIGKILL);
      return {};
    });
    ::_exit(0);
  }
  ::waitpid(parent, nullptr, 0);
  const pid_t child = std::stoi(read_file(pid_file, 100).value());
  for (int tries = 0; tries < 5000 && identify_process(child); ++tries) {
    std::this_thread::sleep_for(2ms);
  }
  EXPECT_FALSE(identify_process(child));
  EXPECT_FALSE(std::filesystem::exists(mark));
}

}  // namespace
}  // namespace atlasflow::vmm
