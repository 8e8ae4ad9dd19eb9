// log_writer_process FOLDER: a control plane reduced to its log. Each line on standard input is a
// number of events to append, one synced append each; after each one the last position is printed,
// or "full" when a full disk refused it. "0" prints the position only. Ends with its input. Exit 3:
// the log did not open; standard error says why.
#include <charconv>
#include <iostream>
#include <string>

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include "storage/log/rocksdb_event_log.hpp"

namespace {

using namespace atlasflow;
using namespace atlasflow::storage;

int serve(EventLog& log) {
  const StreamId stream("deployment/a");
  std::string line;
  while (std::getline(std::cin, line)) {
    for (int left = std::stoi(line); left > 0; --left) {
      AppendRequest request;
      request.stream = stream;
      request.expected_version = log.version_of(stream).value();
      for (std::uint64_t i = 0; i < 1 + log.last_position().value() % 3; ++i) {
        request.events.emplace_back().mutable_cloned()->set_subject(std::string(200, 'x'));
      }
      request.dedupe_key = "key " + std::to_string(log.last_position().value());
      const auto outcomes = log.append({request}, 1);
      if (!outcomes && outcomes.error().code == ErrorCode::disk_full) {
        std::cout << "full" << std::endl;
        continue;
      }
      if (!outcomes || !std::holds_alternative<Appended>((*outcomes)[0])) return 4;
      std::cout << log.last_position() << std::endl;
    }
    if (line == "0") std::cout << log.last_position() << std::endl;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  spdlog::set_default_logger(spdlog::stderr_logger_mt("log"));  // standard output has the answers
  auto log = open_event_log({argv[1], "build-of-the-process", false});
  if (!log || !(*log)->begin_epoch()) {
    std::cerr << (log ? "no epoch" : to_string(log.error())) << std::endl;
    return 3;
  }
  return serve(**log);
}
