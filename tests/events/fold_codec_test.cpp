// States as bytes and back. That no field is left out is the compiler's to say (events/fields.hpp);
// that whole folds come back equal is proven on logs in tests/sim/snapshot_test.cpp.
#include "events/fold_codec.hpp"

#include <limits>
#include <map>
#include <set>
#include <vector>

#include "tests/events/subject.hpp"

namespace atlasflow {
namespace {

template <typename T>
std::string bytes_of(const T& value) {
  FoldWriter writer;
  writer.put(value);
  return std::move(writer).take();
}

template <typename T>
void expect_back(const T& value) {
  const auto bytes = bytes_of(value);
  T back{};
  FoldReader reader(bytes);
  reader.take(back);
  EXPECT_TRUE(reader.is_whole());
  EXPECT_EQ(back, value);
}

TEST(FoldCodec, numbers_texts_and_lists_come_back_at_their_limits) {
  expect_back(true);
  for (const auto number : {0L, 1L, -1L, 63L, -64L, 64L, std::numeric_limits<long>::max(),
                            std::numeric_limits<long>::min()}) {
    expect_back(number);
  }
  expect_back(std::numeric_limits<std::int32_t>::min());
  expect_back(std::numeric_limits<std::uint64_t>::max());
  expect_back(Position(std::numeric_limits<std::uint64_t>::max()));
  expect_back(std::string("with \0 in it", 12));
  expect_back(std::string(300, 'x'));
  expect_back(DeploymentId("dabc2345"));
  expect_back(std::vector<std::string>{"", "b"});
  expect_back(std::set<std::string>{"a", "b", "c"});
  expect_back(std::map<std::string, std::vector<std::int32_t>>{{"", {}}, {"a", {-1, 2}}});
  expect_back(std::optional<std::string>());
  expect_back(std::optional<std::string>(""));
  expect_back(Principal::webhook("github"));
  expect_back(Phase(phase::Stopping{
      Vm{VmId("v"), HostId("h"), "10.0.0.2", 3000, health::Unhealthy{5, "status 500", 7}},
      EffectId("e"), VmEnd::unhealthy}));
  expect_back(Phase(phase::GivenUp{}));
}

TEST(FoldCodec, what_was_there_before_a_reading_is_gone_after_it) {
  std::map<std::string, std::int32_t> values{{"old", 1}};
  FoldReader(bytes_of(std::map<std::string, std::int32_t>{{"new", 2}})).take(values);
  EXPECT_EQ(values, (std::map<std::string, std::int32_t>{{"new", 2}}));
}

// One in the middle of its way, with most of its fields set.
DeploymentState live_state() {
  Subject subject;
  subject.state.notices = {"one", "two"};
  subject.state.retry = Retry{pb::STEP_BUILD, 2, 99};
  subject.state.failure = Failure{pb::STEP_BUILD, pb::FAULT_USER, "RUN make failed"};
  subject.state.instances[1].phase = phase::Waiting{Retry{pb::STEP_START_VM, 1, 5}};
  subject.state.base_images.emplace_back().set_name("debian");
  return subject.state;
}

TEST(FoldCodec, a_deployment_comes_back_as_it_was) {
  const auto bytes = bytes_of(live_state());
  DeploymentState back;
  FoldReader reader(bytes);
  reader.take(back);
  EXPECT_TRUE(reader.is_whole());
  EXPECT_EQ(bytes_of(back), bytes);
  EXPECT_EQ(back.push.settings().health_path(), live_state().push.settings().health_path());
}

TEST(FoldCodec, bytes_that_end_anywhere_are_refused) {
  const auto bytes = bytes_of(live_state());
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    DeploymentState back;
    FoldReader reader(std::string_view(bytes).substr(0, size));
    reader.take(back);
    EXPECT_FALSE(reader.is_whole()) << size;
  }
  DeploymentState back;
  const auto longer = bytes + "x";
  FoldReader reader(longer);
  reader.take(back);
  EXPECT_TRUE(reader.is_good());
  EXPECT_FALSE(reader.is_whole());
}

// A checksum keeps such bytes away; whoever comes past it must not end the process.
TEST(FoldCodec, any_byte_may_be_any_other_without_harm) {
  const auto bytes = bytes_of(live_state());
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    for (const char other : {'\0', '\1', '\x7f', '\x80', '\xff'}) {
      auto changed = bytes;
      changed[at] = other;
      DeploymentState back;
      FoldReader reader(changed);
      reader.take(back);
    }
  }
}

TEST(FoldCodec, a_number_that_does_not_fit_is_refused) {
  const auto bytes = bytes_of(std::uint64_t{1} << 40U);
  std::int32_t small = 0;
  FoldReader reader(bytes);
  reader.take(small);
  EXPECT_FALSE(reader.is_good());
  // A count that promises more than there is makes no room for it.
  const auto count = bytes_of(std::numeric_limits<std::uint64_t>::max());
  std::vector<std::string> list;
  FoldReader lists(count);
  lists.take(list);
  EXPECT_FALSE(lists.is_good());
}

}  // namespace
}  // namespace atlasflow
