// The root supervisor over real threads: parts that throw are started again, and nobody else ends.
#include "actors/runtime/root.hpp"

#include <atomic>
#include <ios>
#include <thread>

#include <gmock/gmock.h>

#include "actors/runtime/part_status.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {
namespace {

using std::chrono::seconds;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

struct SystemClock final : Clock {
  TimestampUs now() const override {
    return std::chrono::duration_cast<std::chrono::microseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
  }
};

// Its first readings throw as a stream over /proc does whose process has ended.
class FaultyLog final : public storage::ForwardingEventLog {
 public:
  explicit FaultyLog(int faults)
      : ForwardingEventLog(storage::open_memory_event_log()), faults_left(faults) {}
  std::atomic<int> faults_left;
  std::atomic<int> readings{0};

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    auto& self = const_cast<FaultyLog&>(*this);
    ++self.readings;
    if (self.faults_left-- > 0) throw std::ios_base::failure("basic_filebuf::underflow");
    return log().read_all(first, visit);
  }
};

class Root : public testing::Test {
 protected:
  ~Root() override { stop(); }
  void start(int faults_of_log) {
    log = std::make_unique<FaultyLog>(faults_of_log);
    log_writer = system.spawn<caf::detached>(
        actors::log_writer,
        LogWriterConfig{log.get(), &clock, [this](const Error&) { ++ends; }, ""});
    log_reader =
        system.spawn<caf::detached>(actors::log_reader, static_cast<storage::EventLog*>(log.get()));
    RootConfig parts;
    parts.core = {{"log writer", caf::actor_cast<caf::actor>(log_writer)}};
    parts.reconciler = {{}, &catalog, log_writer};
    parts.janitor = {nullptr, {}, log.get(), &catalog, 5, {}, nullptr, {}};
    parts.notifier = {nullptr, &clock, log_reader, log_writer, "example.test", {}};
    parts.clock = &clock;
    parts.log_writer = log_writer;
    parts.faults = &faults;
    parts.part_died = [this](const Error&) { ++ends; };
    parts.log_died = [this](const Error&) { ++ends; };
    root_actor = system.spawn(root, std::move(parts));
  }
  void stop() {
    if (!root_actor) return;
    caf::scoped_actor self{system};
    for (const auto& actor : {root_actor, caf::actor_cast<caf::actor>(log_reader),
                              caf::actor_cast<caf::actor>(log_writer)}) {
      self->send_exit(actor, caf::exit_reason::user_shutdown);
      self->wait_for(actor);
    }
    root_actor = nullptr;
    log_writer = nullptr;
    log_reader = nullptr;
  }
  static bool wait_for(const std::function<bool()>& done) {
    for (int i = 0; i < 1500 && !done(); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    return done();
  }

  SystemClock clock;
  std::unique_ptr<FaultyLog> log;
  storage::Catalog catalog;
  PartFaults faults;
  std::atomic<int> ends{0};
  caf::actor_system_config config;
  caf::actor_system system{config};
  log_actor log_writer;
  log_reader_actor log_reader;
  caf::actor root_actor;
};

TEST_F(Root, starts_a_part_again_that_threw_and_says_so) {
  start(2);
  const auto begun = std::chrono::steady_clock::now();
  caf::anon_send(root_actor, BeginNotifying{});
  ASSERT_TRUE(wait_for([&] { return log->readings == 3; })) << "it was begun again each time";
  EXPECT_GE(std::chrono::steady_clock::now() - begun, seconds(3)) << "1 s, and then 2 s";
  EXPECT_EQ(ends, 0);
  const auto told = restarts_told({}, faults, clock.now() + 10'000'000);
  ASSERT_EQ(told.size(), 1U);
  EXPECT_EQ(told[0].name, "notifier");
  EXPECT_EQ(told[0].state, "restarted");
  EXPECT_THAT(told[0].detail, AllOf(HasSubstr("2 times"), HasSubstr("basic_filebuf::underflow")));
}

TEST_F(Root, stops_while_a_part_waits_to_be_started_again) {
  start(1000);
  caf::anon_send(root_actor, BeginNotifying{});
  ASSERT_TRUE(wait_for([&] { return !faults.list().empty(); }));
  EXPECT_THAT(restarts_told({}, faults, clock.now() - 5'000'000).front().state, "restarting");
  stop();
  EXPECT_EQ(ends, 0) << "a stop is no failure of what is stopped";
}

TEST_F(Root, what_died_is_told_for_a_day) {
  constexpr TimestampUs k_hour = 3'600'000'000;
  faults.note("janitor", "why", 0, seconds(1));
  const auto told = restarts_told({{k_hour, "the timers died"}}, faults, 2 * k_hour);
  ASSERT_EQ(told.size(), 2U);
  EXPECT_EQ(told[0].name, "server");
  EXPECT_EQ(told[0].detail, "by itself 3600 s ago: the timers died");
  EXPECT_EQ(told[1].detail, "died once since the server's start, last 7200 s ago: why");
  EXPECT_THAT(restarts_told({{k_hour, "the timers died"}}, faults, 26 * k_hour), IsEmpty());
}

// Who holds a child's handle may go in any way.
TEST_F(Root, children_end_with_an_actor_that_throws) {
  struct ParentState {
    Child<caf::actor> child;
  };
  std::atomic<bool> child_ended{false};
  const auto parent = system.spawn(
      [&](caf::stateful_actor<ParentState>* self, int) {
        end_of_exceptions(self);
        self->state.child = self->spawn([] { return caf::behavior{[](int) {}}; });
        caf::actor_cast<caf::abstract_actor*>(*self->state.child)->attach_functor([&] {
          child_ended = true;
        });
        return caf::behavior{[](int) { throw std::runtime_error("a handler throws"); }};
      },
      0);
  caf::scoped_actor self{system};
  self->monitor(parent);
  self->send(parent, 1);
  Error reason;
  self->receive([&](const caf::down_msg& down) { reason = from_caf(down.reason); });
  EXPECT_EQ(to_string(reason), "an unexpected failure (a handler throws)");
  EXPECT_TRUE(wait_for([&] { return child_ended.load(); }));
}

}  // namespace
}  // namespace atlasflow::actors
