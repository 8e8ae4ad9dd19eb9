// `log shadow` on the log that a real server wrote, and what an earlier build made of it.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <nlohmann/json.hpp>

#include "actors/runtime/start_folds.hpp"
#include "cli/verbs_inspect.hpp"
#include "storage/log/rocksdb_event_log.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::cli {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class LogShadow : public testing::Test {
 protected:
  LogShadow() {
    fs::copy(RECORDED_LOG, state_.path() / "events", fs::copy_options::recursive);
    log_ = *storage::open_event_log_for_reading(state_.path() / "events");
  }
  [[nodiscard]] storage::SnapshotStore earlier() const {
    return {state_.path() / "snapshots", {"earlier", "atlasflow.localhost"}};
  }
  void write_down() const { ASSERT_TRUE(actors::take_snapshot(*log_, earlier(), {})); }
  // As if the earlier build had counted one failure more.
  void change_what_is_written_down() const {
    auto recorded = earlier().digests().read(log_->last_position(), *log_);
    ASSERT_TRUE(recorded);
    ++recorded->digests.at("catalog.recent[].state.restarts integer").entries;
    ASSERT_TRUE(earlier().digests().write(*recorded));
  }
  int run_it(LogShadowCommand command = {}) {
    if (command.log.empty()) command.log = state_.path().string();
    out_.str("");
    err_.str("");
    return run(command, Connection{}, Terminal{in_, out_, err_});
  }

  storage::TemporaryDirectory state_;
  std::unique_ptr<storage::EventLog> log_;
  std::istringstream in_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(LogShadow, says_that_all_is_equal) {
  write_down();
  EXPECT_EQ(run_it(), k_exit_ok) << err_.str();
  EXPECT_THAT(out_.str(), testing::StartsWith("1 position compared, all equal: 47 to 47 of 47, "));
  EXPECT_EQ(run_it({"", "", true}), k_exit_ok);
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["equal"], true);
  EXPECT_EQ(json["positions"], nlohmann::json({47}));
  EXPECT_EQ(json["earlier_builds"], nlohmann::json({"earlier"}));
  EXPECT_GT(json["fields"], 500);
  EXPECT_EQ(json["difference"], nullptr);
}

TEST_F(LogShadow, of_a_difference_ends_with_1_and_names_it) {
  write_down();
  change_what_is_written_down();
  EXPECT_EQ(run_it(), k_exit_failed);
  EXPECT_THAT(out_.str(), HasSubstr("not all equal"));
  EXPECT_THAT(out_.str(), HasSubstr("build earlier did: at position 47 "
                                    "catalog.recent[].state.restarts differs"));
  EXPECT_EQ(run_it({"", "", true}), k_exit_failed);
  const auto json = nlohmann::json::parse(out_.str());
  EXPECT_EQ(json["equal"], false);
  EXPECT_EQ(json["difference"]["position"], 47);
  EXPECT_EQ(json["difference"]["fields"][0], "catalog.recent[].state.restarts integer");
}

TEST_F(LogShadow, with_nothing_to_compare_with_is_wrong_input) {
  EXPECT_EQ(run_it(), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("--snapshots"));
  fs::create_directory(state_.path() / "snapshots");
  std::ofstream(state_.path() / "snapshots" / "00000000000000000047.digests") << "nonsense";
  EXPECT_EQ(run_it(), k_exit_usage);
  EXPECT_THAT(err_.str(), HasSubstr("damaged"));
  EXPECT_EQ(run_it({"/nowhere", "", false}), k_exit_usage) << err_.str();
}

// A backup has no snapshots: what the running server has is named.
TEST_F(LogShadow, takes_what_was_written_down_elsewhere) {
  write_down();
  const storage::TemporaryDirectory copy;
  fs::copy(state_.path() / "events", copy.path() / "events", fs::copy_options::recursive);
  EXPECT_EQ(run_it({copy.path().string(), (state_.path() / "snapshots").string(), false}),
            k_exit_ok)
      << err_.str();
  // The folder of the log itself may be named as well.
  EXPECT_EQ(run_it({(state_.path() / "events").string(), "", false}), k_exit_ok) << err_.str();
}

TEST_F(LogShadow, changes_nothing) {
  write_down();
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(state_.path() / "snapshots")) {
      names.push_back(entry.path().filename().string() + " " + std::to_string(entry.file_size()));
    }
    std::ranges::sort(names);
    return names;
  };
  change_what_is_written_down();
  const auto before = files();
  EXPECT_EQ(run_it(), k_exit_failed);
  EXPECT_EQ(files(), before);
}

}  // namespace
}  // namespace atlasflow::cli
