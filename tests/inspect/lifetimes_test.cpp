// What was the case at a position is the same whether it is folded from the log's begin or found by
// a snapshot: at every position of drawn logs, with the snapshot at every tenth of them. A snapshot
// that is not to be believed is not.
#include "inspect/lifetimes.hpp"

#include <fstream>
#include <random>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/fold_codec.hpp"
#include "events/fold_shape.hpp"
#include "events/settings.hpp"
#include "inspect/causes.hpp"
#include "inspect/state.hpp"
#include "storage/log/forwarding_event_log.hpp"
#include "storage/log/log_indexes.hpp"
#include "storage/log/memory_event_log.hpp"
#include "storage/log/record.pb.h"
#include "storage/snapshots/snapshot_store.hpp"
#include "tests/storage/log_fixture.hpp"

namespace atlasflow::inspect {
namespace {

constexpr const char* k_build = "build-1";

// Counts what is read of the log in order.
class CountingLog final : public storage::ForwardingEventLog {
 public:
  using ForwardingEventLog::ForwardingEventLog;
  mutable std::uint64_t records = 0;

  Result<void> read_all(Position first,
                        const std::function<bool(const storage::Record&)>& visit) const override {
    return log().read_all(first, [&](const storage::Record& record) {
      ++records;
      return visit(record);
    });
  }
};

// A log whose last record is of another type, of which this build knows nothing.
class NewerLog final : public storage::ForwardingEventLog, public storage::LogIndexes {
 public:
  NewerLog(const std::shared_ptr<storage::MemoryStore>& store, std::uint32_t type)
      : ForwardingEventLog(storage::open_memory_event_log(store, "test")), type_(type) {}

  Result<storage::StreamHead> head_of(const StreamId& stream) const override {
    return indexes().head_of(stream);
  }
  Result<std::optional<storage::Duplicate>> find_dedupe_key(const std::string& key) const override {
    return indexes().find_dedupe_key(key);
  }
  Result<std::optional<Position>> find_version(const StreamId& stream,
                                               StreamVersion version) const override {
    return indexes().find_version(stream, version);
  }
  Result<std::string> stored_at(Position position) const override {
    return indexes().stored_at(position);
  }
  Result<void> scan_stored(
      Position first, const std::function<bool(Position, std::string_view)>& visit) const override {
    return indexes().scan_stored(first, [&](Position position, std::string_view stored) {
      return visit(position, position == last_position() ? of_another_type(stored) : stored);
    });
  }
  Result<void> scan_versions(const std::function<bool(const VersionEntry&)>& visit) const override {
    return indexes().scan_versions(visit);
  }
  Result<void> scan_heads(const std::function<bool(const HeadEntry&)>& visit) const override {
    return indexes().scan_heads(visit);
  }
  Result<void> scan_dedupe_keys(
      const std::function<bool(const DedupeEntry&)>& visit) const override {
    return indexes().scan_dedupe_keys(visit);
  }

 private:
  [[nodiscard]] const LogIndexes& indexes() const { return dynamic_cast<const LogIndexes&>(log()); }
  [[nodiscard]] std::string_view of_another_type(std::string_view stored) const {
    constexpr auto k_chain_bytes = std::tuple_size_v<storage::ChainHash>;
    pb::StoredRecord envelope;
    EXPECT_TRUE(
        envelope.ParseFromArray(stored.data(), static_cast<int>(stored.size() - k_chain_bytes)));
    envelope.set_type(type_);
    envelope.clear_payload();  // as this build would parse it
    changed_ =
        envelope.SerializeAsString() + std::string(stored.substr(stored.size() - k_chain_bytes));
    return changed_;
  }

  std::uint32_t type_;
  mutable std::string changed_;
};

// Projects that come and go under one name, and deployments in any state, drawn. Of one project
// there are more deployments, of which the first goes on for long.
std::shared_ptr<storage::MemoryStore> drawn_log(std::uint32_t seed, int steps,
                                                bool of_one_project = false) {
  auto store = storage::make_memory_store();
  const auto log = storage::open_memory_event_log(store, "test");
  EXPECT_TRUE(log->begin_epoch());
  std::mt19937 random(seed);
  const auto below = [&random](std::size_t limit) { return random() % limit; };
  TimestampUs now = 0;
  const auto append = [&](const StreamId& stream, const pb::Event& event) {
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = log->version_of(stream).value();
    request.events = {event};
    EXPECT_TRUE(log->append({request}, now += k_second_us));
  };
  int projects = 0;
  int deployments = 0;
  std::vector<DeploymentId> open;
  for (int step = 0; step < steps; ++step) {
    pb::Event event;
    const ProjectId project("p" + std::to_string(projects));
    if (projects == 0 || (!of_one_project && below(12) == 0)) {
      if (projects > 0) {
        event.mutable_project_deleted()->set_by("user");
        append(project_stream(project), event);
      }
      event.mutable_project_created()->set_name(below(3) == 0 ? "blog" : "web");
      append(project_stream(ProjectId("p" + std::to_string(++projects))), event);
    } else if (open.size() < 2 || below(5) == 0) {
      open.emplace_back("d" + std::to_string(++deployments));
      auto& push = *event.mutable_push_received();
      push.set_project_id(project.str());
      push.set_project_name("web");
      push.set_environment("production");
      push.set_after(std::string(40, 'a'));
      *push.mutable_settings() = default_settings();
      append(deployment_stream(open.back()), event);
    } else {
      const std::size_t spared = of_one_project && deployments <= 150 ? 1 : 0;
      const auto at = spared + below(open.size() - spared);
      switch (below(5)) {
        case 0:
          event.mutable_clone_started();
          break;
        case 1:
          event.mutable_route_change_requested()->set_generation(log->last_position().value());
          event.mutable_route_change_requested()->add_hostnames(
              below(2) == 0 ? "web.example.test" : "blog.example.test");
          break;
        case 2:
          event.mutable_routed();
          break;
        case 3:
          event.mutable_deployment_failed()->set_reason("no");
          break;
        default:
          event.mutable_deployment_retired();
          break;
      }
      append(deployment_stream(open[at]), event);
      const bool ended = event.has_deployment_failed() || event.has_deployment_retired();
      if (ended) open.erase(open.begin() + static_cast<std::ptrdiff_t>(at));
    }
  }
  return store;
}

// As a server of that build would, at the end of the log.
void take_snapshot(const storage::EventLog& log, const std::filesystem::path& folder,
                   const std::string& build, const std::string& part = "catalog") {
  storage::Catalog catalog;
  catalog.read_finished_from(log);
  storage::ChainHash chain{};
  ASSERT_TRUE(log.read_all(Position{1}, [&](const storage::Record& record) {
    catalog.apply(record);
    chain = record.chain;
    return true;
  }));
  FoldWriter state;
  state.put(catalog.fold());
  state.put(std::string("other folds"));
  storage::Snapshot snapshot{catalog.position(), chain, std::move(state).take(), {}, {}};
  snapshot.shape.children.push_back(shape_of<storage::CatalogFold>());
  snapshot.shape.children.back().name = part;
  ASSERT_TRUE(storage::SnapshotStore(folder, {build, "example.test"}).write(snapshot));
}

class FromSnapshots : public testing::Test {
 protected:
  [[nodiscard]] LogView view_of(const std::shared_ptr<storage::MemoryStore>& store,
                                bool with_snapshots = true) {
    auto log = std::make_unique<CountingLog>(storage::open_memory_event_log(store, "test"));
    counted_ = log.get();
    if (!with_snapshots) return LogView(std::move(log));
    return LogView(std::move(log), {folder(), [] { return std::string(k_build); }});
  }
  [[nodiscard]] std::filesystem::path folder() const { return directory_.path() / "snapshots"; }
  [[nodiscard]] static std::string answer(const LogView& view, const std::string& about,
                                          Position at) {
    const auto subject = subject_of(view, about, at);
    if (!subject) return subject.error().message;
    const auto state = state_at(view, *subject, at);
    return state ? state->dump() : state.error().message;
  }
  static void expect_the_same(const LogView& view, const LogView& whole, std::uint64_t step = 1) {
    for (Position at{1}; at <= whole.end(); at = Position(at.value() + step)) {
      for (const char* about : {"routes", "queue", "web", "blog", "nobody", "web.example.test"}) {
        ASSERT_EQ(answer(view, about, at), answer(whole, about, at))
            << about << " at " << at.value();
      }
      const auto why_now = why(view, "web.example.test", at);
      const auto why_whole = why(whole, "web.example.test", at);
      ASSERT_EQ(why_now->answer, why_whole->answer);
    }
  }

  storage::TemporaryDirectory directory_;
  const CountingLog* counted_ = nullptr;
};

TEST_F(FromSnapshots, every_state_is_that_of_a_fold_from_the_begin_whatever_their_position) {
  for (std::uint32_t seed = 1; seed <= 4; ++seed) {
    const auto store = drawn_log(seed, 150);
    const auto whole = view_of(store, false);
    for (Position at{3}; at <= whole.end(); at = Position(at.value() + 10)) {
      std::filesystem::remove_all(folder());
      const auto head = storage::open_memory_event_log(storage::fork_memory_store(*store, at), "");
      take_snapshot(*head, folder(), k_build);
      const auto view = view_of(store);
      expect_the_same(view, whole);
      if (HasFatalFailure()) FAIL() << "snapshot at " << at.value() << ", seed " << seed;
    }
  }
}

// More than what is looked through at once.
TEST_F(FromSnapshots, of_a_project_of_hundreds_of_deployments_every_state_is_the_same) {
  const auto store = drawn_log(11, 1'000, true);
  const auto whole = view_of(store, false);
  std::size_t begun = 0;
  ASSERT_TRUE(whole.walk(whole.end(), [&](const storage::Record& record) {
    begun += record.event.has_push_received() ? 1 : 0;
    return true;
  }));
  ASSERT_GE(begun, 200U);
  for (const std::uint64_t part : {4, 2, 1}) {
    std::filesystem::remove_all(folder());
    const Position at(whole.end().value() / part);
    take_snapshot(*storage::open_memory_event_log(storage::fork_memory_store(*store, at), ""),
                  folder(), k_build);
    expect_the_same(view_of(store), whole, 37);
    if (HasFatalFailure()) FAIL() << "snapshot at " << at.value();
  }
}

// As a fold of the whole log would be.
TEST_F(FromSnapshots, an_event_of_a_type_that_this_build_does_not_know_is_not_passed_over) {
  const auto store = drawn_log(10, 100);
  const Position half(storage::open_memory_event_log(store, "test")->last_position().value() / 2);
  take_snapshot(*storage::open_memory_event_log(storage::fork_memory_store(*store, half), ""),
                folder(), k_build);
  for (const std::uint32_t type : {9'999U, UINT32_MAX}) {
    const LogView view(std::make_unique<NewerLog>(store, type),
                       {folder(), [] { return std::string(k_build); }});
    const auto lives = view.lifetimes();
    ASSERT_FALSE(lives) << type;
    EXPECT_EQ(lives.error().code, ErrorCode::corrupt);
    EXPECT_THAT(lives.error().message,
                testing::HasSubstr("a newer version of Atlasflow (build test, event type " +
                                   std::to_string(type)));
  }
}

// As a log in a database is: of what is behind the snapshot only some records are decoded.
TEST_F(FromSnapshots, a_log_that_opens_its_stored_bytes_answers_the_same) {
  const auto store = drawn_log(9, 250);
  const auto whole = view_of(store, false);
  const Position at(whole.end().value() / 3);
  take_snapshot(*storage::open_memory_event_log(storage::fork_memory_store(*store, at), ""),
                folder(), k_build);
  const LogView view(storage::open_memory_event_log(store, "test"),
                     {folder(), [] { return std::string(k_build); }});
  ASSERT_NE(view.lifetimes().value(), nullptr);
  expect_the_same(view, whole);
}

TEST_F(FromSnapshots, the_log_is_not_read_from_its_begin) {
  const auto store = drawn_log(5, 400);
  auto view = view_of(store);
  const auto end = view.end();
  const Position at(end.value() - 10);
  take_snapshot(*storage::open_memory_event_log(storage::fork_memory_store(*store, at), ""),
                folder(), k_build);
  for (Position asked{1}; asked <= end; asked = Position(asked.value() + 7)) {
    static_cast<void>(answer(view, "routes", asked));
  }
  EXPECT_EQ(counted_->records, 10U) << "what is behind the snapshot, once";
}

// That it was deployed is in the deployment's stream, and in the project's is nothing of it.
TEST_F(FromSnapshots, a_forks_commit_waits_until_its_pull_request_is_deployed) {
  const auto store = drawn_log(8, 60);
  const auto log = storage::open_memory_event_log(store, "test");
  ASSERT_TRUE(log->begin_epoch());
  const auto append = [&](const StreamId& stream, const pb::Event& event) {
    storage::AppendRequest request;
    request.stream = stream;
    request.expected_version = log->version_of(stream).value();
    request.events = {event};
    EXPECT_TRUE(log->append({request}, 1'000 * k_second_us));
    return log->last_position();
  };
  pb::Event created;
  created.mutable_project_created()->set_name("docs");
  append(project_stream(ProjectId("pdocs")), created);
  const auto hold = [&](std::int64_t number, char head, std::int64_t updated_at_s) {
    pb::Event event;
    auto& held = *event.mutable_pull_request_held();
    held.set_head(std::string(40, head));
    held.mutable_pull_request()->set_number(number);
    held.mutable_pull_request()->set_updated_at_s(updated_at_s);
    return append(project_stream(ProjectId("pdocs")), event);
  };
  const auto deploy = [&](const char* project, std::int64_t number, std::int64_t updated_at_s) {
    pb::Event event;
    auto& push = *event.mutable_push_received();
    push.set_project_id(project);
    push.set_environment("pull/" + std::to_string(number));
    push.mutable_pull_request()->set_number(number);
    push.mutable_pull_request()->set_updated_at_s(updated_at_s);
    return append(
        deployment_stream(DeploymentId("e" + std::to_string(log->last_position().value()))), event);
  };
  hold(7, 'a', 100);
  const auto two_wait = hold(8, 'b', 100);
  deploy("pother", 7, 100);
  const auto of_another = log->last_position();
  const auto deployed = deploy("pdocs", 7, 100);
  const auto moved_on = hold(7, 'c', 200);
  const auto late = deploy("pdocs", 7, 150);
  take_snapshot(*storage::open_memory_event_log(storage::fork_memory_store(*store, of_another), ""),
                folder(), k_build);
  const Json both = {{"7", std::string(40, 'a')}, {"8", std::string(40, 'b')}};
  const Json newer = {{"7", std::string(40, 'c')}, {"8", std::string(40, 'b')}};
  for (const bool with_snapshots : {false, true}) {
    const auto view = view_of(store, with_snapshots);
    const auto held_at = [&](Position at) {
      const auto subject = subject_of(view, "docs", at).value();
      return Json(state_at(view, subject, at)->at("held"));
    };
    EXPECT_EQ(held_at(two_wait), both);
    EXPECT_EQ(held_at(of_another), both);
    EXPECT_EQ(held_at(deployed), Json({{"8", std::string(40, 'b')}}));
    EXPECT_EQ(held_at(moved_on), newer);
    EXPECT_EQ(held_at(late), newer) << "an older commit of it was deployed";
    const auto subject = subject_of(view, "docs", view.end()).value();
    const auto changes = diff(view, subject, of_another, deployed).value();
    ASSERT_EQ(changes.size(), 1U);
    EXPECT_EQ(changes[0].change.path, "held.7");
    EXPECT_EQ(changes[0].by->position, deployed) << "what began the deployment changed it";
  }
}

TEST_F(FromSnapshots, of_another_build_another_log_or_damaged_ones_nothing_is_believed) {
  const auto store = drawn_log(6, 200);
  const auto whole = view_of(store, false);
  const auto expect_not_used = [&](const char* what) {
    const auto view = view_of(store);
    expect_the_same(view, whole);
    EXPECT_GT(counted_->records, whole.end().value()) << what;
    EXPECT_FALSE(std::filesystem::is_empty(folder())) << "nothing is removed: " << what;
    std::filesystem::remove_all(folder());
  };
  const auto log = storage::open_memory_event_log(store, "test");
  take_snapshot(*log, folder(), "build-2");
  expect_not_used("another build's");
  take_snapshot(*storage::open_memory_event_log(drawn_log(7, 150), "test"), folder(), k_build);
  expect_not_used("another log's");
  take_snapshot(*log, folder(), k_build, "folds");
  expect_not_used("of another form");
  take_snapshot(*log, folder(), k_build);
  const auto file = std::filesystem::directory_iterator(folder())->path();
  {
    std::fstream bytes(file, std::ios::in | std::ios::out | std::ios::binary);
    bytes.seekp(static_cast<std::streamoff>(std::filesystem::file_size(file) / 2));
    bytes.put('\x55');
    bytes.put('\x55');
  }
  expect_not_used("damaged");
}

}  // namespace
}  // namespace atlasflow::inspect
