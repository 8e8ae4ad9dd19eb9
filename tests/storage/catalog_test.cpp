// What the read model answers without looking at everything: against the same asked of all of it.
#include "storage/readmodel/catalog.hpp"

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/project.hpp"
#include "events/settings.hpp"

namespace atlasflow::storage {
namespace {

using testing::ElementsAre;

class ReadModel : public testing::Test {
 protected:
  void take(const StreamId& stream, const std::function<void(pb::Event&)>& fill) {
    Record record;
    record.position = catalog_.position().next();
    record.stream = stream;
    record.stream_version = versions_[stream] = versions_[stream].next();
    fill(record.event);
    catalog_.apply(record);
  }
  void create(const std::string& id, const std::string& name, const std::string& secret_ref) {
    take(project_stream(ProjectId(id)), [&](pb::Event& event) {
      event.mutable_project_created()->set_name(name);
      *event.mutable_project_created()->mutable_settings() = default_settings();
    });
    take(project_stream(ProjectId(id)), [&](pb::Event& event) {
      event.mutable_repository_connected()->set_url("/srv/" + name + ".git");
      event.mutable_repository_connected()->set_webhook_secret_ref(secret_ref);
    });
  }
  void push(const std::string& id) {
    take(deployment_stream(DeploymentId(id)), [](pb::Event& event) {
      event.mutable_push_received()->set_project_id("p1");
      event.mutable_push_received()->set_environment("production");
      *event.mutable_push_received()->mutable_settings() = default_settings();
    });
  }
  void cancel(const std::string& id) {
    take(deployment_stream(DeploymentId(id)),
         [](pb::Event& event) { event.mutable_deployment_cancelled()->set_by("user"); });
  }
  [[nodiscard]] std::vector<std::string> active() const {
    std::vector<std::string> ids;
    for (const auto& view : catalog_.active_deployments()) ids.push_back(view.state.id.str());
    return ids;
  }

  Catalog catalog_;
  std::map<StreamId, StreamVersion> versions_;
};

TEST_F(ReadModel, a_deployment_is_active_until_it_has_ended) {
  create("p1", "shop", "");
  for (const char* id : {"d3", "d1", "d2"}) push(id);
  EXPECT_THAT(active(), ElementsAre("d1", "d2", "d3"));
  cancel("d2");
  EXPECT_THAT(active(), ElementsAre("d1", "d3"));
  cancel("d1");
  cancel("d3");
  EXPECT_THAT(active(), ElementsAre());
  EXPECT_EQ(catalog_.deployments_of(ProjectId("p1"), 9)->size(), 3U);
}

TEST_F(ReadModel, the_secrets_of_webhooks_are_those_of_projects_that_exist_by_name) {
  create("p1", "shop", "ref-1");
  create("p2", "blog", "");
  create("p3", "cart", "ref-3");
  take(project_stream(ProjectId("p3")),
       [](pb::Event& event) { event.mutable_project_deleted()->set_by("user"); });
  std::vector<std::pair<std::string, std::string>> found;
  for (const auto& [project, ref] : catalog_.webhook_secret_refs())
    found.emplace_back(project, ref);
  EXPECT_THAT(found, ElementsAre(std::pair("blog", ""), std::pair("shop", "ref-1")));
  EXPECT_EQ(catalog_.project_count(), 2U);
  EXPECT_EQ(catalog_.projects().size(), 2U);
}

}  // namespace
}  // namespace atlasflow::storage
