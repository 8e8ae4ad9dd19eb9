// A read model that reads what has ended from the log answers as one that has all of it in memory,
// after every event of drawn logs, and holds no more than it says.
#include <functional>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/environment.hpp"
#include "events/fold_codec.hpp"
#include "events/settings.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "storage/readmodel/retention.hpp"

namespace atlasflow::storage {
namespace {

template <typename T>
std::string bytes_of_fold(const T& value) {
  FoldWriter writer;
  writer.put(value);
  return std::move(writer).take();
}

// Its streams can be made unreadable.
class FragileLog final : public ForwardingEventLog {
 public:
  using ForwardingEventLog::ForwardingEventLog;
  bool is_damaged = false;
  mutable int streams_read = 0;

  Result<void> read_stream(const StreamId& stream, StreamVersion first,
                           const std::function<bool(const Record&)>& visit) const override {
    if (is_damaged) return fail(ErrorCode::corrupt, "a block is damaged");
    ++streams_read;
    return log().read_stream(stream, first, visit);
  }
};

// A log of deployments in two projects, in both read models.
class Finished : public testing::Test {
 protected:
  static constexpr std::size_t k_newest = 3;

  Finished() : log_(open_memory_event_log()) {
    EXPECT_TRUE(log_.begin_epoch());
    small_.read_finished_from(log_, k_newest);
    for (const char* id : {"p1", "p2"}) {
      append(project_stream(ProjectId(id)), [&](pb::Event& event) {
        event.mutable_project_created()->set_name(id);
        *event.mutable_project_created()->mutable_settings() = default_settings();
      });
    }
  }

  void append(const StreamId& stream, const std::function<void(pb::Event&)>& fill) {
    AppendRequest request;
    request.stream = stream;
    request.expected_version = log_.version_of(stream).value();
    request.actor = Principal::system("test");
    fill(request.events.emplace_back());
    const auto outcome = log_.append({request}, 1'000 * ++appends_);
    const auto& record = std::get<Appended>(outcome->front()).records.front();
    whole_.apply(record);
    small_.apply(record);
  }
  void tell(const DeploymentId& id, const std::function<void(pb::Event&)>& fill) {
    append(deployment_stream(id), fill);
  }
  DeploymentId push(const std::string& project, const std::string& environment = k_production,
                    char commit = 'a', pb::Trigger trigger = pb::TRIGGER_WEBHOOK) {
    const DeploymentId id("d" + std::to_string(++deployments_));
    tell(id, [&](pb::Event& event) {
      auto& push = *event.mutable_push_received();
      push.set_project_id(project);
      push.set_project_name(project);
      push.set_environment(environment);
      push.set_after(std::string(40, commit));
      push.set_ref("refs/heads/main");
      push.set_trigger(trigger);
      push.set_settings_version(1);
      if (pull_request_of(environment) != 0) {
        push.mutable_pull_request()->set_number(pull_request_of(environment));
        push.mutable_pull_request()->set_from_fork(true);
      }
      *push.mutable_settings() = default_settings();
    });
    return id;
  }
  void go_live(const DeploymentId& id, const std::string& image) {
    tell(id, [&](pb::Event& event) { event.mutable_built()->set_image_id("id-" + image); });
    tell(id, [&](pb::Event& event) { event.mutable_image_pushed()->set_reference("r/" + image); });
    tell(id, [&](pb::Event& event) {
      event.mutable_route_change_requested()->set_generation(log_.last_position().value());
    });
    tell(id, [](pb::Event& event) { event.mutable_routed(); });
  }
  void fail_one(const DeploymentId& id) {
    tell(id, [](pb::Event& event) { event.mutable_deployment_failed()->set_reason("no"); });
  }
  void retire(const DeploymentId& id) {
    tell(id, [](pb::Event& event) { event.mutable_deployment_retired(); });
  }

  void expect_the_same(const ProjectId& project) {
    EXPECT_EQ(small_.newest_of_production(project), whole_.newest_of_production(project));
    EXPECT_EQ(small_.serving_production(project), whole_.serving_production(project));
    EXPECT_EQ(small_.redeployed_by_default(project), whole_.redeployed_by_default(project));
    EXPECT_EQ(bytes_of_fold(small_.known_head(project)), bytes_of_fold(whole_.known_head(project)));
    EXPECT_EQ(bytes_of_fold(*small_.project(project)), bytes_of_fold(*whole_.project(project)));
    EXPECT_EQ(bytes_of_fold(small_.entries_of(project)), bytes_of_fold(whole_.entries_of(project)));
    for (const std::size_t limit : {2U, 20U, 1'000'000U}) {
      EXPECT_EQ(bytes_of_fold(small_.deployments_of(project, limit).value()),
                bytes_of_fold(whole_.deployments_of(project, limit).value()));
    }
    for (const auto& entry : whole_.entries_of(project)) {
      EXPECT_EQ(bytes_of_fold(small_.deployment(entry.id).value()),
                bytes_of_fold(whole_.deployment(entry.id).value()));
    }
    const auto newest = small_.newest_of_production(project);
    EXPECT_TRUE(!newest || small_.recent(*newest)) << "a page of projects reads no log";
    const auto live = small_.project(project)->live;
    EXPECT_TRUE(!live || small_.recent(*live));
  }
  void expect_the_same_kept(std::size_t rollbacks) {
    const auto small = retention_of(small_, rollbacks).value();
    const auto whole = retention_of(whole_, rollbacks).value();
    EXPECT_EQ(small.deployments, whole.deployments);
    EXPECT_EQ(small.unfinished, whole.unfinished);
    EXPECT_EQ(small.image_references, whole.image_references);
    EXPECT_EQ(small.image_ids, whole.image_ids);
    // Of everything that ever was, not of what is thought to be worth a look.
    Retention all;
    for (const auto& project : whole_.every_project()) {
      auto kept = retention_of(project, whole_.deployments_of(project.state.id, 1'000'000).value(),
                               rollbacks);
      all.deployments.merge(kept.deployments);
      all.image_references.merge(kept.image_references);
    }
    EXPECT_EQ(small.deployments, all.deployments);
    EXPECT_EQ(small.image_references, all.image_references);
    EXPECT_EQ(deployments_with_kept_logs(small_, rollbacks).value(),
              deployments_with_kept_logs(whole_, rollbacks).value());
    EXPECT_EQ(sealed_values_of(small_, rollbacks)->needed,
              sealed_values_of(whole_, rollbacks)->needed);
  }
  [[nodiscard]] std::size_t in_memory() const {
    std::size_t count = 0;
    for (int i = 1; i <= deployments_; ++i) {
      count += small_.recent(DeploymentId("d" + std::to_string(i))) ? 1 : 0;
    }
    return count;
  }

  FragileLog log_;
  Catalog whole_;
  Catalog small_;
  std::int64_t appends_ = 0;
  int deployments_ = 0;
};

TEST_F(Finished, deployments_cost_no_memory_and_are_answered_as_before_after_every_event) {
  std::mt19937 random(11);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  std::vector<DeploymentId> open;
  std::size_t left_memory = 0;
  for (int step = 0; step < 400; ++step) {
    const std::string environments[] = {k_production, k_production, "preview/topic", "pull/7"};
    if (open.size() < 4 || below(3) == 0) {
      open.push_back(push(below(4) == 0 ? "p2" : "p1", environments[below(4)],
                          static_cast<char>('a' + below(6)),
                          below(3) == 0 ? pb::TRIGGER_COMMAND : pb::TRIGGER_WEBHOOK));
    }
    const auto at = below(open.size());
    const auto id = open[at];
    if (below(2) == 0) {
      go_live(id, "image" + std::to_string(below(5)));
    } else {
      below(2) == 0 ? retire(id) : fail_one(id);
      open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    }
    expect_the_same(ProjectId("p1"));
    expect_the_same(ProjectId("p2"));
    if (step % 10 == 0) {
      for (const std::size_t rollbacks : {0U, 1U, 3U}) expect_the_same_kept(rollbacks);
    }
    ASSERT_LE(in_memory(), open.size() + 2 * (k_newest + 1));
    left_memory = static_cast<std::size_t>(deployments_) - in_memory();
    if (HasFailure()) FAIL() << "after step " << step;
  }
  EXPECT_GT(left_memory, 50U);  // else nothing was put to the test
}

TEST_F(Finished, an_event_behind_the_end_changes_nothing_whether_it_is_in_memory_or_not) {
  const auto first = push("p1");
  fail_one(first);
  go_live(first, "late");
  const auto of_first = bytes_of_fold(small_.deployment(first).value());
  for (int i = 0; i < 9; ++i) fail_one(push("p1"));
  ASSERT_FALSE(small_.recent(first));
  go_live(first, "later");
  EXPECT_EQ(bytes_of_fold(small_.deployment(first).value()), of_first);
  EXPECT_EQ(small_.deployment(first)->state.status, DeploymentStatus::failed);
  EXPECT_FALSE(small_.project(ProjectId("p1"))->live);
  expect_the_same(ProjectId("p1"));
}

TEST_F(Finished, one_that_the_read_model_does_not_show_yet_is_not_there) {
  Catalog behind;
  behind.read_finished_from(log_, k_newest);
  const auto end = log_.last_position();
  ASSERT_TRUE(log_.read_all(Position{1}, [&](const Record& record) {
    behind.apply(record);
    return true;
  }));
  const auto id = push("p1");
  fail_one(id);
  EXPECT_EQ(behind.position(), end);
  EXPECT_EQ(behind.deployment(id).error().code, ErrorCode::not_found);
  EXPECT_EQ(small_.deployment(DeploymentId("unknown0")).error().code, ErrorCode::not_found);
}

// The janitor asks again and again, for ever.
TEST_F(Finished, of_a_deleted_project_nothing_that_ended_is_read_to_learn_what_is_kept) {
  for (int i = 0; i < 20; ++i) {
    const auto id = push("p1");
    go_live(id, "image" + std::to_string(i));
    retire(id);
  }
  const auto running = push("p1");
  const auto reads = [&] {
    log_.streams_read = 0;
    EXPECT_THAT(retention_of(small_, 5)->unfinished, testing::ElementsAre(running));
    EXPECT_TRUE(sealed_values_of(small_, 5));
    EXPECT_TRUE(deployments_with_kept_logs(small_, 5));
    return log_.streams_read;
  };
  ASSERT_GT(reads(), 0);
  append(project_stream(ProjectId("p1")),
         [](pb::Event& event) { event.mutable_project_deleted()->set_by("user"); });
  EXPECT_EQ(reads(), 0);
}

// Nothing may be deleted for want of an answer.
TEST_F(Finished, a_log_that_cannot_be_read_is_an_error_and_no_missing_deployment) {
  const auto old = push("p1");
  go_live(old, "one");
  retire(old);
  for (int i = 0; i < 9; ++i) fail_one(push("p1"));
  ASSERT_TRUE(retention_of(small_, 5)->deployments.contains(old));
  log_.is_damaged = true;
  EXPECT_EQ(small_.deployment(old).error().code, ErrorCode::corrupt);
  EXPECT_EQ(small_.deployments_of(ProjectId("p1"), 20).error().code, ErrorCode::corrupt);
  EXPECT_EQ(small_.deployments_of(ProjectId("p1"), k_newest)->size(), k_newest);
  EXPECT_EQ(retention_of(small_, 5).error().code, ErrorCode::corrupt);
  EXPECT_EQ(sealed_values_of(small_, 5).error().code, ErrorCode::corrupt);
  EXPECT_EQ(deployments_with_kept_logs(small_, 5).error().code, ErrorCode::corrupt);
}

}  // namespace
}  // namespace atlasflow::storage
