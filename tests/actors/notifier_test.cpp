// Who is told of which result, through the real actors in every order that the seeds choose.
#include <stdexcept>
#include <utility>

#include <gmock/gmock.h>

#include "events/settings.hpp"
#include "sim/run/life.hpp"

namespace atlasflow::actors {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr const char* k_url = "https://example.com/hook";

void notify(pb::Settings& settings) { settings.set_notify_url(k_url); }

class Notified : public testing::TestWithParam<std::uint64_t> {
 protected:
  void SetUp() override { life = std::make_unique<sim::Life>(store, world, GetParam()); }
  // The control plane dies and is started again over the same log and world.
  void start_again() {
    life.reset();
    life = std::make_unique<sim::Life>(store, world, GetParam() + 1000);
  }
  bool until(const std::function<bool()>& done,
             std::chrono::seconds limit = std::chrono::seconds(600)) {
    return life->run_until(done, limit);
  }
  void pass(std::chrono::seconds time) {
    until([] { return false; }, time);
  }
  static Push push_of(char sha, const std::string& project, int times = 0) {
    Push made;
    made.ref = "refs/heads/main";
    made.after = std::string(40, sha);
    made.delivery_id = project + "-" + sha + "-" + std::to_string(times);
    made.repository_urls = {"file:///srv/" + project + ".git"};
    return made;
  }
  // Sends a push and waits until its deployment is in the read model.
  DeploymentId push(char sha, const std::string& project = "web", int times = 0) {
    const auto want = life->push_replies.size() + 1;
    life->send_push(push_of(sha, project, times));
    EXPECT_TRUE(until([&] {
      return life->push_replies.size() >= want &&
             life->catalog().position() >= life->push_replies.back().position;
    }));
    return life->push_replies.back().receipts.front().deployment;
  }
  [[nodiscard]] DeploymentStatus status_of(const DeploymentId& id) const {
    const auto view = life->catalog().deployment(id);
    return view ? view->state.status : DeploymentStatus::absent;
  }
  bool until_status(const DeploymentId& id, DeploymentStatus status) {
    return until([&] { return status_of(id) == status; });
  }
  // "<delivery>" of what receivers took, in order.
  [[nodiscard]] std::vector<std::string> told(const std::string& project = "web") const {
    std::vector<std::string> names;
    for (const auto& each : world.notifications) {
      if (each.project == project) names.push_back(each.delivery());
    }
    return names;
  }
  // "<delivery> sent" and "<delivery> failed" of all projects, in the log's order.
  [[nodiscard]] std::vector<std::string> recorded() const {
    std::vector<std::string> names;
    EXPECT_TRUE(life->log().read_all(Position{1}, [&](const storage::Record& record) {
      if (record.event.has_notification_sent()) {
        const auto& sent = record.event.notification_sent();
        names.push_back(sent.deployment() + "-" + sent.result() + " sent");
      } else if (record.event.has_notification_failed()) {
        const auto& failed = record.event.notification_failed();
        names.push_back(failed.deployment() + "-" + failed.result() + " failed");
        failures.push_back(failed);
      }
      return true;
    }));
    return names;
  }
  bool until_recorded(std::size_t count) {
    return until([&] { return recorded().size() >= count; });
  }
  // When the newest event of that name was recorded.
  [[nodiscard]] TimestampUs time_of(const std::string& event) const {
    TimestampUs time = 0;
    EXPECT_TRUE(life->log().read_all(Position{1}, [&](const storage::Record& record) {
      if (storage::event_name(record.event) == event) time = record.recorded_at;
      return true;
    }));
    return time;
  }
  void build_fails() {
    world.build_error = [](const SourceJob&) {
      return Error{ErrorCode::user_error, "the build failed", ""};
    };
  }

  std::shared_ptr<storage::MemoryStore> store = storage::make_memory_store();
  sim::World world;
  std::unique_ptr<sim::Life> life;
  mutable std::vector<pb::NotificationFailed> failures;  // filled by recorded()
};

INSTANTIATE_TEST_SUITE_P(Seeds, Notified, testing::Range<std::uint64_t>(1, 9));

TEST_P(Notified, each_result_is_told_once_and_in_order) {
  life->create_project("web", notify);
  const auto first = push('a');
  ASSERT_TRUE(until_status(first, DeploymentStatus::live));
  build_fails();
  const auto second = push('b');
  ASSERT_TRUE(until_status(second, DeploymentStatus::failed));
  world.build_error = nullptr;
  world.on_clone = [](const SourceJob&, pb::Cloned& cloned) {
    cloned.set_skip_reason("none of the watched paths changed");
  };
  const auto third = push('c');
  ASSERT_TRUE(until_status(third, DeploymentStatus::skipped));
  ASSERT_TRUE(until_recorded(3));
  const auto want = std::vector<std::string>{first.str() + "-live", second.str() + "-failed",
                                             third.str() + "-skipped"};
  EXPECT_EQ(told(), want);
  EXPECT_THAT(recorded(), ElementsAre(want[0] + " sent", want[1] + " sent", want[2] + " sent"));
  EXPECT_EQ(world.notifications[1].reason, "the build failed");
  EXPECT_EQ(world.notifications[1].step, "build");
  EXPECT_EQ(world.notifications[1].url, k_url);
  start_again();
  pass(std::chrono::seconds(60));
  EXPECT_EQ(told(), want) << "a restart tells nothing again";
}

TEST_P(Notified, of_pushes_in_a_row_each_one_that_did_not_run_says_so) {
  life->create_project("web", notify);
  std::vector<DeploymentId> ids;
  for (const char sha : {'a', 'b', 'c'}) ids.push_back(push(sha));
  ASSERT_TRUE(until([&] {
    return status_of(ids.back()) == DeploymentStatus::live &&
           std::all_of(ids.begin(), ids.end(), [&](const auto& id) {
             return status_of(id) == DeploymentStatus::live || is_terminal(status_of(id));
           });
  }));
  ASSERT_TRUE(until_recorded(3));
  pass(std::chrono::seconds(10));
  std::multiset<std::string> want;
  for (const auto& id : ids) {
    const bool ran = status_of(id) != DeploymentStatus::superseded;
    want.insert(id.str() + (ran ? "-live" : "-superseded"));
  }
  const auto names = told();
  EXPECT_EQ(std::multiset<std::string>(names.begin(), names.end()), want);
}

TEST_P(Notified, a_cancelled_deployment_names_who_did_it) {
  life->create_project("web", notify);
  const auto id = push('a');
  life->command(id, Cancel{Principal::user()});
  ASSERT_TRUE(until_recorded(1));
  // The command may have come after it was live, which is refused.
  if (status_of(id) != DeploymentStatus::cancelled) return;
  EXPECT_THAT(told(), ElementsAre(id.str() + "-cancelled"));
  EXPECT_EQ(world.notifications[0].reason, "cancelled by user");
}

TEST_P(Notified, a_crashed_app_is_told_after_it_was_live) {
  life->create_project("web", [](pb::Settings& settings) {
    notify(settings);
    settings.set_auto_rollback_us(0);
  });
  const auto id = push('a');
  ASSERT_TRUE(until_status(id, DeploymentStatus::live));
  ASSERT_TRUE(until([&] {
    for (auto& [vm_id, vm] : world.vms) vm.running = false;
    return status_of(id) == DeploymentStatus::crashed;
  }));
  ASSERT_TRUE(until_recorded(2));
  EXPECT_THAT(told(), ElementsAre(id.str() + "-live", id.str() + "-crashed"));
}

TEST_P(Notified, an_automatic_rollback_says_so) {
  life->create_project("web", notify);
  ASSERT_TRUE(until_status(push('a'), DeploymentStatus::live));
  ASSERT_TRUE(until_status(push('b'), DeploymentStatus::live));
  ASSERT_TRUE(until([&] { return world.running_vms() == 1; }));
  for (auto& [vm_id, vm] : world.vms) vm.running = false;
  ASSERT_TRUE(until_recorded(3));
  EXPECT_EQ(world.notifications.back().result, DeploymentResult::live);
  EXPECT_THAT(world.notifications.back().requested_by, HasSubstr("automatic rollback"));
}

TEST_P(Notified, a_project_without_a_url_tells_nobody_and_a_later_url_is_told_no_old_results) {
  life->create_project("web");
  ASSERT_TRUE(until_status(push('a'), DeploymentStatus::live));
  pass(std::chrono::seconds(10));
  ChangeSettings change{default_settings()};
  change.settings.set_notify_url(k_url);
  life->command_project("web", change);
  pass(std::chrono::seconds(10));
  start_again();
  pass(std::chrono::seconds(10));
  EXPECT_THAT(told(), IsEmpty());
  EXPECT_THAT(recorded(), IsEmpty());
  const auto second = push('b');
  ASSERT_TRUE(until_recorded(1));
  EXPECT_THAT(told(), ElementsAre(second.str() + "-live"));
}

TEST_P(Notified, through_failures_everything_arrives_in_order) {
  int calls = 0;
  world.on_notify = [&](const Notification&) -> Result<std::int32_t> {
    ++calls;
    if (calls % 3 == 1) return 503;
    if (calls % 3 == 2) return fail(ErrorCode::unavailable, "nobody answers");
    return 204;
  };
  life->create_project("web", notify);
  build_fails();
  std::vector<std::string> want;
  for (const char sha : {'a', 'b', 'c', 'd'}) {
    const auto id = push(sha);
    ASSERT_TRUE(until_status(id, DeploymentStatus::failed));
    want.push_back(id.str() + "-failed");
  }
  ASSERT_TRUE(until_recorded(4));
  EXPECT_EQ(told(), want);
  EXPECT_EQ(calls, 12) << "two attempts more for each";
}

TEST_P(Notified, a_receiver_that_is_down_is_given_up_after_eight_attempts_and_the_next_is_told) {
  int refusals = 0;
  const auto start = world.notifications.size();
  world.on_notify = [&](const Notification& each) -> Result<std::int32_t> {
    if (each.result == DeploymentResult::live) return 200;
    ++refusals;
    return 500;
  };
  life->create_project("web", notify);
  build_fails();
  const auto failed = push('a');
  ASSERT_TRUE(until_status(failed, DeploymentStatus::failed));
  world.build_error = nullptr;
  const auto live = push('b');
  pass(std::chrono::seconds(60));
  EXPECT_EQ(world.notifications.size(), start) << "it waits for its turn";
  // 1 + 2 + 4 + 8 + 16 + 32 + 64 s between eight attempts.
  ASSERT_TRUE(until([&] { return recorded().size() == 2; }, std::chrono::seconds(120)));
  EXPECT_EQ(refusals, 8);
  EXPECT_THAT(recorded(), ElementsAre(failed.str() + "-failed failed", live.str() + "-live sent"));
  EXPECT_EQ(failures.back().attempts(), 8);
  EXPECT_THAT(failures.back().reason(), HasSubstr("status 500"));
}

TEST_P(Notified, a_receiver_that_is_down_delays_nobody_elses_deployments_or_notifications) {
  world.on_notify = [](const Notification& each) -> Result<std::int32_t> {
    if (each.project == "other") return 200;
    return fail(ErrorCode::timed_out, "no answer within 10 s");
  };
  for (const auto* name : {"a1", "a2", "a3", "a4", "a5"}) {
    life->create_project(name, notify);
    ASSERT_TRUE(until_status(push('a', name), DeploymentStatus::live));
  }
  life->create_project("other", notify);
  const auto id = push('b', "other");
  ASSERT_TRUE(
      until([&] { return status_of(id) == DeploymentStatus::live && told("other").size() == 1; },
            std::chrono::seconds(30)));
  EXPECT_THAT(told("a1"), IsEmpty());
}

TEST_P(Notified, a_new_url_does_not_wait_for_the_one_before_which_is_told_its_own_results) {
  world.on_notify = [](const Notification& each) -> Result<std::int32_t> {
    return each.url == k_url ? 500 : 200;
  };
  life->create_project("web", notify);
  const auto first = push('a');
  ASSERT_TRUE(until_status(first, DeploymentStatus::live));
  ChangeSettings change{default_settings()};
  change.settings.set_notify_url("https://example.com/other");
  life->command_project("web", change);
  pass(std::chrono::seconds(1));
  const auto second = push('b');
  ASSERT_TRUE(until([&] { return told().size() == 1; }, std::chrono::seconds(30)));
  ASSERT_TRUE(until_recorded(2));
  EXPECT_THAT(recorded(), ElementsAre(second.str() + "-live sent", first.str() + "-live failed"));
}

TEST_P(Notified, a_refusal_that_will_not_change_ends_it_at_once) {
  int calls = 0;
  world.on_notify = [&](const Notification&) -> Result<std::int32_t> {
    ++calls;
    return 410;
  };
  life->create_project("web", notify);
  const auto id = push('a');
  ASSERT_TRUE(until_recorded(1));
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(recorded(), ElementsAre(id.str() + "-live failed"));
  EXPECT_THAT(failures.back().reason(), HasSubstr("status 410"));
}

TEST_P(Notified, deleting_the_project_ends_its_retries) {
  int calls = 0;
  world.on_notify = [&](const Notification&) -> Result<std::int32_t> {
    ++calls;
    return 500;
  };
  life->create_project("web", notify);
  const auto id = push('a');
  ASSERT_TRUE(until_status(id, DeploymentStatus::live));
  ASSERT_TRUE(until([&] { return calls == 2; }));
  life->delete_project("web");
  ASSERT_TRUE(until([&] { return is_terminal(status_of(id)); }));
  const auto before = calls;
  EXPECT_LE(before, 3);
  pass(std::chrono::seconds(400));
  start_again();
  pass(std::chrono::seconds(400));
  EXPECT_EQ(calls, before);
  EXPECT_THAT(recorded(), IsEmpty());
}

TEST_P(Notified, the_secret_of_the_moment_of_sending_signs_it) {
  world.on_notify = [](const Notification& each) -> Result<std::int32_t> {
    return each.secret_ref.empty() ? 500 : 200;
  };
  life->create_project("web", notify);
  ASSERT_TRUE(until_status(push('a'), DeploymentStatus::live));
  EXPECT_THAT(told(), IsEmpty());
  life->command_project("web", SetNotifySecret{"sealed"});
  ASSERT_TRUE(until_recorded(1));
  ASSERT_THAT(world.notifications, SizeIs(1));
  EXPECT_EQ(world.notifications[0].secret_ref, "sealed");
}

TEST_P(Notified, behind_a_receiver_that_is_down_for_hours_old_results_get_one_attempt_each) {
  constexpr int k_pushes = 40;
  world.on_notify = [](const Notification&) -> Result<std::int32_t> { return 500; };
  life->create_project("web", notify);
  build_fails();
  for (int i = 0; i < k_pushes; ++i) {
    const char sha = i < 10 ? static_cast<char>('0' + i) : static_cast<char>('a' + i % 6);
    ASSERT_TRUE(until_status(push(sha, "web", i), DeploymentStatus::failed));
  }
  pass(std::chrono::hours(2));
  EXPECT_THAT(recorded(), SizeIs(k_pushes));
  EXPECT_EQ(failures.front().attempts(), 8);
  EXPECT_EQ(failures.back().attempts(), 1);
}

// While a post does not return, everybody else goes on.
TEST_P(Notified, a_sender_that_hangs_is_replaced_and_its_late_answer_is_no_second_one) {
  int calls = 0;
  world.on_notify = [&](const Notification&) -> Result<std::int32_t> {
    if (++calls == 1) until([&] { return calls == 2; }, std::chrono::hours(1));
    return 200;
  };
  life->create_project("web", notify);
  const auto id = push('a');
  ASSERT_TRUE(until_recorded(1));
  EXPECT_THAT(recorded(), ElementsAre(id.str() + "-live sent"));
  pass(std::chrono::seconds(400));
  EXPECT_EQ(calls, 2);
  EXPECT_THAT(recorded(), SizeIs(1));
  // A minute until it is given up, and the pause after a first failure.
  EXPECT_EQ((time_of("NotificationSent") - time_of("Routed")) / k_second_us, 61);
  EXPECT_THAT(life->fatal, IsEmpty());
}

TEST_P(Notified, senders_that_all_hang_hold_up_another_receiver_for_a_minute) {
  int hanging = 0;
  bool pushed = false;
  const auto other_is_told = [&] { return told("other").size() == 1; };
  world.on_notify = [&](const Notification& each) -> Result<std::int32_t> {
    if (each.project == "other") return 200;
    if (++hanging == 4 && !std::exchange(pushed, true)) {
      push('b', "other");
      pass(std::chrono::seconds(30));
      EXPECT_FALSE(other_is_told()) << "every sender is taken";
    }
    EXPECT_TRUE(until(other_is_told, std::chrono::seconds(120)));
    return fail(ErrorCode::timed_out, "it hung");
  };
  life->create_project("other", notify);
  for (const auto* name : {"a1", "a2", "a3", "a4"}) life->create_project(name, notify);
  for (const auto* name : {"a1", "a2", "a3", "a4"}) life->send_push(push_of('a', name));
  ASSERT_TRUE(until(other_is_told));
  EXPECT_TRUE(pushed);
  EXPECT_THAT(life->fatal, IsEmpty());
}

TEST_P(Notified, a_sender_that_dies_is_replaced_and_its_attempt_is_made_again) {
  int calls = 0;
  world.on_notify = [&](const Notification&) -> Result<std::int32_t> {
    if (++calls <= 3) throw std::runtime_error("a bug");
    return 200;
  };
  life->create_project("web", notify);
  const auto id = push('a');
  ASSERT_TRUE(until_recorded(1));
  EXPECT_THAT(told(), ElementsAre(id.str() + "-live"));
  EXPECT_EQ(calls, 4);
}

// The control plane is killed after every number of messages: each result arrives at least once,
// and stands in the log exactly once.
TEST(NotifiedThroughKills, at_least_once_at_the_receiver_and_exactly_once_in_the_log) {
  constexpr int k_steps_max = 2000;
  int after_the_record = 0;  // kills that came after the first life had recorded everything
  for (int steps = 0; after_the_record < 10; ++steps) {
    ASSERT_LT(steps, k_steps_max);
    const auto store = storage::make_memory_store();
    sim::World world;
    world.build_error = [](const SourceJob& job) -> std::optional<Error> {
      if (job.sha.front() == 'a') return std::nullopt;
      return Error{ErrorCode::user_error, "the build failed", ""};
    };
    auto life = std::make_unique<sim::Life>(store, world, static_cast<std::uint64_t>(steps) + 1);
    std::map<std::string, int> recorded;
    const auto read = [&] {
      recorded.clear();
      EXPECT_TRUE(life->log().read_all(Position{1}, [&](const storage::Record& record) {
        if (record.event.has_notification_sent()) {
          const auto& sent = record.event.notification_sent();
          ++recorded[sent.deployment() + "-" + sent.result()];
        }
        EXPECT_FALSE(record.event.has_notification_failed());
        return true;
      }));
      return recorded.size();
    };
    life->create_project("web", notify);
    life->send_push("guid-1", 'a');
    life->run_steps(steps);
    life->kill();
    if (read() == 1) ++after_the_record;
    life = std::make_unique<sim::Life>(store, world, static_cast<std::uint64_t>(steps) + 2);
    // The sender delivers again what was not answered.
    life->send_push("guid-1", 'a');
    life->send_push("guid-2", 'b');
    ASSERT_TRUE(life->run_until([&] { return read() == 2; })) << "after " << steps << " messages";
    life->run_until([] { return false; }, std::chrono::seconds(20));
    ASSERT_EQ(read(), 2U);
    std::map<std::string, int> arrived;
    for (const auto& each : world.notifications) ++arrived[each.delivery()];
    for (const auto& [delivery, count] : recorded) {
      EXPECT_EQ(count, 1) << delivery << " after " << steps << " messages";
      EXPECT_GE(arrived[delivery], 1) << delivery << " after " << steps << " messages";
      EXPECT_LE(arrived[delivery], 2) << delivery << " after " << steps << " messages";
    }
    EXPECT_EQ(arrived.size(), 2U);
    EXPECT_THAT(life->fatal, IsEmpty());
  }
}

TEST(PostVerdicts, only_what_can_never_be_taken_is_final) {
  for (const int status : {200, 201, 202, 204, 299}) {
    EXPECT_EQ(verdict_on(status), PostVerdict::taken) << status;
  }
  for (const int status : {400, 401, 403, 404, 405, 410, 413}) {
    EXPECT_EQ(verdict_on(status), PostVerdict::refused) << status;
  }
  for (const int status : {0, 301, 307, 408, 409, 422, 425, 429, 500, 502, 503, 504}) {
    EXPECT_EQ(verdict_on(status), PostVerdict::again) << status;
  }
}

TEST(PostPauses, double_from_one_second_to_five_minutes) {
  std::vector<std::int64_t> pauses;
  for (const int attempts : {1, 2, 3, 7, 8, 9, 10, 11, 1000}) {
    pauses.push_back(pause_after(attempts).count());
  }
  EXPECT_THAT(pauses, ElementsAre(1, 2, 4, 64, 128, 256, 300, 300, 300));
}

}  // namespace
}  // namespace atlasflow::actors
