// The verbs of time travel as values: what to look at, and when. They read the event log itself, so
// they work beside a running server, without one, and on a copy.
#pragma once

#include <cstdint>
#include <string>

namespace atlasflow::cli {

// Which log: of the state folder, or of --log.
struct LogTailCommand {
  std::string log;
  std::int64_t lines = 20;
  std::string deployment;
  std::string type;   // an event's name
  std::string text;   // somewhere in the event
  std::string since;  // a WHEN
  bool json = false;
};
struct LogShowCommand {
  std::string log;
  std::int64_t position = 0;
};
struct LogShadowCommand {
  std::string log;
  std::string snapshots;  // empty: those beside the log
  bool json = false;
};
struct LogStatsCommand {
  std::string log;
  bool json = false;
};
struct TimelineCommand {
  std::string log;
  std::string deployment;
  std::string compare;  // another deployment
  bool json = false;
};
struct StateCommand {
  std::string log;
  std::string subject;
  std::string at;  // a WHEN; empty: the end
  bool json = false;
};
struct DiffCommand {
  std::string log;
  std::string subject;
  std::string from;
  std::string to;
  bool json = false;
};
struct WhyCommand {
  std::string log;
  std::string subject;
  std::string at;
  bool json = false;
};
struct ReplayCommand {
  std::string log;
  std::string deployment;
  std::string to;
  std::string watch;   // only steps that change a field of this name
  std::string run_to;  // stop behind the first event of this type
  bool json = false;
};
struct BisectCommand {
  std::string log;
  std::string predicate;
  std::string of;  // a deployment or a project; empty: the events themselves
  bool json = false;
};
struct WhatIfCommand {
  std::string log;
  std::string deployment;
  std::int64_t skip = 0;    // 0: none
  std::string insert_file;  // an event as JSON
  std::string at;           // where it is inserted; empty: at the end
  bool json = false;
};

}  // namespace atlasflow::cli
