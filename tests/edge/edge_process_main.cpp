// The smallest program that is an edge process: what `atlasflow edge` is, for tests that start one.
#include <csignal>
#include <iostream>
#include <string>

#include <unistd.h>

#include "edge/control/edge_process.hpp"

int main(int argc, char** argv) {
  const std::string usage = "edge_process --state-dir D --launch-fd N\n";
  if (argc != 5) {
    std::cerr << usage;
    return 2;
  }
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t stops;
  ::sigemptyset(&stops);
  ::sigaddset(&stops, SIGTERM);
  ::pthread_sigmask(SIG_BLOCK, &stops, nullptr);
  const auto process = atlasflow::edge::EdgeProcess::start(argv[2], std::stoi(argv[4]),
                                                           [] { ::kill(::getpid(), SIGTERM); });
  if (!process) {
    std::cerr << to_string(process.error()) << "\n";
    return 1;
  }
  int number = 0;
  ::sigwait(&stops, &number);
  return 0;
}
