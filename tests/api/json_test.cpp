#include "api/json.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "events/settings.hpp"
#include "tests/api/recording_control_plane.hpp"

namespace atlasflow::api {
namespace {

using ::testing::HasSubstr;
using testing::RecordingControlPlane;

const PublicAddress k_address{"atlasflow.localhost", 443};

std::vector<std::string> keys_of(const Json& json) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  return keys;
}

TEST(PublicAddress, leaves_out_the_port_that_https_implies) {
  EXPECT_EQ(k_address.url_of("shop"), "https://shop.atlasflow.localhost");
  const PublicAddress other{"example.test", 8443};
  EXPECT_EQ(other.url_of("shop"), "https://shop.example.test:8443");
  EXPECT_EQ(other.url_of_host("docs.example.test"), "https://docs.example.test:8443");
}

TEST(DeploymentJson, has_every_member_of_the_contract) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_deployment("abcdefg2", "shop");
  control.start_vm("abcdefg2");
  const auto json = json_of(*control.catalog().deployment(DeploymentId("abcdefg2")), k_address);
  EXPECT_THAT(
      keys_of(json),
      ::testing::ElementsAre(
          "id", "number", "project", "environment", "sha", "ref", "pull_request", "subject",
          "author", "trigger", "inferred", "kind", "source", "requested_by", "no_cache", "status",
          "url", "preview_url", "hostnames", "image", "stack", "toolchain", "base_images",
          "reused_from", "created_at_us", "updated_at_us", "milestones", "failure", "superseded_by",
          "cancelled_by", "cancel_reason", "stopped_by", "skip_reason", "retire_reason", "notices",
          "restarts", "crashed_early", "replicas", "instances", "vm", "waiting_for"));
  EXPECT_EQ(json["project"], "shop");
  EXPECT_EQ(json["sha"], std::string(40, '1'));
  EXPECT_EQ(json["trigger"], "webhook");
  EXPECT_EQ(json["kind"], "push");
  EXPECT_EQ(json["source"], nullptr);
  EXPECT_EQ(json["url"], "https://shop.atlasflow.localhost");
  EXPECT_EQ(json["preview_url"], "https://abcdefg2-shop.atlasflow.localhost");
  EXPECT_EQ(json["failure"], nullptr);
  EXPECT_EQ(json["superseded_by"], nullptr);
  EXPECT_EQ(json["milestones"][0]["name"], "PushReceived");
  EXPECT_GT(json["milestones"][0]["position"], 0);
  EXPECT_EQ(json["vm"]["address"], "10.0.0.2");
  EXPECT_EQ(json["vm"]["port"], 3000);
}

TEST(DeploymentJson, of_a_failure_says_step_fault_and_reason) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_deployment("abcdefg2", "shop");
  control.fail_deployment("abcdefg2");
  const auto json = json_of(*control.catalog().deployment(DeploymentId("abcdefg2")), k_address);
  EXPECT_EQ(json["status"], "failed");
  EXPECT_EQ(json["failure"]["step"], name_of(pb::STEP_BUILD));
  EXPECT_EQ(json["failure"]["fault"], name_of(pb::FAULT_USER));
  EXPECT_EQ(json["failure"]["reason"], "exit code 1");
  EXPECT_EQ(json["vm"], nullptr);
}

TEST(DeploymentJson, shows_each_instance_with_what_it_is_doing) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_deployment("abcdefg2", "shop");
  control.make_live("abcdefg2");
  pb::Event scale;
  scale.mutable_scale_requested()->set_replicas(4);
  control.append_to("abcdefg2", scale);
  const auto second = control.start_vm("abcdefg2", 1);
  pb::Event placement;
  placement.mutable_vm_placement_requested()->set_slot(2);
  control.append_to("abcdefg2", placement);
  pb::Event loop;
  loop.mutable_crash_loop_detected()->set_slot(3);
  loop.mutable_crash_loop_detected()->set_crashes(10);
  control.append_to("abcdefg2", loop);
  const auto shown = [&] {
    return json_of(*control.catalog().deployment(DeploymentId("abcdefg2")), k_address);
  };
  const auto states = [&] {
    std::vector<std::string> all;
    const auto instances = shown()["instances"];
    for (const auto& instance : instances) all.push_back(instance["state"]);
    return all;
  };
  EXPECT_EQ(shown()["replicas"], 4);
  EXPECT_THAT(states(), ::testing::ElementsAre("healthy", "checking", "placing", "crashed"));
  const auto json = shown()["instances"];
  EXPECT_THAT(keys_of(json[1]), ::testing::ElementsAre("slot", "state", "vm", "host", "address",
                                                       "port", "healthy", "problem", "crashes"));
  EXPECT_EQ(json[0]["healthy"], true);
  EXPECT_EQ(json[1]["slot"], 1);
  EXPECT_EQ(json[1]["vm"], second);
  EXPECT_EQ(json[1]["healthy"], false);
  EXPECT_EQ(json[2]["vm"], nullptr);
  EXPECT_EQ(json[2]["port"], nullptr);
  EXPECT_EQ(json[3]["crashes"], 10);

  pb::Event stop;
  stop.mutable_stop_requested()->set_by("user");
  control.append_to("abcdefg2", stop);
  EXPECT_EQ(shown()["stopped_by"], "user");
  EXPECT_EQ(shown()["status"], "stopping");
  EXPECT_EQ(states().front(), "draining");
}

TEST(DeploymentJson, tells_what_is_waited_for_and_until_when) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_deployment("abcdefg2", "shop");
  const auto waits = [&] {
    return json_of(*control.catalog().deployment(DeploymentId("abcdefg2")),
                   k_address)["waiting_for"];
  };
  EXPECT_EQ(waits(), Json::array());
  pb::Event retry;
  retry.mutable_retry_scheduled()->set_step(pb::STEP_CLONE);
  retry.mutable_retry_scheduled()->set_attempt(2);
  retry.mutable_retry_scheduled()->set_due_us(77);
  control.append_to("abcdefg2", retry);
  EXPECT_EQ(waits(), Json::parse(R"([{"step":"clone","attempt":2,"due_us":77,"slot":null}])"));
  pb::Event fired;
  fired.mutable_timer_fired()->set_step(pb::STEP_CLONE);
  control.append_to("abcdefg2", fired);
  pb::Event restarting;
  restarting.mutable_vm_restarting()->set_slot(1);
  restarting.mutable_vm_restarting()->set_attempt(3);
  restarting.mutable_vm_restarting()->set_due_us(99);
  control.append_to("abcdefg2", restarting);
  EXPECT_EQ(waits(), Json::parse(R"([{"step":"VM start","attempt":3,"due_us":99,"slot":1}])"));
}

TEST(DeploymentJson, tells_what_made_it_and_who) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_rollback("abcdefg2", "shop", "aaaaaaa2", "crash within 60 s");
  control.add_redeployment("abcdefg3", "shop", "aaaaaaa2", pb::REDEPLOYMENT_PROMOTE);
  pb::Event command;
  command.mutable_push_received()->set_project_id("shop");
  command.mutable_push_received()->set_trigger(pb::TRIGGER_COMMAND);
  command.mutable_push_received()->set_pusher("command");
  control.append_to("abcdefg4", command);
  const auto made = [&](const char* id) {
    const auto json = json_of(*control.catalog().deployment(DeploymentId(id)), k_address);
    return Json{json["kind"], json["source"], json["requested_by"]};
  };
  EXPECT_EQ(made("abcdefg2"), Json::parse(R"(["rollback","aaaaaaa2","crash within 60 s"])"));
  EXPECT_EQ(made("abcdefg3"), Json::parse(R"(["promote","aaaaaaa2","user"])"));
  EXPECT_EQ(made("abcdefg4"), Json::parse(R"(["deploy",null,"user"])"));
}

TEST(DeploymentJson, of_a_preview_has_its_branchs_url) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_preview("abcdefg2", "shop", "docs");
  const auto json = json_of(*control.catalog().deployment(DeploymentId("abcdefg2")), k_address);
  EXPECT_EQ(json["environment"], "preview/docs");
  EXPECT_EQ(json["url"], "https://docs--shop.atlasflow.localhost");
  EXPECT_EQ(json["preview_url"], "https://abcdefg2-shop.atlasflow.localhost");
}

TEST(ProjectJson, has_the_status_of_production_whatever_previews_do) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_preview("abcdefg2", "shop", "docs");
  const auto project = [&] {
    return json_of(*control.catalog().project_named("shop"), control.catalog(), k_address);
  };
  EXPECT_EQ(project()["status"], "empty");
  control.add_deployment("abcdefg3", "shop");
  control.add_preview("abcdefg4", "shop", "docs");
  control.fail_deployment("abcdefg4");
  EXPECT_EQ(project()["newest_deployment"]["id"], "abcdefg3");
  EXPECT_EQ(project()["status"], "queued");
}

TEST(ProjectJson, has_every_member_of_the_contract) {
  RecordingControlPlane control;
  control.add_project("shop");
  const auto project = [&] {
    return json_of(*control.catalog().project_named("shop"), control.catalog(), k_address);
  };
  EXPECT_EQ(project()["status"], "empty");
  EXPECT_EQ(project()["newest_deployment"], nullptr);
  control.add_deployment("abcdefg2", "shop");
  const auto json = project();
  EXPECT_THAT(
      keys_of(json),
      ::testing::ElementsAre(
          "id", "name", "repository", "repository_deleted", "git_push_url", "has_push_token",
          "branch", "url", "live_deployment", "newest_deployment", "status", "created_at_us",
          "updated_at_us", "env_names", "build_secret_names", "settings", "has_notify_secret",
          "has_webhook_secret", "deploy_key", "host_keys", "has_login", "waiting_for_approval"));
  EXPECT_EQ(json["newest_deployment"]["id"], "abcdefg2");
  EXPECT_EQ(json["live_deployment"], nullptr);
  EXPECT_EQ(json["status"], json["newest_deployment"]["status"]);
  EXPECT_EQ(json["settings"]["port"], 3000);
  EXPECT_EQ(json["settings"]["health_path"], "/");
}

TEST(ProjectJson, shows_every_setting) {
  RecordingControlPlane control;
  control.add_project("shop");
  auto view = *control.catalog().project_named("shop");
  ASSERT_TRUE(set_by_name(view.state.settings, "build_arg.NODE", "20"));
  ASSERT_TRUE(set_by_name(view.state.settings, "watch_paths", "src/**,package.json"));
  ASSERT_TRUE(set_by_name(view.state.settings, "previews", "true"));
  const auto settings = json_of(view, control.catalog(), k_address)["settings"];
  // And whether the port was given, which is no setting of its own.
  EXPECT_EQ(settings.size(), known_settings().size() + 1);
  EXPECT_EQ(settings["port_given"], false);
  for (const auto& setting : known_settings()) {
    const auto key = setting.type == SettingType::texts      ? "build_args"
                     : setting.type == SettingType::duration ? std::string(setting.name) + "_us"
                                                             : std::string(setting.name);
    EXPECT_TRUE(settings.contains(key)) << key;
  }
  EXPECT_EQ(settings["build_args"], Json({{"NODE", "20"}}));
  EXPECT_EQ(settings["watch_paths"], Json({"src/**", "package.json"}));
  EXPECT_EQ(settings["previews"], true);
  EXPECT_EQ(settings["preview_ttl_us"], 259'200'000'000);
}

TEST(EventLine, is_one_line_with_the_events_own_names) {
  RecordingControlPlane control;
  control.add_project("shop");
  control.add_deployment("abcdefg2", "shop");
  const auto record = control.log().read_at(Position(3));
  ASSERT_TRUE(record && *record);
  const auto line = event_line(**record);
  EXPECT_EQ(line.find('\n'), line.size() - 1);
  const auto json = Json::parse(line);
  EXPECT_THAT(keys_of(json), ::testing::ElementsAre("position", "stream", "version", "at_us",
                                                    "type", "correlation_id", "actor", "data"));
  EXPECT_EQ(json["position"], 3);
  EXPECT_EQ(json["stream"], "deployment/abcdefg2");
  EXPECT_EQ(json["version"], 1);
  EXPECT_EQ(json["type"], "PushReceived");
  EXPECT_EQ(json["data"]["project_name"], "shop");
  EXPECT_EQ(json["data"]["trigger"], "TRIGGER_WEBHOOK");
}

TEST(EventLine, of_an_event_that_this_build_does_not_know_has_no_data) {
  storage::Record record;
  record.position = Position(7);
  const auto json = Json::parse(event_line(record));
  EXPECT_EQ(json["type"], "Unknown");
  EXPECT_EQ(json["data"], Json::object());
}

TEST(Text, that_is_no_utf8_does_not_throw) {
  EXPECT_EQ(text_of(Json("a\xff"
                         "b")),
            "\"a\xEF\xBF\xBD"
            "b\"\n");
}

TEST(ParsedObject, counts_levels_outside_of_strings_only) {
  EXPECT_TRUE(parsed_object("{\"a\":\"" + std::string(200, '[') + "\\\"[\"}", "It"));
  const auto nested = [](int levels) {
    const auto arrays = static_cast<std::size_t>(levels - 1);
    return "{\"a\":" + std::string(arrays, '[') + std::string(arrays, ']') + "}";
  };
  EXPECT_TRUE(parsed_object(nested(64), "It"));
  const auto deeper = parsed_object(nested(65), "It");
  ASSERT_FALSE(deeper);
  EXPECT_THAT(deeper.error().message, HasSubstr("64 levels"));
}

}  // namespace
}  // namespace atlasflow::api
