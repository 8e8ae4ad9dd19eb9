// A run that goes on from a real event log on disk, cut anywhere.
#include "sim/run/history.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/run/life.hpp"
#include "sim/run/run.hpp"
#include "sim/world/fibers.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/storage/deployment_ids.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::sim {
namespace {

namespace fs = std::filesystem;
using storage::TemporaryDirectory;

// What a server has done with project "web" on host "local": two versions, a preview, three VMs, a
// rollback, and a build that it was killed in.
class RealLog : public testing::Test {
 protected:
  RealLog() {
    auto log = storage::open_event_log({folder_, "a-build", false});
    EXPECT_TRUE(log.has_value());
    LifeConfig config;
    config.log = std::move(*log);
    config.world = &world_;
    config.domain = "shop.test";
    config.choices = &choices_;
    config.fibers = &fibers_;
    config.engines = [this](Waits&) { return std::make_unique<WorldEngines>(world_); };
    Life life(std::move(config));
    life.create_project("web", [](pb::Settings& settings) {
      settings.set_previews(true);
      settings.set_release_command("bin/migrate");
    });
    push(life, "one", '1', "refs/heads/main", 1);
    push(life, "two", '2', "refs/heads/main", 1);
    push(life, "branch", '3', "refs/heads/feature", 2);
    const auto live = life.catalog().project_named("web")->live;
    EXPECT_TRUE(live.has_value());
    life.command(*live, Scale{3, Principal::user()});
    EXPECT_TRUE(life.run_until([&] { return world_.running_vms() == 4; }));
    life.reuse("web", ReuseKind::rollback, "command-1");
    EXPECT_TRUE(life.run_until([&] { return settled(life, 4, 2); }));
    life.send_push("three", '4');
    EXPECT_TRUE(life.run_until([&] { return builds_now(life); }));
    life.kill();
  }

  static bool builds_now(const Life& life) {
    const auto all = life.catalog().active_deployments();
    return std::any_of(all.begin(), all.end(), [](const auto& view) {
      return view.state.status == DeploymentStatus::building;
    });
  }
  // So many deployments there were, and of these so many serve and the others have ended.
  static bool settled(const Life& life, std::size_t deployments, std::size_t serving) {
    const auto all = life.catalog().active_deployments();
    if (deployment_ids(life.catalog(), "web").size() != deployments || all.size() != serving)
      return false;
    return std::all_of(all.begin(), all.end(), [](const auto& each) {
      return each.state.status == DeploymentStatus::live;
    });
  }
  static void push(Life& life, const std::string& delivery, char sha, const std::string& ref,
                   std::size_t serving) {
    const auto before = deployment_ids(life.catalog(), "web").size();
    life.send_push(delivery, sha, ref);
    EXPECT_TRUE(life.run_until([&] { return settled(life, before + 1, serving); }));
  }
  [[nodiscard]] std::unique_ptr<storage::EventLog> reader() const {
    auto log = storage::open_event_log_for_reading(folder_);
    EXPECT_TRUE(log.has_value());
    return log ? std::move(*log) : nullptr;
  }
  [[nodiscard]] fs::path write_ahead_log() const {
    fs::path newest;
    for (const auto& file : fs::directory_iterator(folder_ / "db")) {
      if (file.path().extension() == ".log" && file.file_size() > 0) {
        newest = std::max(newest, file.path());
      }
    }
    EXPECT_FALSE(newest.empty());
    return newest;
  }

  TemporaryDirectory directory_;
  fs::path folder_ = directory_.path() / "events";
  World world_;
  Choices choices_{1};
  Fibers fibers_;
};

Step step_of(StepKind kind, TimestampUs at, int value = 0, TimestampUs span = 0) {
  Step step;
  step.kind = kind;
  step.at = at;
  step.value = value;
  step.span = span;
  return step;
}

Scenario what_if() {
  Scenario scenario;
  scenario.name = "what_if";
  scenario.projects = 2;
  scenario.hosts = 3;
  scenario.duration = 60'000'000;
  scenario.steps = {
      step_of(StepKind::push, 5'000'000), step_of(StepKind::kill_server, 6'000'000, 0, 500'000),
      step_of(StepKind::rollback, 30'000'000), step_of(StepKind::host_reboots, 40'000'000, 2)};
  return scenario;
}

bool begins_with(const storage::MemoryStore& store, const History& history) {
  const auto beginning = storage::fork_memory_store(store, history.position);
  const auto copy = storage::open_memory_event_log(beginning, "copy");
  const auto past = storage::open_memory_event_log(
      storage::fork_memory_store(*history.store, history.position), "past");
  const auto verified = storage::verify(*copy);
  return verified && verified->last_position == history.position &&
         verified->chain == storage::verify(*past)->chain;
}

TEST_F(RealLog, is_copied_with_its_chain) {
  const auto history = history_from_log(folder_, Position{});
  ASSERT_TRUE(history.has_value()) << to_string(history.error());
  const auto log = reader();
  EXPECT_EQ(history->position, log->last_position());
  const auto copy = storage::open_memory_event_log(
      storage::fork_memory_store(*history->store, history->position), "copy");
  const auto original = storage::verify(*log);
  const auto copied = storage::verify(*copy);
  ASSERT_TRUE(original.has_value());
  ASSERT_TRUE(copied.has_value()) << to_string(copied.error());
  EXPECT_EQ(copied->last_position, original->last_position);
  EXPECT_EQ(copied->chain, original->chain);
  EXPECT_EQ(copy->begin_epoch()->value(), 2U) << "the epochs go on from the log's";
}

TEST_F(RealLog, makes_the_world_that_there_was) {
  const auto history = history_from_log(folder_, Position{});
  ASSERT_TRUE(history.has_value()) << to_string(history.error());
  World made;
  made.hosts = {{HostId{"host-0"}, {}}, {HostId{"host-1"}, {}}};
  make_world(made, *history);
  EXPECT_EQ(history->domain, "shop.test");
  ASSERT_FALSE(made.upstreams_of("web.shop.test").empty());
  ASSERT_EQ(made.hosts.size(), 1U);
  EXPECT_TRUE(made.hosts.contains(HostId{"local"}));
  EXPECT_EQ(made.agenda.now(), history->recorded_at);
  ASSERT_EQ(world_.running_vms(), 2) << "the preview's and the rollback's";
  ASSERT_EQ(made.vms.size(), world_.vms.size());
  for (const auto& [id, vm] : world_.vms) {
    ASSERT_TRUE(made.vms.contains(id)) << id;
    EXPECT_EQ(made.vms[id].running, vm.running);
    EXPECT_EQ(made.vms[id].host, vm.host);
    EXPECT_EQ(made.vms[id].project, vm.project);
    EXPECT_EQ(made.vms[id].deployment, vm.deployment);
    EXPECT_EQ(made.vms[id].image, vm.image);
  }
  for (const auto& [id, built_by] : made.images) EXPECT_TRUE(world_.images.contains(id)) << id;
  EXPECT_EQ(made.registry, world_.registry);
  EXPECT_EQ(made.checkouts, world_.checkouts);
  ASSERT_EQ(made.checkouts.size(), 1U) << "of the build that was cut off";
  std::set<std::string> hosts;
  ASSERT_FALSE(made.tables.empty());
  for (const auto& claim : world_.tables.back().second) {
    hosts.insert(claim.host);
    EXPECT_EQ(made.upstreams_of(claim.host), world_.upstreams_of(claim.host)) << claim.host;
  }
  EXPECT_EQ(made.tables.back().second.size(), hosts.size());
}

TEST_F(RealLog, can_be_gone_on_from_at_every_position) {
  const auto log = reader();
  const auto last = log->last_position();
  ASSERT_GT(last.value(), 60U);
  std::set<std::size_t> with_deployments;
  for (Position position{1}; position <= last; position = position.next()) {
    auto history = history_of(*log, position);
    ASSERT_TRUE(history.has_value()) << to_string(history.error());
    RunOptions options;
    options.history = std::make_shared<History>(*std::move(history));
    const auto report = run(what_if(), fibers_, options);
    ASSERT_FALSE(report.violation.has_value())
        << "from position " << position.value() << ": " << report.violation->sentence << "\n"
        << testing::PrintToString(report.story) << testing::PrintToString(report.events);
    EXPECT_TRUE(begins_with(*report.log, *history_of(*log, position)));
    EXPECT_GE(report.lives, 2U);
    EXPECT_GT(report.routed, 0U) << "from position " << position.value();
    with_deployments.insert(report.deployments);
    options.noise = true;
    const auto again = run(what_if(), fibers_, options);
    ASSERT_EQ(again.trace, report.trace) << "a history is changed by its runs";
    ASSERT_EQ(again.chain, report.chain);
  }
  EXPECT_GT(with_deployments.size(), 3U) << "the cuts were not at different places";
}

TEST_F(RealLog, comes_to_rest_under_whatever_a_seed_draws) {
  const auto log = reader();
  const auto last = log->last_position().value();
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    const Position position{1 + seed * 7 % last};
    RunOptions options;
    options.history = std::make_shared<History>(*history_of(*log, position));
    const auto report = run(drawn_scenario(seed), fibers_, options);
    ASSERT_FALSE(report.violation.has_value())
        << "seed " << seed << " from position " << position.value() << ": "
        << report.violation->sentence << "\n"
        << testing::PrintToString(report.story);
  }
}

TEST_F(RealLog, the_steps_are_about_its_projects) {
  RunOptions options;
  options.history = std::make_shared<History>(*history_from_log(folder_, Position{}));
  const auto report = run(what_if(), fibers_, options);
  EXPECT_THAT(report.story, testing::Contains(testing::HasSubstr("a push to web")));
  EXPECT_THAT(report.story, testing::Contains(testing::HasSubstr(" 5.000 s  a push")));
  const auto before = deployment_ids(*options.history->catalog, "web").size();
  EXPECT_EQ(report.deployments, before + 2) << "the push and the rollback";
}

TEST_F(RealLog, of_a_position_beyond_its_end_the_last_one_is_told) {
  const auto last = reader()->last_position();
  const auto history = history_from_log(folder_, last.next());
  ASSERT_FALSE(history.has_value());
  EXPECT_EQ(history.error().code, ErrorCode::invalid_argument);
  EXPECT_THAT(history.error().message,
              testing::HasSubstr("ends at position " + std::to_string(last.value())));
}

TEST_F(RealLog, that_is_damaged_anywhere_is_refused) {
  const auto file = write_ahead_log();
  const auto size = fs::file_size(file);
  for (const std::uint64_t tenth : {1U, 5U, 9U}) {
    const auto place = static_cast<std::streamoff>(size * tenth / 10);
    const auto flip = [&] {
      std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
      stream.seekg(place);
      const int byte = stream.get();
      stream.seekp(place);
      stream.put(static_cast<char>(byte ^ 0x40));
    };
    flip();
    const auto history = history_from_log(folder_, Position{});
    ASSERT_FALSE(history.has_value()) << "a flipped byte at " << place << " of " << size;
    EXPECT_EQ(history.error().code, ErrorCode::corrupt) << to_string(history.error());
    flip();
    ASSERT_TRUE(history_from_log(folder_, Position{}).has_value());
  }
}

TEST_F(RealLog, that_is_not_there_is_not_found) {
  const auto history = history_from_log(directory_.path() / "nowhere", Position{});
  ASSERT_FALSE(history.has_value());
  EXPECT_EQ(history.error().code, ErrorCode::not_found) << to_string(history.error());
}

}  // namespace
}  // namespace atlasflow::sim
