// What is said of a state's bytes: names and kinds come of the types, so a later build can read
// them.
#include "events/fold_shape.hpp"

#include <gmock/gmock.h>

#include "events/deployment.hpp"

namespace atlasflow {
namespace {

const Shape& child(const Shape& shape, const std::string& name) {
  for (const auto& each : shape.children) {
    if (each.name == name) return each;
  }
  ADD_FAILURE() << "no " << name;
  return shape;
}

TEST(FoldShape, has_the_names_of_members_alternatives_and_values) {
  const auto deployment = shape_of<DeploymentState>();
  EXPECT_EQ(deployment.kind, ShapeKind::record);
  EXPECT_EQ(child(deployment, "id").kind, ShapeKind::text);
  EXPECT_EQ(child(deployment, "version").kind, ShapeKind::natural);
  EXPECT_EQ(child(deployment, "routed_at").kind, ShapeKind::integer);
  const auto& status = child(deployment, "status");
  EXPECT_EQ(status.kind, ShapeKind::enumeration);
  EXPECT_EQ(status.names.at(static_cast<std::uint64_t>(DeploymentStatus::live)), "live");
  EXPECT_FALSE(status.names.contains(60)) << "no such status";
  const auto& slot = child(deployment, "instances").children.at(1);
  const auto& phase = child(slot, "phase");
  EXPECT_EQ(phase.kind, ShapeKind::variant);
  EXPECT_EQ(phase.children.front().name, "Vacant");
  EXPECT_EQ(child(child(phase, "Up"), "vm").kind, ShapeKind::record);
}

TEST(FoldShape, of_an_event_has_the_fields_of_its_schema) {
  const auto push = shape_of<pb::PushReceived>();
  EXPECT_EQ(push.kind, ShapeKind::message);
  EXPECT_EQ(child(push, "project_name").kind, ShapeKind::text);
  EXPECT_EQ(child(push, "no_cache").number, 301U);
  EXPECT_EQ(child(push, "inferred_at_s").kind, ShapeKind::complement);
  EXPECT_EQ(child(push, "settings").kind, ShapeKind::message);
}

TEST(FoldShape, comes_back_from_its_bytes) {
  const auto shape = shape_of<DeploymentState>();
  FoldWriter writer;
  writer.put(shape);
  const auto bytes = std::move(writer).take();
  Shape back;
  FoldReader reader(bytes);
  reader.take(back);
  ASSERT_TRUE(reader.is_whole());
  FoldWriter again;
  again.put(back);
  EXPECT_EQ(std::move(again).take(), bytes);
}

TEST(FoldShape, takes_lists_of_names_over_several_lines_apart) {
  EXPECT_THAT(fold_shape::names_in("a, bc,\n             d"), testing::ElementsAre("a", "bc", "d"));
}

}  // namespace
}  // namespace atlasflow
