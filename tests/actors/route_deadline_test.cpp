// A deployment whose route an edge acknowledges late or never: the real deployment actor, timers
// and log writer, in virtual time, with an edge that only takes note of what it is asked.
#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "actors/deployments/deployment_actor.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/readmodel/catalog.hpp"
#include "tests/events/subject.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::SizeIs;

struct Asked {
  std::vector<std::pair<ClaimRoute, outcome_sink>> claims;
  int drops = 0;
};

caf::behavior silent_edge(caf::event_based_actor*, Asked* asked) {
  return {[asked](const ClaimRoute& claim, const outcome_sink& sink) {
            asked->claims.emplace_back(claim, sink);
          },
          [asked](const DropClaim&) { ++asked->drops; }};
}

// In place of builders and hosts: what they are asked for beside the route does not matter here.
caf::behavior somebody() {
  return {[](const SourceTask&, const outcome_sink&) {}, [](const AbortTask&) {},
          [](const KeepVm&, const outcome_sink&) {}, [](const StopVm&, const outcome_sink&) {},
          [](const AbortVm&) {}};
}

class RouteDeadline : public testing::Test {
 protected:
  struct VirtualClock final : Clock {
    caf::scheduler::test_coordinator* scheduler = nullptr;
    TimestampUs ahead = 0;
    TimestampUs now() const override {
      const auto since = scheduler->clock().now().time_since_epoch();
      return k_now + ahead + std::chrono::duration_cast<std::chrono::microseconds>(since).count();
    }
  };

  RouteDeadline() {
    EXPECT_TRUE(log_->begin_epoch());
    config_.set("scheduler.policy", caf::atom("testing"));
    system_ = std::make_unique<caf::actor_system>(config_);
    clock_.scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system_->scheduler());
    LogWriterConfig writer;
    writer.log = log_.get();
    writer.clock = &clock_;
    writer.fatal = [](const Error& error) { ADD_FAILURE() << to_string(error); };
    wiring_.log_writer = system_->spawn(log_writer, writer);
    wiring_.timers = system_->spawn(timers, &clock_);
    wiring_.edge = caf::actor_cast<edge_actor>(system_->spawn(silent_edge, &asked_));
    const auto other = system_->spawn(somebody);
    wiring_.builders = caf::actor_cast<builder_pool_actor>(other);
    wiring_.hosts = caf::actor_cast<vm_hosts_actor>(other);
    wiring_.log_reader = system_->spawn(log_reader, log_.get());
    wiring_.log_end = LogEnd(log_.get());
    wiring_.clock = &clock_;
    wiring_.domain = "example.test";
    record_until_route();
  }
  ~RouteDeadline() override {
    for (const auto& handle :
         {caf::actor_cast<caf::actor>(wiring_.log_writer),
          caf::actor_cast<caf::actor>(wiring_.log_reader),
          caf::actor_cast<caf::actor>(wiring_.edge), caf::actor_cast<caf::actor>(wiring_.timers),
          caf::actor_cast<caf::actor>(wiring_.hosts), caf::actor_cast<caf::actor>(deployment_)}) {
      caf::anon_send_exit(handle, caf::exit_reason::user_shutdown);
    }
    wiring_ = {};
    deployment_ = nullptr;
    asked_.claims.clear();
    while (clock_.scheduler->try_run_once() || clock_.scheduler->trigger_timeout()) {
    }
  }

  // Its VM has answered; the edge is to route to it.
  void record_until_route() {
    Subject subject;
    subject.run_until_image();
    subject.run_vm();
    id_ = subject.state.id;
    vm_id_ = subject.slot(0)->vm_id();
    storage::AppendRequest request;
    request.stream = deployment_stream(id_);
    request.events = subject.history;
    EXPECT_TRUE(log_->append({request}, k_now));
  }
  void start() { deployment_ = system_->spawn(deployment, id_, wiring_, Birth::recovery); }
  void run() { clock_.scheduler->run(); }
  void pass(std::chrono::seconds time) {
    run();
    clock_.scheduler->advance_time(time);
    run();
  }
  // What has been recorded since the route was asked for first.
  [[nodiscard]] std::vector<std::string> recorded() const {
    std::vector<std::string> names;
    bool asked = false;
    EXPECT_TRUE(log_->read_stream(deployment_stream(id_), StreamVersion{1},
                                  [&](const storage::Record& record) {
                                    const std::string name(storage::event_name(record.event));
                                    if (asked) names.push_back(name);
                                    asked = asked || name == "RouteChangeRequested";
                                    return true;
                                  }));
    return names;
  }
  // Of the claims for which Routed is owed.
  [[nodiscard]] std::vector<ClaimRoute> owed() const {
    std::vector<ClaimRoute> owed;
    for (const auto& [claim, sink] : asked_.claims) {
      if (!claim.effect.empty()) owed.push_back(claim);
    }
    return owed;
  }
  void acknowledge(const ClaimRoute& claim) {
    Succeeded succeeded;
    succeeded.effect = claim.effect;
    succeeded.outcome.mutable_routed()->set_generation(claim.generation);
    caf::anon_send(asked_.claims.front().second, Deliver{std::move(succeeded)});
    run();
  }

  std::unique_ptr<storage::EventLog> log_ = storage::open_memory_event_log();
  caf::actor_system_config config_;
  std::unique_ptr<caf::actor_system> system_;
  VirtualClock clock_;
  Asked asked_;
  DeploymentWiring wiring_;
  deployment_actor deployment_;
  DeploymentId id_;
  VmId vm_id_;
};

TEST_F(RouteDeadline,
       an_edge_that_does_not_answer_is_asked_again_and_its_late_answer_changes_nothing) {
  start();
  pass(std::chrono::seconds(59));
  EXPECT_THAT(recorded(), testing::IsEmpty());
  pass(std::chrono::seconds(1));
  EXPECT_THAT(recorded(), ElementsAre("RouteFailed", "RetryScheduled"));
  pass(std::chrono::seconds(2));
  EXPECT_THAT(recorded(),
              ElementsAre("RouteFailed", "RetryScheduled", "TimerFired", "RouteChangeRequested"));
  ASSERT_THAT(owed(), SizeIs(2));
  EXPECT_NE(owed()[0].effect, owed()[1].effect);
  EXPECT_EQ(owed()[0].generation, owed()[1].generation);

  acknowledge(owed()[0]);
  EXPECT_THAT(recorded(), SizeIs(4)) << "that attempt was given up";
  acknowledge(owed()[1]);
  EXPECT_EQ(recorded().back(), "Routed");
  pass(std::chrono::seconds(600));
  EXPECT_EQ(recorded().back(), "Routed") << "no deadline is left behind";
  EXPECT_EQ(asked_.drops, 0);
}

TEST_F(RouteDeadline, an_edge_that_never_answers_ends_the_deployment_with_the_reason) {
  start();
  for (int i = 0; i < 40 && asked_.drops == 0; ++i) pass(std::chrono::seconds(10));
  EXPECT_THAT(owed(), SizeIs(5));
  EXPECT_EQ(asked_.drops, 1) << "what the edge may still publish goes from its next table";
  const auto last = recorded();
  ASSERT_GE(last.size(), 2U);
  EXPECT_EQ(last[last.size() - 2], "RouteFailed");
  EXPECT_EQ(last.back(), "DrainRequested") << "it may have taken the table all the same";

  acknowledge(owed().back());
  EXPECT_EQ(recorded().back(), "DrainRequested") << "too late";
  DeploymentState state;
  state.id = id_;
  EXPECT_TRUE(log_->read_stream(deployment_stream(id_), StreamVersion{1},
                                [&](const storage::Record& record) {
                                  evolve(state, record.event);
                                  return true;
                                }));
  EXPECT_EQ(state.status, DeploymentStatus::failing);
  EXPECT_EQ(state.failure->step, pb::STEP_ROUTE);
  EXPECT_THAT(state.failure->reason, testing::HasSubstr("the edge did not take the route in time"));
}

// A control plane that was down for longer must not give up an edge that it has not asked yet.
TEST_F(RouteDeadline, that_passed_while_no_control_plane_ran_leaves_the_edge_time_to_answer) {
  clock_.ahead = 3'600 * k_second_us;
  start();
  pass(std::chrono::seconds(12));
  ASSERT_THAT(owed(), SizeIs(1));
  acknowledge(owed()[0]);
  EXPECT_THAT(recorded(), ElementsAre("Routed"));
}

TEST_F(RouteDeadline, that_passed_while_no_control_plane_ran_still_counts) {
  clock_.ahead = 3'600 * k_second_us;
  start();
  pass(std::chrono::seconds(16));
  EXPECT_THAT(recorded(), ElementsAre("RouteFailed", "RetryScheduled"));
}

}  // namespace
}  // namespace atlasflow::actors
