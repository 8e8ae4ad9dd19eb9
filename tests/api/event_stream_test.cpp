#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/api/api_fixture.hpp"

namespace atlasflow::api {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::request_text;

class EventStream : public testing::ApiTest {
 protected:
  static std::vector<json> lines_of(const std::string& body) {
    std::vector<json> lines;
    std::size_t start = 0;
    for (auto end = body.find('\n'); end != std::string::npos; end = body.find('\n', start)) {
      lines.push_back(json::parse(body.substr(start, end - start)));
      start = end + 1;
    }
    EXPECT_EQ(start, body.size()) << "the last line has no end";
    return lines;
  }

  std::vector<std::string> streams_at(const std::string& target) {
    const auto answer = ask("GET", target);
    EXPECT_EQ(answer.status, 200);
    EXPECT_EQ(answer.field("Content-Type"), "application/x-ndjson");
    std::vector<std::string> streams;
    for (const auto& line : lines_of(answer.body)) {
      streams.push_back(line["stream"].get<std::string>() + "@" +
                        std::to_string(line["version"].get<int>()));
    }
    return streams;
  }
};

TEST_F(EventStream, ends_at_the_logs_end_unless_followed) {
  EXPECT_THAT(streams_at("/v1/events"), IsEmpty());
  control_.add_project("shop");
  control_.add_deployment("abcdefg2", "shop");
  EXPECT_THAT(streams_at("/v1/events"),
              ElementsAre("project/shop@1", "project/shop@2", "deployment/abcdefg2@1"));
  EXPECT_THAT(streams_at("/v1/events?from=3"), ElementsAre("deployment/abcdefg2@1"));
  EXPECT_THAT(streams_at("/v1/events?from=99"), IsEmpty());
}

TEST_F(EventStream, of_one_project_has_its_own_and_its_deployments_events) {
  control_.add_project("shop");
  control_.add_project("bank");
  control_.add_deployment("aaaaaaa2", "shop");
  control_.add_deployment("bbbbbbb2", "bank");
  control_.fail_deployment("aaaaaaa2");
  control_.fail_deployment("bbbbbbb2");
  pb::Event node;
  node.mutable_node_started()->set_epoch(1);
  control_.append(node_stream(), {node});
  EXPECT_THAT(streams_at("/v1/events?project=shop"),
              ElementsAre("project/shop@1", "project/shop@2", "deployment/aaaaaaa2@1",
                          "deployment/aaaaaaa2@2"));
  // From the middle on, whose deployment it is cannot be seen in the stream itself.
  EXPECT_THAT(streams_at("/v1/events?project=shop&from=7"), ElementsAre("deployment/aaaaaaa2@2"));
}

TEST_F(EventStream, of_one_project_has_what_its_notify_url_was_told) {
  control_.add_project("shop");
  control_.add_project("bank");
  pb::Event sent;
  sent.mutable_notification_sent()->set_deployment("aaaaaaa2");
  control_.append(notifications_stream(ProjectId("shop")), {sent});
  control_.append(notifications_stream(ProjectId("bank")), {sent});
  EXPECT_THAT(streams_at("/v1/events?project=shop"),
              ElementsAre("project/shop@1", "project/shop@2", "notifications/shop@1"));
}

TEST_F(EventStream, of_one_project_has_what_github_was_told_of_its_deployments) {
  control_.add_project("shop");
  for (const char* project : {"shop", "bank"}) {
    static_cast<void>(
        control_.execute(Principal::system("test"),
                         commands::RecordGitHubReport{ProjectId(project), DeploymentId("aaaaaaa2"),
                                                      "queued", 7, ""}));
  }
  EXPECT_THAT(streams_at("/v1/events?project=shop"),
              ElementsAre("project/shop@1", "project/shop@2", "github-reports/shop@1"));
}

TEST_F(EventStream, of_one_project_has_what_begins_without_a_push) {
  control_.add_project("shop");
  control_.add_rollback("aaaaaaa2", "shop", "aaaaaaa1");
  control_.add_redeployment("aaaaaaa3", "shop", "aaaaaaa1", pb::REDEPLOYMENT_RESTART);
  control_.add_rollback("bbbbbbb2", "bank", "bbbbbbb1");
  EXPECT_THAT(streams_at("/v1/events?project=shop"),
              ElementsAre("project/shop@1", "project/shop@2", "deployment/aaaaaaa2@1",
                          "deployment/aaaaaaa3@1"));
}

TEST_F(EventStream, larger_than_one_batch_has_every_event_once) {
  control_.add_project("shop");
  std::vector<pb::Event> events(3000);
  for (auto& event : events) {
    event.mutable_push_ignored()->set_reason(std::string(200, 'r'));
  }
  control_.append(project_stream(ProjectId("shop")), events);
  const auto lines = lines_of(ask("GET", "/v1/events").body);
  ASSERT_EQ(lines.size(), 3002U);
  for (std::size_t i = 0; i < lines.size(); ++i) ASSERT_EQ(lines[i]["position"], i + 1);
}

TEST_F(EventStream, that_is_followed_shows_what_comes_later) {
  control_.add_project("shop");
  auto client = connect();
  ASSERT_TRUE(client.send(request_text("GET", "/v1/events?project=shop&follow=1")));
  ASSERT_TRUE(client.receive_body_until("RepositoryConnected"));
  control_.add_project("bank");
  control_.add_deployment("abcdefg2", "shop");
  const auto body = client.receive_body_until("deployment/abcdefg2");
  ASSERT_TRUE(body);
  EXPECT_EQ(body->find("bank"), std::string::npos);
  stop();
  EXPECT_FALSE(client.receive()) << "a cut stream must not look whole";
}

// Whose an event is, is looked up for what ended long ago. What can't be looked up is not left out:
// a stream that ends as if it were whole would hide the events of that deployment.
TEST_F(EventStream, of_one_project_is_cut_where_it_cannot_be_known_whose_an_event_is) {
  control_.add_project("shop");
  control_.add_deployment("aaaaaaa2", "shop");
  const auto middle = control_.log().last_position().next();
  control_.fail_deployment("aaaaaaa2");
  for (const char digit : {'2', '3', '4', '5', '6', '7'}) {
    for (const char* begin : {"bbbbbbb", "ccccccc"}) {
      control_.add_deployment(std::string(begin) + digit, "shop");
      control_.fail_deployment(std::string(begin) + digit);
    }
  }
  ASSERT_FALSE(control_.catalog().recent(DeploymentId("aaaaaaa2"))) << "it is in memory";
  const auto target = "/v1/events?project=shop&from=" + std::to_string(middle.value());
  EXPECT_EQ(streams_at(target).front(), "deployment/aaaaaaa2@2");
  control_.index_is_damaged = true;
  EXPECT_FALSE(connect().ask(request_text("GET", target))) << "a cut stream must not look whole";
  EXPECT_EQ(streams_at("/v1/events?from=" + std::to_string(middle.value())).size(), 25U)
      << "of all projects it need not be known";
  control_.index_is_damaged = false;
  EXPECT_EQ(streams_at(target).size(), 25U);
}

}  // namespace
}  // namespace atlasflow::api
