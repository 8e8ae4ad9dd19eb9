#include "base/process_identity.hpp"

#include <csignal>

#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/file.hpp"

namespace atlasflow {
namespace {

using std::chrono::milliseconds;

// A child that waits for its end.
class Child {
 public:
  explicit Child(const char* name = "child", bool ignores_term = false) {
    int ready[2];
    EXPECT_EQ(::pipe(ready), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::prctl(PR_SET_NAME, name);
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (ignores_term) ::signal(SIGTERM, SIG_IGN);
      (void)!::write(ready[1], "r", 1);
      for (;;) ::pause();
    }
    char byte = 0;
    EXPECT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
    ::close(ready[1]);
  }
  ~Child() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST(ProcessIdentity, is_believed_with_pid_start_time_and_boot_together_only) {
  const auto self = identify_process(::getpid());
  ASSERT_TRUE(self);
  EXPECT_TRUE(is_running(*self));
  EXPECT_FALSE(is_running({self->pid, self->start_ticks + 1, self->boot_id}));
  EXPECT_FALSE(is_running({self->pid, self->start_ticks, "another boot"}));
  EXPECT_FALSE(open_process({self->pid, self->start_ticks + 1, self->boot_id}));
  EXPECT_FALSE(identify_process(0));
  EXPECT_FALSE(identify_process(-1));
}

TEST(ProcessIdentity, is_read_past_a_name_that_looks_like_the_fields_behind_it) {
  const Child plain;
  const Child hostile(") Z 1 (1) 2");
  const auto one = identify_process(plain.pid());
  const auto two = identify_process(hostile.pid());
  ASSERT_TRUE(one);
  ASSERT_TRUE(two);
  EXPECT_GE(two->start_ticks, one->start_ticks);
  EXPECT_LT(two->start_ticks, one->start_ticks + 6'000) << "within a minute of 100 ticks a second";
}

TEST(ProcessIdentity, fields_that_are_cut_are_none) {
  const std::string whole = read_file("/proc/self/stat", 4'096).value();
  const auto stat = parse_process_stat(whole);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->state, 'R');
  const std::size_t name_end = whole.rfind(')');
  for (std::size_t size = 0; size < name_end + 20; ++size) {
    EXPECT_FALSE(parse_process_stat(std::string_view(whole).substr(0, size))) << size;
  }
}

TEST(ProcessIdentity, of_a_zombie_is_none_and_only_its_own_remains_are_reaped) {
  const pid_t pid = ::fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) ::pause();
  const auto child = identify_process(pid);
  ASSERT_TRUE(child);
  ::kill(pid, SIGKILL);
  siginfo_t info{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT), 0);
  EXPECT_FALSE(identify_process(pid));
  EXPECT_FALSE(is_running(*child));
  reap({pid, child->start_ticks + 1, child->boot_id});
  EXPECT_EQ(::kill(pid, 0), 0) << "the zombie of another process was taken from its parent";
  reap(*child);
  EXPECT_EQ(::kill(pid, 0), -1);
}

TEST(ProcessIdentity, ends_what_it_names_and_nothing_else) {
  const Child child;
  const auto process = identify_process(child.pid());
  ASSERT_TRUE(process);
  ProcessIdentity earlier = *process;
  --earlier.start_ticks;
  EXPECT_TRUE(end_process(earlier, milliseconds::zero())) << "that one is gone";
  EXPECT_TRUE(is_running(*process));
  EXPECT_TRUE(end_process(*process, milliseconds(5'000)));
  EXPECT_FALSE(is_running(*process));
}

TEST(ProcessIdentity, that_ignores_sigterm_is_killed_after_the_grace) {
  const Child child("stubborn", true);
  const auto process = identify_process(child.pid());
  ASSERT_TRUE(process);
  EXPECT_TRUE(end_process(*process, milliseconds(50)));
  EXPECT_FALSE(is_running(*process));
}

TEST(ProcessIdentity, tells_its_command_line_until_it_is_gone) {
  auto self = *identify_process(::getpid());
  EXPECT_NE(command_line_of(self).find("base_test"), std::string::npos);
  ++self.start_ticks;
  EXPECT_EQ(command_line_of(self), "");
}

}  // namespace
}  // namespace atlasflow
