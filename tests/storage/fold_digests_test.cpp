// States as digests by field: two builds with other fields compare what both know, and a value that
// changed is named. The builds are types here, an older and a newer of each.
#include "storage/snapshots/fold_digests.hpp"

#include <map>
#include <optional>
#include <set>
#include <variant>
#include <vector>

#include <gmock/gmock.h>

#include "events/fields.hpp"
#include "events/settings.hpp"

namespace atlasflow::storage {

namespace older {
enum class Color : std::uint8_t { red, green };
struct Square {
  std::int64_t side = 0;
};
struct Circle {
  std::int64_t radius = 0;
};
struct Thing {
  std::string name;
  std::int64_t size = 0;
  Color color = Color::red;
  std::optional<std::int32_t> due;
  std::variant<Square, Circle> form;
  std::vector<std::string> tags;
  std::string sealed_ref;
};
struct State {
  std::map<std::string, Thing> things;
  std::set<std::string> names;
  pb::Settings settings;
};
ATLAS_FIELDS(Square, side)
ATLAS_FIELDS(Circle, radius)
ATLAS_FIELDS(Thing, name, size, color, due, form, tags, sealed_ref)
ATLAS_FIELDS(State, things, names, settings)
}  // namespace older

namespace newer {
enum class Color : std::uint8_t { black, red, green };  // one in front: the others' numbers change
struct Square {
  std::int64_t side = 0;
};
struct Circle {
  std::int64_t radius = 0;
};
struct Thing {
  std::int64_t size = 0;
  std::string name;
  Color color = Color::red;
  std::optional<std::int32_t> due;
  std::variant<Circle, Square> form;
  std::vector<std::string> tags;
  std::string sealed_ref;
  std::uint64_t weight = 0;
};
struct State {
  bool ready = true;
  std::map<std::string, Thing> things;
  std::set<std::string> names;
  pb::Settings settings;
};
ATLAS_FIELDS(Square, side)
ATLAS_FIELDS(Circle, radius)
ATLAS_FIELDS(Thing, size, name, color, due, form, tags, sealed_ref, weight)
ATLAS_FIELDS(State, ready, things, names, settings)
}  // namespace newer

namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

template <typename T>
std::string encoded(const T& state) {
  FoldWriter writer;
  writer.put(state);
  return std::move(writer).take();
}

template <typename T>
FoldDigests digests(const T& state) {
  auto made = digests_of(shape_of<T>(), encoded(state));
  EXPECT_TRUE(made);
  return made ? *std::move(made) : FoldDigests{};
}

template <typename State>
State filled() {
  State state;
  auto& thing = state.things["ab"];
  using Thing = std::decay_t<decltype(thing)>;
  thing.name = "door";
  thing.size = -7;
  thing.color = decltype(thing.color)::green;
  thing.due = 12;
  using Form = decltype(Thing::form);
  if constexpr (std::is_same_v<Form, std::variant<older::Square, older::Circle>>) {
    thing.form = older::Circle{3};
    state.things["cd"].form = older::Square{};
  } else {
    thing.form = newer::Circle{3};
    state.things["cd"].form = newer::Square{};
  }
  thing.tags = {"wood", ""};
  thing.sealed_ref = "sealed/9f";
  state.things["cd"].size = 1;
  state.names = {"ab", "cd"};
  state.settings = default_settings();
  return state;
}

TEST(FoldDigests, of_a_build_with_more_fields_another_order_and_other_numbers_are_equal) {
  auto now = filled<newer::State>();
  now.things["ab"].weight = 5;
  const auto comparison = compare(digests(filled<older::State>()), digests(now));
  EXPECT_THAT(comparison.changed, IsEmpty());
  EXPECT_THAT(comparison.only_before, IsEmpty());
  EXPECT_THAT(comparison.only_now, ElementsAre("ready boolean", "things[].weight natural"));
  EXPECT_GT(comparison.equal, 10U);
}

// Of each kind of value one.
TEST(FoldDigests, name_the_field_whose_value_is_another) {
  const auto before = digests(filled<older::State>());
  const auto changed = [&](auto change) {
    auto now = filled<newer::State>();
    change(now);
    return compare(before, digests(now)).changed;
  };
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].size = 7; }),
              ElementsAre("things[].size integer"));
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].name = "gate"; }),
              ElementsAre("things[].name text"));
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].color = newer::Color::red; }),
              ElementsAre("things[].color enumeration"));
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].due.reset(); }),
              ElementsAre("things[].due integer", "things[].due presence"));
  EXPECT_THAT(changed([](auto& s) { s.things["cd"].due = 0; }),
              ElementsAre("things[].due presence"));
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].form = newer::Square{}; }),
              ElementsAre("things[].form alternative", "things[].form.Circle.radius integer"));
  EXPECT_THAT(changed([](auto& s) {
                s.things["ab"].tags = {"", "wood"};
              }),
              ElementsAre("things[].tags[] text"));
  EXPECT_THAT(changed([](auto& s) { s.things["ab"].tags = {"wood"}; }),
              ElementsAre("things[].tags[] count"));
  EXPECT_THAT(changed([](auto& s) { s.things.emplace("ef", newer::Thing{}); }),
              testing::Contains("things{} member"));
  EXPECT_THAT(changed([](auto& s) { s.names.insert("ef"); }), ElementsAre("names{} member"));
  EXPECT_THAT(changed([](auto& s) { s.settings.set_replicas(9); }),
              ElementsAre("settings.replicas integer"));
}

// The same values, at other keys.
TEST(FoldDigests, see_that_two_members_were_exchanged) {
  auto now = filled<newer::State>();
  std::swap(now.things["ab"].size, now.things["cd"].size);
  EXPECT_THAT(compare(digests(filled<older::State>()), digests(now)).changed,
              ElementsAre("things[].size integer"));
}

ValueDifference difference(const std::string& field, const newer::State& now) {
  const auto found =
      first_difference(field, shape_of<older::State>(), encoded(filled<older::State>()),
                       shape_of<newer::State>(), encoded(now));
  EXPECT_TRUE(found && *found);
  return found && *found ? **found : ValueDifference{};
}

TEST(FoldDigests, the_value_is_shown_with_its_way_and_what_it_was) {
  auto now = filled<newer::State>();
  now.things["cd"].size = 2;
  auto found = difference("things[].size integer", now);
  EXPECT_EQ(found.path, "things[cd].size");
  EXPECT_EQ(found.before, "1");
  EXPECT_EQ(found.now, "2");
  now.things["ab"].color = newer::Color::red;
  found = difference("things[].color enumeration", now);
  EXPECT_EQ(found.path, "things[ab].color");
  EXPECT_EQ(found.before, "green");
  EXPECT_EQ(found.now, "red");
  now.things["ab"].tags[0] = std::string("a\x1B[2J") + std::string(200, 'x');
  found = difference("things[].tags[] text", now);
  EXPECT_EQ(found.path, "things[ab].tags[0]");
  EXPECT_THAT(found.now, testing::StartsWith("a?[2Jx"));
  EXPECT_LT(found.now.size(), 100U);
  now.things.erase("cd");
  found = difference("things{} member", now);
  EXPECT_EQ(found.path, "things[cd]");
  EXPECT_EQ(found.now, "-");
}

TEST(FoldDigests, what_may_name_or_open_a_secret_is_compared_and_not_shown) {
  auto now = filled<newer::State>();
  now.things["ab"].sealed_ref = "sealed/77";
  auto found = difference("things[].sealed_ref text", now);
  EXPECT_EQ(found.path, "things[ab].sealed_ref");
  EXPECT_THAT(found.before + found.now, testing::Not(HasSubstr("sealed/")));
  now.settings.set_notify_url("https://hooks.example.com/T0KEN");
  found = difference("settings.notify_url text", now);
  EXPECT_THAT(found.now, testing::Not(HasSubstr("T0KEN")));
}

TEST(FoldDigests, bytes_that_are_not_of_their_shape_are_refused_wherever_they_are_cut) {
  const auto good = encoded(filled<older::State>());
  const auto shape = shape_of<older::State>();
  for (std::size_t size = 0; size < good.size(); ++size) {
    const auto cut = digests_of(shape, good.substr(0, size));
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, ErrorCode::corrupt);
  }
  EXPECT_FALSE(digests_of(shape, good + "x"));
  // Any damage is read without harm, and mostly noticed; who keeps such bytes has a checksum.
  for (std::size_t at = 0; at < good.size(); ++at) {
    auto flipped = good;
    flipped[at] = static_cast<char>(flipped[at] ^ 0x44);
    static_cast<void>(digests_of(shape, flipped));
  }
}

// These stand in files of earlier builds, so they must be the same for ever.
TEST(FoldDigests, are_the_same_in_every_build) {
  older::State state;
  state.things["ab"].name = "door";
  state.things["ab"].size = -7;
  const auto made = digests(state);
  const auto& name = made.at("things[].name text");
  EXPECT_EQ(name.entries, 1U);
  EXPECT_EQ(name.low, 17023022338154638442U);
  EXPECT_EQ(made.at("things[].size integer").high, 9642563334039394171U);
}

}  // namespace
}  // namespace atlasflow::storage
