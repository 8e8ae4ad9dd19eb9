// A measurement in a process of its own, so that its memory is its own. For one thread.
#pragma once

#include <array>
#include <cstdio>
#include <functional>

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.hpp"

namespace atlasflow::bench {

inline double peak_mib() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024;
}

// What the process that runs it answers; this one has no thread and must stay so.
template <typename Numbers>
Numbers apart(const std::function<Numbers()>& measure) {
  std::array<int, 2> pipe{};
  ATLAS_ASSERT(::pipe(pipe.data()) == 0, "no pipe");
  std::fflush(stdout);
  const pid_t child = ::fork();
  ATLAS_ASSERT(child >= 0, "no process");
  if (child == 0) {
    const Numbers numbers = measure();
    ATLAS_ASSERT(::write(pipe[1], &numbers, sizeof numbers) == sizeof numbers, "no answer");
    ::_exit(0);
  }
  ::close(pipe[1]);
  Numbers numbers{};
  const bool whole = ::read(pipe[0], &numbers, sizeof numbers) == sizeof numbers;
  ::close(pipe[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ATLAS_ASSERT(whole && WIFEXITED(status) && WEXITSTATUS(status) == 0, "a measurement failed");
  return numbers;
}

}  // namespace atlasflow::bench
