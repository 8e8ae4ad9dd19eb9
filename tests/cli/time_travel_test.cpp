// Every verb of time travel, on the log that a real server wrote: a site that went live twice, a
// third version that failed to build, and a stop.
#include <filesystem>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "actors/runtime/start_folds.hpp"
#include "cli/verbs_inspect.hpp"
#include "inspect/lifetimes.hpp"
#include "server/process_setup.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "storage/snapshots/snapshot_store.hpp"
#include "tests/builder/scratch.hpp"

namespace atlasflow::cli {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* k_first = "n2kbbobu";
constexpr const char* k_second = "a2omrvgu";
constexpr const char* k_failed = "t47oleog";

class RecordedLog : public testing::Test {
 protected:
  RecordedLog() { fs::copy(RECORDED_LOG, folder_, fs::copy_options::recursive); }

  template <typename T>
  int run_on_log(T command) {
    command.log = folder_.string();
    out_.str("");
    err_.str("");
    return run(command, Connection{}, Terminal{in_, out_, err_});
  }
  template <typename T>
  nlohmann::json json_of(T command) {
    command.json = true;
    EXPECT_EQ(run_on_log(command), k_exit_ok) << err_.str();
    return nlohmann::json::parse(out_.str());
  }

  builder::Scratch scratch_;
  fs::path folder_ = scratch_.path() / "events";
  std::istringstream in_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(RecordedLog, tail_shows_the_newest_events) {
  LogTailCommand command;
  command.lines = 2;
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("46  "));
  EXPECT_THAT(out_.str(), HasSubstr("NodeStopped"));
  EXPECT_THAT(out_.str(), testing::Not(HasSubstr("45  ")));
}

TEST_F(RecordedLog, tail_filters_by_deployment_type_text_and_moment) {
  LogTailCommand command;
  command.deployment = k_second;
  command.type = "Built";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("22  "));
  LogTailCommand with_text;
  with_text.text = "Second page";
  EXPECT_EQ(run_on_log(with_text), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("Cloned"));
  LogTailCommand since;
  since.type = "PushReceived";
  since.since = "19";
  EXPECT_EQ(run_on_log(since), k_exit_ok);
  EXPECT_THAT(out_.str(), testing::StartsWith("35  "));
}

TEST_F(RecordedLog, show_and_stats_tell_what_there_is) {
  LogShowCommand show;
  show.position = 31;
  EXPECT_EQ(run_on_log(show), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("\"type\": \"Routed\""));
  show.position = 48;
  EXPECT_EQ(run_on_log(show), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("the log goes from 1 to 47"));
  const auto stats = json_of(LogStatsCommand{});
  EXPECT_EQ(stats["events"], 47);
  EXPECT_EQ(stats["types"]["Routed"], 2);
}

TEST_F(RecordedLog, state_is_that_of_the_moment) {
  StateCommand command;
  command.subject = k_second;
  EXPECT_EQ(json_of(command)["state"]["status"], "stopped");
  command.at = "2026-11-27T09:39:01Z";
  EXPECT_EQ(json_of(command)["state"]["status"], "live");
  command.at = std::string(k_second) + "@4";
  EXPECT_EQ(json_of(command)["state"]["status"], "building");
  EXPECT_EQ(json_of(command)["state"]["outstanding"][0]["kind"], "build");
  command.subject = "routes";
  command.at = "31";
  EXPECT_EQ(json_of(command)["state"]["web.atlasflow.localhost"]["deployment"], k_second);
}

// With a snapshot of the server's that is to be believed, and one of another build's, at any of the
// positions, the answers are those without.
TEST_F(RecordedLog, states_and_causes_are_the_same_by_snapshots_of_a_server) {
  const auto answers = [&] {
    std::string all;
    const auto ask = [&](const auto& command) {
      all += std::to_string(run_on_log(command));
      all += out_.str() + err_.str();
    };
    for (int at = 1; at <= 46; at += 3) {
      for (const char* subject : {"routes", "queue", "web", "web.atlasflow.localhost", k_second}) {
        StateCommand state;
        state.subject = subject;
        state.at = std::to_string(at);
        ask(state);
        WhyCommand why;
        why.subject = subject;
        why.at = state.at;
        ask(why);
      }
    }
    return all;
  };
  const auto without = answers();
  EXPECT_THAT(without, HasSubstr("is served by 1 microVM"));
  const auto snapshots = scratch_.path() / "snapshots";
  for (const std::uint64_t at : {20U, 33U, 46U}) {
    for (const auto& build : {server::own_build_id(), std::string("another")}) {
      fs::remove_all(snapshots);
      const auto log = storage::open_event_log_for_reading(folder_).value();
      const auto head = storage::open_memory_event_log(
          storage::memory_store_of(*log, Position(at)).value(), "test");
      const storage::SnapshotStore store(snapshots, {build, "atlasflow.localhost"});
      ASSERT_EQ(actors::take_snapshot(*head, store, {}).value(), Position(at));
      const auto lives = inspect::Lifetimes::of(*log, {snapshots, server::own_build_id}).value();
      EXPECT_EQ(lives.has_value(), build == server::own_build_id());
      EXPECT_EQ(answers(), without) << at << " by " << build;
    }
  }
}

TEST_F(RecordedLog, diff_names_fields_and_events) {
  DiffCommand command;
  command.subject = k_second;
  command.from = "31";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("status: live -> stopped    (46 VMStopped"));
  EXPECT_THAT(out_.str(), HasSubstr("stopped_by: - -> user    (43 StopRequested"));
  command.from = "47";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("Nothing of a2omrvgu changed"));
}

TEST_F(RecordedLog, why_answers_for_hosts_deployments_and_microvms) {
  WhyCommand command;
  command.subject = "web.atlasflow.localhost";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("answers 503: The app was stopped by its owner, since "
                                    "StopRequested at position 43"));
  EXPECT_THAT(out_.str(), HasSubstr("18  "));
  command.subject = k_failed;
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("is failed (the Dockerfile may not start from"));
  command.subject = "a2omrvgu-v10";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("microVM a2omrvgu-v10"));
}

TEST_F(RecordedLog, timelines_are_bars_and_compared_by_step) {
  TimelineCommand command;
  command.deployment = k_first;
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("build       |="));
  std::istringstream lines(out_.str());
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
  command.compare = k_second;
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("Slower in a2omrvgu: route, by 7 ms"));
  command.compare = "dnone234";
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("there is no deployment dnone234"));
}

TEST_F(RecordedLog, replay_prints_each_step_with_what_is_owed) {
  ReplayCommand command;
  command.deployment = k_second;
  command.run_to = "CloneStarted";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("status: queued -> cloning"));
  EXPECT_THAT(out_.str(), HasSubstr("owes clone a2omrvgu-v2"));
  EXPECT_THAT(out_.str(), testing::Not(HasSubstr("BuildStarted")));
  command.run_to.clear();
  command.watch = "stopped_by";
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), testing::StartsWith("43  "));
}

TEST_F(RecordedLog, bisect_finds_the_first_event_or_state) {
  BisectCommand command;
  command.predicate = "type == 'DeploymentFailed'";
  EXPECT_EQ(json_of(command)["first"]["position"], 40);
  command.predicate = "status == 'live' and count(instances) == 1";
  command.of = k_second;
  EXPECT_EQ(json_of(command)["first"]["position"], 31);
  command.predicate = "replicas > 9";
  EXPECT_EQ(run_on_log(command), k_exit_failed);
  EXPECT_THAT(out_.str(), HasSubstr("It never holds"));
  command.predicate = "status =";
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("column 8"));
}

TEST_F(RecordedLog, whatif_folds_without_an_event_or_with_another) {
  WhatIfCommand command;
  command.deployment = k_second;
  command.skip = 43;
  EXPECT_EQ(run_on_log(command), k_exit_ok);
  EXPECT_THAT(out_.str(), HasSubstr("stopped_by: user -> -"));
  command.skip = 0;
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  command.insert_file = "-";
  in_.str(R"({"drain_requested": {"vm_id": "a2omrvgu-v10"}})");
  EXPECT_EQ(run_on_log(command), k_exit_ok) << err_.str();
  in_.clear();
  in_.str("{\"no_such_event\": {}}");
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("is no event"));
}

TEST_F(RecordedLog, a_moment_that_is_none_is_refused_with_all_ways_to_name_one) {
  StateCommand command;
  command.subject = k_second;
  command.at = "yesterday";
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("a position (4711)"));
  command.at = "2020-01-01T00:00:00Z";
  EXPECT_EQ(run_on_log(command), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("before the first event"));
}

TEST_F(RecordedLog, looking_changes_no_byte_of_the_log) {
  const auto size = fs::file_size(folder_ / "db" / "000004.log");
  run_on_log(LogStatsCommand{});
  EXPECT_EQ(fs::file_size(folder_ / "db" / "000004.log"), size);
  EXPECT_FALSE(fs::exists(folder_ / "db" / "000006.sst"));
}

}  // namespace
}  // namespace atlasflow::cli
