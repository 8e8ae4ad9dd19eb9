// State, difference, cause and time line of a log that was written by the deployment's own rules.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "inspect/causes.hpp"
#include "inspect/state.hpp"
#include "inspect/timeline.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "tests/events/subject.hpp"

namespace atlasflow::inspect {
namespace {

using testing::HasSubstr;

constexpr const char* k_host = "web.example.test";

// A project, and a deployment that goes live, whose app then ends.
class TimeTravel : public testing::Test {
 protected:
  TimeTravel() {
    EXPECT_TRUE(log_->begin_epoch());
    pb::Event created;
    created.mutable_project_created()->set_name("web");
    pb::Event connected;
    connected.mutable_repository_connected()->set_webhook_secret_ref("sealed/hook");
    pb::Event variable;
    variable.mutable_env_set()->set_name("TOKEN");
    variable.mutable_env_set()->set_digest("digest");
    variable.mutable_env_set()->set_sealed_ref("sealed/token");
    append(project_stream(ProjectId("pabc2345")), {created, connected, variable});
    note();
    deployment_.apply(Start{});
    note();
    deployment_.clone();
    note();
    deployment_.build();
    note();
    deployment_.push();
    deployment_.place();
    deployment_.start_vm();
    deployment_.healthy();
    deployment_.routed();
    note();
    live_ = log_->last_position();
    deployment_.vm_ends();
    note();
    view_ = std::make_unique<LogView>(std::move(log_));
  }

  void append(const StreamId& stream, std::vector<pb::Event> events) {
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = log_->version_of(stream).value();
    request.events = std::move(events);
    now_ += k_second_us;
    ASSERT_TRUE(log_->append({request}, now_));
  }

  // Writes what the deployment has recorded since, a second later.
  void note() {
    std::vector<pb::Event> events(deployment_.history.begin() + static_cast<std::ptrdiff_t>(noted_),
                                  deployment_.history.end());
    noted_ = deployment_.history.size();
    append(deployment_stream(deployment_.state.id), std::move(events));
  }

  [[nodiscard]] Json state(const std::string& name, Position at) const {
    const auto subject = subject_of(*view_, name, at);
    EXPECT_TRUE(subject.has_value()) << subject.error().message;
    return state_at(*view_, *subject, at).value();
  }

  atlasflow::Subject deployment_;
  std::size_t noted_ = 0;
  TimestampUs now_ = k_now;
  std::unique_ptr<storage::EventLog> log_ = storage::open_memory_event_log("a-build");
  std::unique_ptr<LogView> view_;
  Position live_;
};

TEST_F(TimeTravel, a_state_is_that_of_its_moment) {
  EXPECT_EQ(state("dabc2345", Position(4))["status"], "queued");
  EXPECT_EQ(state("dabc2345", live_)["status"], "live");
  EXPECT_EQ(state("dabc2345", view_->end())["status"], "restarting");
  EXPECT_EQ(state("web", live_)["name"], "web");
}

TEST_F(TimeTravel, the_state_at_the_end_is_what_the_actor_had) {
  EXPECT_EQ(fields_of(state("dabc2345", view_->end())).at("version"),
            std::to_string(deployment_.state.version.value()));
  const auto steps = replay(*view_, DeploymentId("dabc2345"), view_->end()).value();
  EXPECT_EQ(steps.size(), deployment_.history.size());
  EXPECT_EQ(steps.back().state, json_of(deployment_.state));
}

TEST_F(TimeTravel, no_reference_to_a_secret_is_ever_shown) {
  std::string all = state("web", view_->end()).dump();
  EXPECT_TRUE(view_->walk(view_->end(), [&](const storage::Record& record) {
    all += json_of(record).dump();
    return true;
  }));
  EXPECT_THAT(all, HasSubstr("TOKEN"));
  EXPECT_THAT(all, testing::Not(HasSubstr("sealed/")));
}

TEST_F(TimeTravel, moments_are_positions_times_and_versions) {
  EXPECT_EQ(view_->resolve(AtEnd{}).value(), view_->end());
  EXPECT_EQ(view_->resolve(Position(2)).value(), Position(2));
  // The project's three events are of the first second.
  EXPECT_EQ(view_->resolve(k_now + k_second_us).value(), Position(3));
  EXPECT_EQ(view_->resolve(k_now + 2 * k_second_us - 1).value(), Position(3));
  EXPECT_EQ(view_->resolve(DeploymentVersion{DeploymentId("dabc2345"), StreamVersion(1)}).value(),
            Position(4));
  EXPECT_THAT(view_->resolve(Position(9999)).error().message, HasSubstr("the log goes from 1 to"));
  EXPECT_THAT(view_->resolve(k_now).error().message, HasSubstr("before the first event"));
  EXPECT_THAT(view_->resolve(DeploymentVersion{DeploymentId("dabc2345"), StreamVersion(99)})
                  .error()
                  .message,
              HasSubstr("has versions 1 to"));
  EXPECT_THAT(
      view_->resolve(DeploymentVersion{DeploymentId("dnone234"), StreamVersion(1)}).error().message,
      HasSubstr("no deployment dnone234"));
}

TEST_F(TimeTravel, a_difference_names_the_event_that_made_it) {
  const auto subject = subject_of(*view_, "dabc2345", view_->end()).value();
  const auto changes = diff(*view_, subject, live_, view_->end()).value();
  const auto status =
      std::ranges::find(changes, "status", [](const auto& each) { return each.change.path; });
  ASSERT_NE(status, changes.end());
  EXPECT_EQ(status->change.before, "live");
  EXPECT_EQ(status->change.after, "restarting");
  EXPECT_EQ(storage::event_name(status->by->event), "VMExited");
  EXPECT_TRUE(diff(*view_, subject, live_, live_).value().empty());
  const auto back = diff(*view_, subject, view_->end(), live_).value();
  ASSERT_EQ(back.size(), changes.size());
  EXPECT_EQ(back[0].change.before, changes[0].change.after);
}

TEST_F(TimeTravel, why_a_host_answers_503_leads_back_to_the_push) {
  EXPECT_THAT(why(*view_, k_host, live_).value().answer, HasSubstr("is served by 1 microVM"));
  const auto explained = why(*view_, k_host, view_->end()).value();
  EXPECT_THAT(explained.answer, HasSubstr("answers 503"));
  EXPECT_THAT(explained.answer, HasSubstr("since VMExited"));
  ASSERT_FALSE(explained.chain.empty());
  EXPECT_TRUE(explained.chain.front().record.event.has_push_received());
  EXPECT_TRUE(explained.chain.back().record.event.has_vm_exited());
  EXPECT_THAT(why(*view_, "other.example.test", view_->end()).value().answer,
              HasSubstr("no deployment claims"));
  EXPECT_THAT(why(*view_, "nothing", view_->end()).error().message,
              HasSubstr("no deployment or project 'nothing'"));
}

TEST_F(TimeTravel, a_time_line_has_each_step_with_its_duration) {
  const auto spans =
      timeline_of(view_->stream(deployment_stream(DeploymentId("dabc2345")), view_->end()).value());
  const auto clone = std::ranges::find(spans, "clone", &Span::step);
  ASSERT_NE(clone, spans.end());
  EXPECT_TRUE(clone->finished);
  EXPECT_EQ(clone->end - clone->begin, k_second_us);
  EXPECT_EQ(totals_of(spans).front().step, "wait");
}

TEST_F(TimeTravel, without_its_end_the_app_would_still_be_live) {
  Position ended;
  EXPECT_TRUE(view_->walk(view_->end(), [&](const storage::Record& record) {
    if (record.event.has_vm_exited()) ended = record.position;
    return true;
  }));
  const auto what = without_event(*view_, DeploymentId("dabc2345"), ended).value();
  EXPECT_EQ(what.before.status, DeploymentStatus::restarting);
  EXPECT_NE(what.after.status, DeploymentStatus::absent);
  EXPECT_THAT(without_event(*view_, DeploymentId("dabc2345"), Position(1)).error().message,
              HasSubstr("is no event of deployment"));
}

TEST_F(TimeTravel, routes_are_those_of_their_moment) {
  EXPECT_TRUE(routes_at(*view_, Position(3)).value().empty());
  const auto routes = routes_at(*view_, live_).value();
  ASSERT_FALSE(routes.empty());
  const auto route = std::ranges::find(routes, k_host, &Route::hostname);
  ASSERT_NE(route, routes.end());
  EXPECT_THAT(route->upstreams, testing::ElementsAre("127.0.0.1:20000"));
}

}  // namespace
}  // namespace atlasflow::inspect
