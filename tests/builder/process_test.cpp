#include "builder/sandbox/process.hpp"

#include <array>
#include <cerrno>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

namespace atlasflow::builder {
namespace {

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
    [[maybe_unused]] const auto process = spawn(request);
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

}  // namespace
}  // namespace atlasflow::builder
