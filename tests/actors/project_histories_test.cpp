// The history of a project holds what goes on and what can be gone back to, however many of its
// deployments have ended; what it is told of twice is the same as once.
#include "actors/projects/project_histories.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/fold_codec.hpp"
#include "events/settings.hpp"

namespace atlasflow::actors {
namespace {

using testing::SizeIs;

std::string bytes_of(const ProjectHistory& history) {
  FoldWriter writer;
  writer.put(history);
  return std::move(writer).take();
}

// The records of two projects, in turns.
class Histories : public testing::Test {
 protected:
  Histories() {
    for (const char* id : {"web", "bank"}) {
      pb::Event event;
      event.mutable_project_created()->set_name(id);
      *event.mutable_project_created()->mutable_settings() = default_settings();
      record(project_stream(ProjectId(id)), event);
    }
  }

  void record(const StreamId& stream, const pb::Event& event) {
    storage::Record record;
    record.position = Position{log.size() + 1};
    record.stream = stream;
    record.stream_version = StreamVersion{++versions_[stream]};
    record.recorded_at = static_cast<TimestampUs>(log.size());
    record.event = event;
    log.push_back(std::move(record));
  }
  DeploymentId push(const std::string& project) {
    const DeploymentId id("d" + std::to_string(++deployments_));
    pb::Event event;
    auto& push = *event.mutable_push_received();
    push.set_project_id(project);
    push.set_project_name(project);
    push.set_environment("production");
    push.set_after(std::string(40, 'a'));
    push.set_trigger(pb::TRIGGER_COMMAND);
    *push.mutable_settings() = default_settings();
    record(deployment_stream(id), event);
    return id;
  }
  void fail_one(const DeploymentId& id) {
    pb::Event event;
    event.mutable_deployment_failed()->set_reason("no");
    record(deployment_stream(id), event);
  }
  void be_live_once(const DeploymentId& id) {
    pb::Event event;
    event.mutable_image_pushed()->set_reference("r/" + id.str());
    record(deployment_stream(id), event);
    event.mutable_route_change_requested()->set_generation(log.size());
    record(deployment_stream(id), event);
    event.mutable_routed();
    record(deployment_stream(id), event);
    event.mutable_deployment_retired();
    record(deployment_stream(id), event);
  }
  [[nodiscard]] ProjectHistory folded(const std::string& project) const {
    ProjectHistories all;
    for (const auto& each : log) all.apply(each);
    return std::move(all).take().at(ProjectId(project));
  }

  std::vector<storage::Record> log;

 private:
  std::map<StreamId, std::uint64_t> versions_;
  int deployments_ = 0;
};

TEST_F(Histories, hold_no_more_for_all_that_has_ended) {
  const auto first = push("web");
  fail_one(first);
  for (int i = 0; i < 300; ++i) be_live_once(push("web"));
  const auto size = bytes_of(folded("web")).size();
  for (int i = 0; i < 300; ++i) {
    fail_one(push("web"));
    be_live_once(push("web"));
  }
  const auto goes_on = push("web");
  const auto history = folded("web");
  const auto& past = history.environments.at("production").past;
  EXPECT_THAT(history.environment_by_id, SizeIs(past.size() + 1)) << "with what goes on";
  EXPECT_EQ(history.find(first), nullptr);
  EXPECT_NE(history.find(past.front().id), nullptr);
  EXPECT_NE(history.find(goes_on), nullptr);
  EXPECT_LT(bytes_of(history).size(), size + 5'000);
}

// By the answer to its append and by what everybody is told, or by the log before that.
TEST_F(Histories, of_what_is_told_twice_are_the_same) {
  const auto ended = push("web");
  fail_one(ended);
  be_live_once(push("web"));
  push("web");
  auto history = folded("web");
  const auto before = bytes_of(history);
  for (const auto& each : log) {
    if (!project_of(each.stream).empty()) continue;
    EXPECT_FALSE(apply(history, each)) << each.position.value();
  }
  EXPECT_EQ(bytes_of(history), before);
}

TEST_F(Histories, of_one_project_are_made_of_its_own_records) {
  for (int i = 0; i < 5; ++i) {
    const auto ended = push("web");
    be_live_once(push("bank"));
    pb::Event violated;
    violated.mutable_invariant_violated()->set_stream(deployment_stream(ended).str());
    record(node_stream(), violated);
    fail_one(ended);
    push(i % 2 == 0 ? "web" : "bank");
  }
  const auto is_wanted = records_of(ProjectId("web"));
  ProjectHistories own;
  std::size_t passed_over = 0;
  for (const auto& each : log) {
    if (is_wanted(each)) {
      own.apply(each);
    } else {
      ++passed_over;
    }
  }
  EXPECT_GT(passed_over, 20U);
  auto histories = std::move(own).take();
  ASSERT_THAT(histories, SizeIs(1));
  EXPECT_EQ(bytes_of(histories.at(ProjectId("web"))), bytes_of(folded("web")));
}

}  // namespace
}  // namespace atlasflow::actors
