// What a notify_url is owed, over the events that the real rules make.
#include "events/notifications.hpp"

#include <gmock/gmock.h>

#include "events/settings.hpp"

namespace atlasflow {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr TimestampUs k_at = 1'700'000'000'000'000;
constexpr const char* k_url = "https://example.com/hook";

// A log of one project "web" with the id pabc2345, written event by event.
class Owed : public testing::Test {
 protected:
  void SetUp() override {
    pb::Event created;
    created.mutable_project_created()->set_name("web");
    *created.mutable_project_created()->mutable_settings() = default_settings();
    to_project(created);
  }
  void to_project(const pb::Event& event) { owed_.apply(project_stream(project_), event, ++now_); }
  void set_url(const std::string& url) {
    pb::Event event;
    *event.mutable_settings_changed()->mutable_settings() = default_settings();
    event.mutable_settings_changed()->mutable_settings()->set_notify_url(url);
    to_project(event);
  }
  void to(const std::string& deployment, const pb::Event& event) {
    owed_.apply(deployment_stream(DeploymentId{deployment}), event, ++now_);
  }
  void push(const std::string& deployment) {
    pb::Event event;
    auto* received = event.mutable_push_received();
    received->set_project_id(project_.str());
    received->set_project_name("web");
    received->set_environment("production");
    received->set_after(std::string(40, 'a'));
    *received->mutable_settings() = default_settings();
    to(deployment, event);
  }
  void fail(const std::string& deployment) {
    pb::Event event;
    event.mutable_deployment_failed()->set_step(pb::STEP_BUILD);
    event.mutable_deployment_failed()->set_reason("the build failed");
    to(deployment, event);
  }
  void route(const std::string& deployment) {
    pb::Event event;
    event.mutable_routed()->set_generation(1);
    to(deployment, event);
  }
  void crash_loop(const std::string& deployment, int slot) {
    pb::Event event;
    event.mutable_crash_loop_detected()->set_slot(slot);
    event.mutable_crash_loop_detected()->set_crashes(10);
    to(deployment, event);
  }
  void vm(const std::string& deployment, int slot) {
    const auto id = deployment + "-" + std::to_string(slot);
    pb::Event started;
    started.mutable_vm_started()->set_vm_id(id);
    started.mutable_vm_started()->set_slot(slot);
    to(deployment, started);
    pb::Event healthy;
    healthy.mutable_healthy()->set_vm_id(id);
    to(deployment, healthy);
  }
  void sent(const std::string& deployment, const std::string& result) {
    pb::Event event;
    event.mutable_notification_sent()->set_deployment(deployment);
    event.mutable_notification_sent()->set_result(result);
    owed_.apply(notifications_stream(project_), event, ++now_);
  }
  [[nodiscard]] std::vector<Notification> all() const {
    std::vector<Notification> list;
    for (const auto& [receiver, queue] : owed_.owed()) {
      EXPECT_FALSE(queue.empty());
      list.insert(list.end(), queue.begin(), queue.end());
    }
    return list;
  }
  [[nodiscard]] std::vector<std::string> deliveries() const {
    std::vector<std::string> names;
    for (const auto& each : all()) names.push_back(each.delivery());
    return names;
  }

  const ProjectId project_{"pabc2345"};
  NotificationsOwed owed_{"example.test"};
  TimestampUs now_ = k_at;
};

TEST_F(Owed, each_result_is_owed_in_the_order_of_the_log) {
  set_url(k_url);
  pb::Event cancelled;
  cancelled.mutable_deployment_cancelled()->set_by("user");
  pb::Event superseded;
  superseded.mutable_deployment_superseded()->set_by("d2");
  pb::Event skipped;
  skipped.mutable_deployment_skipped()->set_reason("none of the watched paths changed");
  for (const auto* id : {"d1", "d2", "d3", "d4", "d5"}) push(id);
  fail("d2");
  to("d1", cancelled);
  to("d4", superseded);
  to("d3", skipped);
  route("d5");
  crash_loop("d5", 0);
  EXPECT_THAT(deliveries(), ElementsAre("d2-failed", "d1-cancelled", "d4-superseded", "d3-skipped",
                                        "d5-live", "d5-crashed"));
  const auto list = all();
  EXPECT_EQ(list[0].reason, "the build failed");
  EXPECT_EQ(list[0].step, "build");
  EXPECT_EQ(list[1].reason, "cancelled by user");
  EXPECT_EQ(list[2].reason, "superseded by deployment d2");
  EXPECT_EQ(list[3].reason, "none of the watched paths changed");
  EXPECT_EQ(list[4].reason, "");
  EXPECT_THAT(list[5].reason, HasSubstr("crashed too often"));
}

TEST_F(Owed, it_says_what_was_deployed_where_and_when) {
  set_url(k_url);
  push("d1");
  pb::Event cloned;
  cloned.mutable_cloned()->set_subject("Fix the door");
  to("d1", cloned);
  route("d1");
  const auto list = all();
  ASSERT_EQ(list.size(), 1U);
  const auto& told = list.front();
  EXPECT_EQ(told.project_id, project_);
  EXPECT_EQ(told.project, "web");
  EXPECT_EQ(told.environment, "production");
  EXPECT_EQ(told.commit, std::string(40, 'a'));
  EXPECT_EQ(told.subject, "Fix the door");
  EXPECT_EQ(told.hostname, "web.example.test");
  EXPECT_EQ(told.requested_by, "");
  EXPECT_EQ(told.at, now_);
  EXPECT_EQ(told.url, k_url);
}

TEST_F(Owed, an_automatic_rollback_says_so_by_who_requested_it) {
  set_url(k_url);
  pb::Event event;
  auto* rollback = event.mutable_rollback_requested();
  rollback->set_by("automatic rollback: d1 crashed");
  rollback->set_to("d0");
  rollback->mutable_built()->set_subject("The one before");
  rollback->mutable_push()->set_project_id(project_.str());
  rollback->mutable_push()->set_project_name("web");
  to("d2", event);
  route("d2");
  ASSERT_EQ(all().size(), 1U);
  EXPECT_EQ(all().front().requested_by, "automatic rollback: d1 crashed");
  EXPECT_EQ(all().front().subject, "The one before");
}

TEST_F(Owed, a_retired_deployment_is_no_result) {
  set_url(k_url);
  push("d1");
  pb::Event retired;
  retired.mutable_deployment_retired()->set_reason("replaced");
  to("d1", retired);
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(Owed, a_second_route_or_crash_of_a_deployment_is_not_told_again) {
  set_url(k_url);
  push("d1");
  route("d1");
  route("d1");
  crash_loop("d1", 0);
  pb::Event start;
  start.mutable_start_requested()->set_by("user");
  to("d1", start);
  crash_loop("d1", 0);
  EXPECT_THAT(deliveries(), ElementsAre("d1-live", "d1-crashed"));
  sent("d1", "live");
  route("d1");
  EXPECT_THAT(deliveries(), ElementsAre("d1-crashed"));
}

TEST_F(Owed, one_given_up_replica_of_several_is_no_crash_of_the_app) {
  set_url(k_url);
  push("d1");
  vm("d1", 0);
  vm("d1", 1);
  route("d1");
  crash_loop("d1", 0);
  EXPECT_THAT(deliveries(), ElementsAre("d1-live"));
  crash_loop("d1", 1);
  EXPECT_THAT(deliveries(), ElementsAre("d1-live", "d1-crashed"));
}

TEST_F(Owed, results_from_before_the_url_was_set_are_owed_to_nobody) {
  push("d1");
  push("d2");
  fail("d1");
  EXPECT_THAT(all(), IsEmpty());
  set_url(k_url);
  EXPECT_THAT(all(), IsEmpty());
  fail("d2");
  EXPECT_THAT(deliveries(), ElementsAre("d2-failed")) << "begun before, but it ended after";
}

TEST_F(Owed, what_was_recorded_as_sent_or_failed_is_owed_no_more) {
  set_url(k_url);
  for (const auto* id : {"d1", "d2", "d3"}) push(id);
  for (const auto* id : {"d1", "d2", "d3"}) fail(id);
  sent("d2", "failed");
  EXPECT_THAT(deliveries(), ElementsAre("d1-failed", "d3-failed"));
  pb::Event failed;
  failed.mutable_notification_failed()->set_deployment("d1");
  failed.mutable_notification_failed()->set_result("failed");
  owed_.apply(notifications_stream(project_), failed, ++now_);
  sent("d3", "live");
  EXPECT_THAT(deliveries(), ElementsAre("d3-failed")) << "another result of it is still owed";
  sent("d3", "failed");
  EXPECT_THAT(owed_.owed(), IsEmpty());
}

TEST_F(Owed, another_url_is_told_what_comes_after_it_was_set) {
  set_url(k_url);
  push("d1");
  push("d2");
  fail("d1");
  set_url("https://example.com/other");
  fail("d2");
  ASSERT_EQ(owed_.owed().size(), 2U);
  EXPECT_EQ(owed_.owed().at({project_, k_url}).front().delivery(), "d1-failed");
  EXPECT_EQ(owed_.owed().at({project_, "https://example.com/other"}).front().delivery(),
            "d2-failed");
}

TEST_F(Owed, without_a_url_and_after_a_deletion_nothing_is_owed_any_more) {
  set_url(k_url);
  push("d1");
  push("d2");
  push("d3");
  fail("d1");
  set_url("");
  EXPECT_THAT(all(), IsEmpty());
  set_url(k_url);
  fail("d2");
  ASSERT_EQ(all().size(), 1U);
  pb::Event deleted;
  deleted.mutable_project_deleted();
  to_project(deleted);
  fail("d3");
  EXPECT_THAT(all(), IsEmpty());
}

TEST_F(Owed, the_newest_secret_signs) {
  EXPECT_EQ(owed_.secret_ref_of(project_), "");
  for (const auto* ref : {"first", "second"}) {
    pb::Event event;
    event.mutable_notify_secret_set()->set_sealed_ref(ref);
    to_project(event);
  }
  EXPECT_EQ(owed_.secret_ref_of(project_), "second");
  EXPECT_EQ(owed_.secret_ref_of(ProjectId{"unknown2"}), "");
}

TEST(NotificationsStream, leads_back_to_its_project_and_is_no_stream_of_another_kind) {
  const auto stream = notifications_stream(ProjectId{"pabc2345"});
  EXPECT_EQ(stream.str(), "notifications/pabc2345");
  EXPECT_EQ(notified_project_of(stream), ProjectId{"pabc2345"});
  EXPECT_TRUE(project_of(stream).empty());
  EXPECT_TRUE(deployment_of(stream).empty());
  EXPECT_TRUE(notified_project_of(project_stream(ProjectId{"pabc2345"})).empty());
}

TEST_F(Owed, each_stage_of_a_certificate_that_ends_is_owed_once_to_the_domains_project) {
  pb::Event event;
  auto& expiring = *event.mutable_certificate_expiring();
  expiring.set_project_id(project_.str());
  expiring.set_fingerprint(std::string(64, 'c'));
  expiring.set_stage(pb::EXPIRY_STAGE_NOTICE);
  expiring.set_not_after_us(k_at + 7);
  expiring.set_reason("nobody renews it");
  const auto tell = [&] { owed_.apply(domain_stream("www.shop.test"), event, ++now_); };
  tell();
  EXPECT_THAT(owed_.owed(), IsEmpty()) << "there is no notify_url";
  set_url(k_url);
  tell();
  expiring.set_stage(pb::EXPIRY_STAGE_EXPIRED);
  tell();
  const auto& queue = owed_.owed().at({project_, k_url});
  ASSERT_EQ(queue.size(), 2U);
  const auto first = "notice-cccccccccccccccc-" + std::to_string(queue[0].at);
  EXPECT_EQ(queue[0].delivery(), "www.shop.test-" + first);
  EXPECT_EQ(queue[0].project, "web");
  EXPECT_EQ(queue[0].reason, "nobody renews it");
  const auto second = "expired-cccccccccccccccc-" + std::to_string(queue[1].at);
  EXPECT_EQ(queue[1].delivery(), "www.shop.test-" + second);
  pb::Event sent;
  sent.mutable_notification_sent()->set_domain("www.shop.test");
  sent.mutable_notification_sent()->set_result(first);
  owed_.apply(notifications_stream(project_), sent, ++now_);
  ASSERT_EQ(owed_.owed().at({project_, k_url}).size(), 1U);
  pb::Event failed;
  failed.mutable_notification_failed()->set_domain("www.shop.test");
  failed.mutable_notification_failed()->set_result(second);
  owed_.apply(notifications_stream(project_), failed, ++now_);
  EXPECT_THAT(owed_.owed(), IsEmpty());
  // A certificate that is brought back is told of anew: the log takes each delivery once only.
  tell();
  EXPECT_NE(owed_.owed().at({project_, k_url}).front().outcome(), second);
}

}  // namespace
}  // namespace atlasflow
