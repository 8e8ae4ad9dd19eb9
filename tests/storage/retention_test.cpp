#include "storage/retention.hpp"

#include <gmock/gmock.h>

namespace atlasflow::storage {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

// A project and its deployments as the read model would have them.
class Kept : public testing::Test {
 protected:
  Kept() {
    project_.state.id = ProjectId("shop0000");
    project_.state.version = StreamVersion{1};
  }

  DeploymentView& add(const std::string& id, DeploymentStatus status, const std::string& image,
                      bool routed = true) {
    DeploymentView view;
    view.state.id = DeploymentId(id);
    view.state.status = status;
    view.state.push.set_environment("production");
    view.state.image = image.empty() ? "" : "registry/shop@" + image;
    view.state.image_id = image.empty() ? "" : "id-" + image;
    view.state.routed = routed;
    newest_first_.insert(newest_first_.begin(), view);
    return newest_first_.front();
  }
  void live(const std::string& id) { project_.live = DeploymentId(id); }
  [[nodiscard]] Retention kept(std::size_t rollbacks) const {
    return retention_of(project_, newest_first_, rollbacks);
  }

  ProjectView project_;
  std::vector<DeploymentView> newest_first_;
};

std::vector<std::string> names(const std::set<DeploymentId>& ids) {
  std::vector<std::string> names;
  for (const auto& id : ids) names.push_back(id.str());
  return names;
}

TEST_F(Kept, are_the_live_image_and_the_newest_ones_before_it) {
  for (const char* id : {"a", "b", "c", "d"}) add(id, DeploymentStatus::retired, id);
  add("e", DeploymentStatus::live, "e");
  live("e");
  EXPECT_THAT(names(kept(2).deployments), ElementsAre("c", "d", "e"));
  EXPECT_THAT(kept(2).image_references,
              UnorderedElementsAre("registry/shop@c", "registry/shop@d", "registry/shop@e"));
  EXPECT_THAT(kept(2).image_ids, UnorderedElementsAre("id-c", "id-d", "id-e"));
  EXPECT_THAT(names(kept(0).deployments), ElementsAre("e"));
  EXPECT_THAT(names(kept(9).deployments), ElementsAre("a", "b", "c", "d", "e"));
}

TEST_F(Kept, counts_images_and_not_deployments) {
  add("a", DeploymentStatus::retired, "one");
  add("b", DeploymentStatus::retired, "two");
  add("c", DeploymentStatus::retired, "two");  // its settings changed only
  add("d", DeploymentStatus::live, "three");
  live("d");
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("b", "c", "d"));
  EXPECT_THAT(names(kept(2).deployments), ElementsAre("a", "b", "c", "d"));
}

TEST_F(Kept, is_the_live_image_however_many_newer_ones_there_were) {
  add("a", DeploymentStatus::live, "a");
  for (const char* id : {"b", "c", "d"}) add(id, DeploymentStatus::retired, id);
  live("a");
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("a", "d"));
}

TEST_F(Kept, without_a_live_one_are_as_many_images_as_with_one) {
  for (const char* id : {"a", "b", "c"}) add(id, DeploymentStatus::retired, id);
  EXPECT_THAT(names(kept(1).deployments), ElementsAre("b", "c"));
}

TEST_F(Kept, is_nothing_that_never_served_in_production) {
  add("a", DeploymentStatus::failed, "a", false);
  add("b", DeploymentStatus::retired, "b").state.push.set_environment("preview");
  add("c", DeploymentStatus::superseded, "");
  EXPECT_THAT(names(kept(5).deployments), IsEmpty());
}

TEST_F(Kept, is_all_that_has_not_ended_whatever_its_environment_or_step) {
  add("a", DeploymentStatus::building, "", false);
  add("b", DeploymentStatus::live, "b").state.push.set_environment("preview");
  add("c", DeploymentStatus::retiring, "c");
  add("d", DeploymentStatus::queued, "", false);
  EXPECT_THAT(names(kept(0).unfinished), ElementsAre("a", "b", "c", "d"));
  EXPECT_THAT(kept(0).image_ids, UnorderedElementsAre("id-b", "id-c"));
}

TEST_F(Kept, of_a_deleted_project_is_only_what_has_not_ended) {
  add("a", DeploymentStatus::retired, "a");
  add("b", DeploymentStatus::retiring, "b");
  project_.state.deleted = true;
  EXPECT_THAT(names(kept(5).deployments), ElementsAre("b"));
}

// ---- over a catalog ----

class CatalogKeeps : public testing::Test {
 protected:
  void append(const StreamId& stream, const pb::Event& event) {
    Record record;
    record.position = catalog_.position().next();
    record.stream = stream;
    record.stream_version = StreamVersion{++versions_[stream]};
    record.recorded_at = 1;
    record.event = event;
    catalog_.apply(record);
  }
  void create_project() {
    pb::Event event;
    event.mutable_project_created()->set_name("shop");
    append(project_stream(ProjectId("shop0000")), event);
  }
  void push(const std::string& id) {
    pb::Event event;
    event.mutable_push_received()->set_project_id("shop0000");
    event.mutable_push_received()->set_environment("production");
    append(deployment_stream(DeploymentId(id)), event);
  }
  void fail(const std::string& id) {
    pb::Event event;
    event.mutable_deployment_failed()->set_reason("no");
    append(deployment_stream(DeploymentId(id)), event);
  }
  void delete_project() {
    pb::Event event;
    event.mutable_project_deleted();
    append(project_stream(ProjectId("shop0000")), event);
  }

  std::map<StreamId, std::uint64_t> versions_;
  Catalog catalog_;
};

TEST_F(CatalogKeeps, what_a_deleted_project_still_runs) {
  create_project();
  push("aaaaaaaa");
  push("bbbbbbbb");
  fail("bbbbbbbb");
  delete_project();
  EXPECT_THAT(names(retention_of(catalog_, 5).deployments), ElementsAre("aaaaaaaa"));
  EXPECT_TRUE(is_retained(catalog_, DeploymentId("aaaaaaaa"), 5));
  EXPECT_FALSE(is_retained(catalog_, DeploymentId("bbbbbbbb"), 5));
  EXPECT_FALSE(is_retained(catalog_, DeploymentId("unknown0"), 5));
}

TEST_F(CatalogKeeps, the_logs_of_the_newest_failures_of_a_project_that_exists) {
  create_project();
  for (int i = 0; i < 25; ++i) {
    const std::string id = "failed" + std::to_string(10 + i);
    push(id);
    fail(id);
  }
  const auto kept = deployments_with_kept_logs(catalog_, 5);
  EXPECT_EQ(kept.size(), 20U);
  EXPECT_FALSE(kept.contains(DeploymentId("failed14")));
  EXPECT_TRUE(kept.contains(DeploymentId("failed15")));
  delete_project();
  EXPECT_THAT(deployments_with_kept_logs(catalog_, 5), IsEmpty());
}

}  // namespace
}  // namespace atlasflow::storage
