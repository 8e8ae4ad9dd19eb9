// The log as the actors read it: page by page, on a thread that is nobody else's, and once at a
// start.
#include "actors/runtime/log_reader.hpp"

#include <mutex>
#include <thread>

#include <caf/scheduler/test_coordinator.hpp>
#include <gmock/gmock.h>

#include "sim/run/life.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/memory_event_log.hpp"

namespace atlasflow::actors {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// Notes each reading: where it began, and by which thread.
class WatchedLog final : public storage::ForwardingEventLog {
 public:
  explicit WatchedLog(std::shared_ptr<storage::MemoryStore> store = storage::make_memory_store())
      : ForwardingEventLog(storage::open_memory_event_log(std::move(store), "test")) {}
  bool throws = false;
  std::optional<Error> fault;
  mutable std::vector<Position> readings;  // of the whole log
  mutable std::size_t records = 0;         // that any reading was given

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    readings.push_back(first);
    if (throws) throw std::ios_base::failure("basic_filebuf::underflow");
    if (fault) return tl::unexpected(*fault);
    return log().read_all(first, counted(visit));
  }
  Result<void> read_stream(
      const StreamId& stream, StreamVersion first,
      const std::function<bool(const storage::Record&)>& visit) const override {
    return log().read_stream(stream, first, counted(visit));
  }

 private:
  std::function<bool(const storage::Record&)> counted(
      const std::function<bool(const storage::Record&)>& visit) const {
    return [this, &visit](const storage::Record& record) {
      ++records;
      return visit(record);
    };
  }
};

class LogReader : public testing::Test {
 protected:
  LogReader() {
    EXPECT_TRUE(log.begin_epoch());
    config.set("scheduler.policy", caf::atom("testing"));
    system = std::make_unique<caf::actor_system>(config);
    scheduler = dynamic_cast<caf::scheduler::test_coordinator*>(&system->scheduler());
    reader = system->spawn(log_reader, static_cast<const storage::EventLog*>(&log));
  }
  ~LogReader() override {
    stop();
    run();
  }
  void stop() {
    if (reader) caf::anon_send_exit(reader, caf::exit_reason::user_shutdown);
    reader = nullptr;
  }
  void run() {
    while (scheduler->try_run_once()) {
    }
  }
  // One record each, so many of them.
  void fill(const std::string& stream, std::uint64_t count) {
    for (std::uint64_t version = 0; version < count; ++version) {
      storage::AppendRequest request;
      request.stream = StreamId{stream};
      request.expected_version = StreamVersion{version};
      request.events.emplace_back().mutable_node_started()->set_epoch(version);
      ASSERT_TRUE(log.append({request}, 1));
    }
  }
  // By an actor that reads the part to its end; the reason why it ended when it did not.
  template <typename Read>
  std::optional<Error> ask(Read read) {
    std::optional<Error> died;
    const auto asker = system->spawn(
        [read](caf::event_based_actor* self, const log_reader_actor& from) {
          end_of_exceptions(self);
          read(self, from);
          return caf::behavior{[](int) {}};
        },
        reader);
    caf::actor_cast<caf::abstract_actor*>(asker)->attach_functor(
        [&died](const caf::error& reason) { died = from_caf(reason); });
    run();
    const auto result = died;
    caf::anon_send_exit(asker, caf::exit_reason::user_shutdown);
    run();
    return result;
  }
  std::optional<Error> read_streams_part(ReadStream part) {
    return ask([=, this](caf::event_based_actor* self, const log_reader_actor& from) {
      read_stream(
          self, from, part,
          [this](const storage::Record& record) { taken.push_back(record.position); },
          [this] { ++done; });
    });
  }
  std::optional<Error> read_logs_part(ReadLog part) {
    return ask([=, this](caf::event_based_actor* self, const log_reader_actor& from) {
      read_log(
          self, from, part,
          [this](const storage::Record& record) { taken.push_back(record.position); },
          [this](Position next) {
            ++done;
            end = next;
          });
    });
  }

  WatchedLog log;
  caf::actor_system_config config;
  std::unique_ptr<caf::actor_system> system;
  caf::scheduler::test_coordinator* scheduler = nullptr;
  log_reader_actor reader;
  std::vector<Position> taken;
  int done = 0;
  Position end;
};

TEST_F(LogReader, a_long_log_comes_in_pages_whole_and_in_order) {
  const std::uint64_t count = 2 * k_page_records_max + 1;
  fill("node", count);
  EXPECT_FALSE(read_logs_part({}));
  ASSERT_THAT(taken, SizeIs(count));
  for (std::uint64_t i = 0; i < count; ++i) EXPECT_EQ(taken[i], Position{i + 1});
  EXPECT_THAT(log.readings, ElementsAre(Position{1}, Position{k_page_records_max + 1},
                                        Position{2 * k_page_records_max + 1}));
  EXPECT_EQ(done, 1);
  EXPECT_EQ(end, Position{count + 1});
}

TEST_F(LogReader, a_stream_comes_in_pages_from_and_up_to_where_it_was_asked_for) {
  fill("one", 3);
  fill("node", 2 * k_page_records_max);
  const StreamVersion last{2 * k_page_records_max - 1};
  EXPECT_FALSE(read_streams_part({StreamId{"node"}, StreamVersion{2}, last}));
  ASSERT_THAT(taken, SizeIs(last.value() - 1));
  EXPECT_EQ(taken.front(), Position{5});
  EXPECT_EQ(taken.back(), Position{last.value() + 3});
  EXPECT_EQ(done, 1);
}

TEST_F(LogReader, a_page_ends_also_where_nothing_is_of_interest) {
  fill("other", k_page_looks_max + 10);
  fill("node", 2);
  EXPECT_FALSE(read_logs_part({Position{1}, [](const storage::Record& record) {
                                 return record.stream == StreamId{"node"};
                               }}));
  EXPECT_THAT(taken, ElementsAre(Position{k_page_looks_max + 11}, Position{k_page_looks_max + 12}));
  EXPECT_THAT(log.readings, SizeIs(2));
  EXPECT_EQ(done, 1);
}

TEST_F(LogReader, of_an_empty_log_or_stream_nothing_comes_and_the_end) {
  EXPECT_FALSE(read_logs_part({}));
  EXPECT_FALSE(read_streams_part({StreamId{"node"}}));
  EXPECT_THAT(taken, IsEmpty());
  EXPECT_EQ(done, 2);
}

// The next actor tries again; the reader reads on for the others.
TEST_F(LogReader, who_asked_for_what_cannot_be_read_dies_of_it_and_nobody_else) {
  fill("node", 1);
  log.throws = true;
  const auto thrown = read_logs_part({});
  ASSERT_TRUE(thrown);
  EXPECT_THAT(to_string(*thrown), HasSubstr("basic_filebuf::underflow"));
  log.throws = false;
  log.fault = Error{ErrorCode::corrupt, "position 1 is damaged", ""};
  const auto damaged = read_logs_part({});
  ASSERT_TRUE(damaged);
  EXPECT_THAT(to_string(*damaged), HasSubstr("position 1 is damaged"));
  log.fault.reset();
  EXPECT_FALSE(read_logs_part({}));
  EXPECT_EQ(done, 1);
}

// All parts begin anew then; a deployment that died meanwhile would be quarantined for nothing.
TEST_F(LogReader, whose_reader_is_gone_waits) {
  const auto gone = reader;
  caf::anon_send_exit(gone, caf::exit_reason::kill);
  run();
  EXPECT_FALSE(read_logs_part({}));
  EXPECT_EQ(done, 0);
}

// With every fold: read model, projects, notifications.
TEST(LogReading, a_start_reads_the_log_once) {
  const auto store = storage::make_memory_store();
  sim::World world;
  {
    sim::Life life(store, world, 1);
    life.create_project("web");
    life.send_push("guid-a", 'a');
    ASSERT_TRUE(life.run_until([&] {
      const auto active = life.catalog().active_deployments();
      return !active.empty() && active.front().state.status == DeploymentStatus::live;
    }));
  }
  auto watched = std::make_unique<WatchedLog>(store);
  const auto& log = *watched;
  sim::Fibers fibers;
  sim::Choices choices(1);
  sim::LifeConfig config;
  config.log = std::move(watched);
  config.world = &world;
  config.choices = &choices;
  config.fibers = &fibers;
  config.engines = [&world](sim::Waits&) { return std::make_unique<sim::WorldEngines>(world); };
  sim::Life life(std::move(config));
  const auto before = log.last_position();
  life.run_until([] { return false; }, std::chrono::seconds(30));
  ASSERT_TRUE(life.started());
  EXPECT_EQ(log.readings.front(), Position{1});
  for (std::size_t i = 1; i < log.readings.size(); ++i) {
    EXPECT_GT(log.readings[i], before) << "what is read again is what came since";
  }
  // The live deployment reads its own stream, and its project's.
  EXPECT_LT(log.records, 2 * log.last_position().value() + 10);
  life.delete_project("web");
  EXPECT_TRUE(life.run_until([&] { return life.catalog().active_deployments().empty(); }))
      << "the projects know what they decide about";
}

}  // namespace
}  // namespace atlasflow::actors
