// The verbs over the real API, whose control plane records what it is asked for.
#include <sstream>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/verbs.hpp"
#include "tests/cli/verb_test.hpp"

namespace atlasflow::cli {
namespace {

using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::StartsWith;

class LifeVerbs : public VerbTest {
 protected:
  LifeVerbs() {
    control_.add_project("shop");
    control_.add_deployment("abcdefg2", "shop");
  }

  // Makes the control plane append events when the verb comes.
  template <typename Fill>
  void on(const std::string& verb, const std::string& deployment, Fill fill) {
    control_.then[verb] = [this, deployment, fill] { tell(deployment, fill); };
  }
  template <typename Fill>
  void tell(const std::string& deployment, Fill fill) {
    pb::Event event;
    fill(event);
    control_.append_to(deployment, event);
  }
};

// ---- environment variables ----

EnvSetCommand from_stdin() {
  EnvSetCommand command;
  command.project = "shop";
  command.from_file = "-";
  return command;
}

TEST_F(LifeVerbs, a_file_that_sets_the_port_is_taken_without_it_and_that_is_said) {
  const auto ran = run(from_stdin(), "PORT=8080\nHOST=localhost\nAPI_KEY=x\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("Set API_KEY; "));
  EXPECT_THAT(ran.err, StartsWith("atlasflow: PORT and HOST in - left out"));
  EXPECT_THAT(ran.err, HasSubstr("'atlasflow project set shop port=8080'"));
  const auto set = control_.asked<commands::SetEnv>();
  ASSERT_EQ(set.size(), 1U);
  EXPECT_THAT(set[0].variables, ElementsAre(testing::Pair("API_KEY", "x")));
}

TEST_F(LifeVerbs, a_file_with_nothing_but_the_port_sets_nothing_and_is_no_failure) {
  const auto ran = run(from_stdin(), "PORT=8080\n");
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out, "");
  EXPECT_THAT(ran.err, HasSubstr("PORT in - left out"));
  EXPECT_TRUE(control_.calls().empty());
  EXPECT_EQ(run(from_stdin(), "# nothing\n").code, 2);
}

TEST_F(LifeVerbs, variables_that_are_too_large_are_wrong_input) {
  EnvSetCommand command;
  command.project = "shop";
  command.stdin_name = "KEY";
  const auto ran = run(command, std::string(140'000, 'x'));
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("128 KiB"));
  EXPECT_THAT(ran.err, Not(HasSubstr("xxx")));
}

// ---- what makes a deployment ----

TEST_F(LifeVerbs, a_rollback_says_what_it_makes_and_of_what) {
  const auto ran = run(RollbackCommand{"shop", "abcdefg2", false, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, StartsWith("Deploying shop #"));
  EXPECT_THAT(ran.out, HasSubstr("(aaaaaaa2, 1111111): rollback to abcdefg2\n"));
  ASSERT_EQ(control_.calls().size(), 1U);
  EXPECT_EQ(control_.asked<commands::Rollback>().at(0).project, "shop");
  EXPECT_EQ(control_.asked<commands::Rollback>().at(0).to, DeploymentId("abcdefg2"));
}

TEST_F(LifeVerbs, a_deployment_is_printed_alone_with_json) {
  const auto ran = run(RedeployCommand{"shop", "", false, false, true});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(json::parse(ran.out)["id"], "aaaaaaa2");
  ASSERT_EQ(control_.calls().size(), 1U);
  EXPECT_EQ(control_.asked<commands::Redeploy>().at(0).project, "shop");
  EXPECT_EQ(control_.asked<commands::Redeploy>().at(0).of, std::nullopt);
}

TEST_F(LifeVerbs, an_approval_is_of_the_commit_that_is_named) {
  const auto ran = run(ApproveCommand{"shop", 7, std::string(40, 'a'), false, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(control_.asked<commands::ApprovePullRequest>().at(0).sha, std::string(40, 'a'));
  const auto wrong = run(ApproveCommand{"shop", 7, "main", false, false});
  EXPECT_EQ(wrong.code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("all 40 hex digits"));
  control_.made = fail(ErrorCode::conflict, "commit b waits by now");
  EXPECT_EQ(run(ApproveCommand{"shop", 7, std::string(40, 'a'), false, false}).code, 2);
  control_.made = fail(ErrorCode::not_found, "none waits");
  EXPECT_EQ(run(ApproveCommand{"shop", 7, std::string(40, 'a'), false, false}).code, 1);
}

TEST_F(LifeVerbs, deploy_and_redeploy_ask_for_a_build_without_the_cache) {
  EXPECT_EQ(run(RedeployCommand{"shop", "", true, false, false}).code, 0);
  EXPECT_TRUE(control_.asked<commands::Redeploy>().at(0).no_cache);
  EXPECT_EQ(run(DeployCommand{"shop", "", true, false, false}).code, 0);
  EXPECT_TRUE(control_.asked<commands::Deploy>().at(0).no_cache);
  EXPECT_EQ(run(DeployCommand{"shop", "", false, false, false}).code, 0);
  EXPECT_FALSE(control_.asked<commands::Deploy>().at(1).no_cache);
}

TEST_F(LifeVerbs, a_wait_prints_milestones_until_it_is_live) {
  control_.then["restart"] = [this] { control_.make_live("aaaaaaa2"); };
  const auto ran = run(RestartCommand{"shop", true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  // Each event of the recording control plane is a second after the one before.
  EXPECT_THAT(ran.out, HasSubstr("+2.0 s  VMStarted\n")) << "told from the restart on";
  EXPECT_THAT(ran.out, AllOf(HasSubstr("VMStarted\n"), HasSubstr("Healthy\n"),
                             HasSubstr("Routed\nLive at https://shop.atlasflow.localhost:8443\n")));
  control_.made = DeploymentId("aaaaaaa3");
  control_.then["promote"] = [this] { control_.make_live("aaaaaaa3"); };
  const auto with_json = run(PromoteCommand{"abcdefg2", true, true});
  EXPECT_EQ(with_json.code, 0);
  EXPECT_EQ(json::parse(with_json.out)["status"], "live");
  EXPECT_THAT(with_json.err, HasSubstr("Live at"));
}

TEST_F(LifeVerbs, a_failed_release_command_is_1_with_the_end_of_its_own_log) {
  control_.then["redeploy"] = [this] {
    tell("aaaaaaa2", [](pb::Event& e) { e.mutable_release_started()->set_attempt(1); });
    const auto vm =
        control_.catalog().deployment(DeploymentId("aaaaaaa2"))->state.newest_release_vm.str();
    std::string lines;
    for (int i = 1; i <= 60; ++i) lines += "line " + std::to_string(i) + "\n";
    write_log(vm + ".run.log", lines);
    tell("aaaaaaa2", [](pb::Event& e) {
      e.mutable_deployment_failed()->set_step(pb::STEP_RELEASE);
      e.mutable_deployment_failed()->set_reason("it exited with 3");
    });
  };
  const auto ran = run(RedeployCommand{"shop", "", false, true});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("failed at the release command: it exited with 3"));
  EXPECT_THAT(ran.err, HasSubstr("The last lines of its release log:\nline 31\n"));
  EXPECT_THAT(ran.err, Not(HasSubstr("line 30\n")));
}

TEST_F(LifeVerbs, every_end_ends_the_wait_and_a_skip_is_no_failure) {
  control_.then["redeploy"] = [this] {
    tell("aaaaaaa2",
         [](pb::Event& e) { e.mutable_cloned()->set_skip_reason("no watched path changed"); });
    tell("aaaaaaa2", [](pb::Event& e) { e.mutable_deployment_skipped(); });
  };
  auto ran = run(RedeployCommand{"shop", "", false, true});
  EXPECT_EQ(ran.code, 0);
  EXPECT_THAT(ran.out, HasSubstr("Skipped: no watched path changed\n"));

  control_.made = DeploymentId("aaaaaaa3");
  on("redeploy", "aaaaaaa3", [](pb::Event& e) { e.mutable_deployment_superseded()->set_by("x9"); });
  ran = run(RedeployCommand{"shop", "", false, true});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("deployment aaaaaaa3 was superseded by x9"));

  control_.made = DeploymentId("aaaaaaa4");
  control_.then["redeploy"] = [this] {
    tell("aaaaaaa4", [](pb::Event& e) { e.mutable_cancel_requested()->set_by("user"); });
    tell("aaaaaaa4", [](pb::Event& e) { e.mutable_deployment_cancelled()->set_by("user"); });
  };
  ran = run(RedeployCommand{"shop", "", false, true});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("deployment aaaaaaa4 was cancelled by user"));
}

TEST_F(LifeVerbs, a_vm_that_does_not_stop_is_told_until_it_has) {
  tell("abcdefg2", [](pb::Event& e) { e.mutable_vm_start_requested()->set_slot(0); });
  const auto vm = control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_vm_id.str();
  tell("abcdefg2", [&](pb::Event& e) { e.mutable_vm_started()->set_vm_id(vm); });
  EXPECT_THAT(run(StatusCommand{}).out, Not(HasSubstr("to stop")));
  tell("abcdefg2", [](pb::Event& e) { e.mutable_cancel_requested()->set_by("user"); });
  tell("abcdefg2", [&](pb::Event& e) { e.mutable_vm_stop_requested()->set_vm_id(vm); });
  EXPECT_THAT(run(StatusCommand{}).out,
              HasSubstr("shop/abcdefg2 waits for microVM " + vm + " to stop\n"));
  tell("abcdefg2", [&](pb::Event& e) { e.mutable_vm_stopped()->set_vm_id(vm); });
  EXPECT_THAT(run(StatusCommand{}).out, Not(HasSubstr("to stop")));
}

TEST_F(LifeVerbs, a_retry_is_told_with_its_step_its_attempt_and_its_time) {
  tell("abcdefg2", [](pb::Event& e) {
    e.mutable_retry_scheduled()->set_step(pb::STEP_CLONE);
    e.mutable_retry_scheduled()->set_attempt(2);
  });
  EXPECT_THAT(run(StatusCommand{}).out,
              HasSubstr("shop/abcdefg2 waits for the clone: attempt 2, due in 0 ms\n"));
  // The retry is what the wait sees first; the end comes while it waits.
  std::jthread ends;
  control_.then["redeploy"] = [this, &ends] {
    tell("aaaaaaa2", [](pb::Event& e) {
      e.mutable_retry_scheduled()->set_step(pb::STEP_START_VM);
      e.mutable_retry_scheduled()->set_attempt(3);
      e.mutable_retry_scheduled()->set_slot(1);
    });
    ends = std::jthread([this] {
      std::this_thread::sleep_for(std::chrono::seconds(1));
      control_.fail_deployment("aaaaaaa2");
    });
  };
  const auto ran = run(RedeployCommand{"shop", "", false, true});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.out,
              HasSubstr("Waiting for the VM start of instance 1: attempt 3, due in 0 ms\n"));
}

TEST_F(LifeVerbs, what_cannot_be_run_again_is_2_with_the_servers_sentence) {
  control_.made = fail(ErrorCode::conflict, "There is nothing to go back to.");
  const auto ran = run(RollbackCommand{"shop", "", true, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.err, "atlasflow: There is nothing to go back to.\n");
  EXPECT_EQ(ran.out, "");
}

// ---- cancel ----

TEST_F(LifeVerbs, a_projects_cancel_takes_all_of_production_the_newest_first) {
  control_.start_build("abcdefg2");
  control_.add_deployment("abcdefg3", "shop");
  control_.add_preview("abcdefg4", "shop", "docs");
  control_.add_deployment("abcdefg5", "shop");
  control_.fail_deployment("abcdefg5");
  const auto ran = run(CancelCommand{"shop", false, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  const auto cancelled = control_.asked<commands::Cancel>();
  ASSERT_EQ(cancelled.size(), 2U);
  EXPECT_EQ(cancelled[0].deployment, DeploymentId("abcdefg3"));
  EXPECT_EQ(cancelled[1].deployment, DeploymentId("abcdefg2"));
  EXPECT_THAT(ran.out, AllOf(HasSubstr("Cancelling shop #2 (abcdefg3, 1111111)\n"),
                             HasSubstr("Cancelling shop #1 (abcdefg2, 1111111)\n")));
  const auto with_json = run(CancelCommand{"shop", false, true});
  EXPECT_EQ(json::parse(with_json.out)["deployments"].size(), 2U);
}

TEST_F(LifeVerbs, a_cancel_of_nothing_is_2_and_says_what_to_look_at) {
  control_.make_live("abcdefg2");
  const auto ran = run(CancelCommand{"shop", false, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("nothing of 'shop' is queued or under way"));
  EXPECT_THAT(ran.err, HasSubstr("atlasflow deployments shop"));
  EXPECT_THAT(control_.calls(), IsEmpty());
}

TEST_F(LifeVerbs, a_cancel_waits_for_the_end_when_asked_to) {
  control_.start_build("abcdefg2");
  control_.then["cancel"] = [this] {
    tell("abcdefg2", [](pb::Event& e) { e.mutable_cancel_requested()->set_by("user"); });
    tell("abcdefg2", [](pb::Event& e) { e.mutable_deployment_cancelled()->set_by("user"); });
  };
  const auto ran = run(CancelCommand{"abcdefg2", true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("abcdefg2 is cancelled\n"));
}

TEST_F(LifeVerbs, a_cancel_that_is_refused_is_2_and_an_unknown_name_1) {
  control_.life_outcome = fail(ErrorCode::conflict, "It is live; atlasflow stop ends it.");
  auto ran = run(CancelCommand{"abcdefg2", false, false});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("It is live"));
  ran = run(CancelCommand{"nothing", false, false});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("no project or deployment 'nothing'"));
}

// ---- what is live ----

TEST_F(LifeVerbs, a_stop_waits_until_it_is_stopped) {
  control_.make_live("abcdefg2");
  const auto vm = control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_vm_id.str();
  control_.then["stop_app"] = [this, vm] {
    tell("abcdefg2", [](pb::Event& e) { e.mutable_stop_requested()->set_by("user"); });
    tell("abcdefg2", [&](pb::Event& e) { e.mutable_vm_stopped()->set_vm_id(vm); });
  };
  const auto ran = run(StopCommand{"shop", true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("503 until 'atlasflow start shop'\nStopped\n"));
  const auto status = run(StatusCommand{});
  EXPECT_THAT(status.out, HasSubstr("stopped by user"));
}

TEST_F(LifeVerbs, a_start_waits_until_it_is_live_and_one_that_is_stopped_again_is_1) {
  control_.make_live("abcdefg2");
  auto ran = run(StartCommand{"shop", true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "Starting shop (abcdefg2)\nLive at https://shop.atlasflow.localhost:8443\n");
  on("start_app", "abcdefg2", [](pb::Event& e) { e.mutable_stop_requested()->set_by("user"); });
  ran = run(StartCommand{"shop", true, true});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("shop was stopped in the meantime"));
  EXPECT_EQ(json::parse(ran.out)["stopped_by"], "user");
}

TEST_F(LifeVerbs, a_start_that_crashes_again_is_1_with_the_end_of_its_log) {
  control_.make_live("abcdefg2");
  const auto vm = control_.catalog().deployment(DeploymentId("abcdefg2"))->state.newest_vm_id.str();
  write_log(vm + ".run.log", "no database\n");
  control_.then["start_app"] = [this, vm] {
    tell("abcdefg2", [&](pb::Event& e) { e.mutable_vm_exited()->set_vm_id(vm); });
    tell("abcdefg2", [](pb::Event& e) { e.mutable_crash_loop_detected()->set_crashes(10); });
  };
  const auto ran = run(StartCommand{"shop", true, false});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("shop crashed 10 times in a row"));
  EXPECT_THAT(ran.err, HasSubstr("no database\n"));
  const auto status = run(StatusCommand{});
  EXPECT_THAT(status.out, AllOf(HasSubstr("crashed"), HasSubstr("10 crashes in a row")));
}

TEST_F(LifeVerbs, a_scale_waits_for_every_instance) {
  control_.make_live("abcdefg2");
  control_.then["scale"] = [this] {
    tell("abcdefg2", [](pb::Event& e) { e.mutable_scale_requested()->set_replicas(2); });
    const auto vm = control_.start_vm("abcdefg2", 1);
    tell("abcdefg2", [&](pb::Event& e) { e.mutable_healthy()->set_vm_id(vm); });
  };
  const auto ran = run(ScaleCommand{"shop", 2, true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Scaling shop to 2 instances\n"));
  EXPECT_THAT(ran.out, HasSubstr("shop runs 2/2 healthy instances\n"));
  EXPECT_THAT(ran.out, Not(HasSubstr("PushReceived"))) << "milestones of the past are no news";
}

TEST_F(LifeVerbs, a_scale_without_anything_live_says_when_it_applies) {
  control_.scaled = false;
  const auto ran = run(ScaleCommand{"shop", 3, true, false});
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_EQ(ran.out, "Nothing of shop is live; its next deployment runs 3 instances\n");
}

TEST_F(LifeVerbs, a_scale_out_of_range_is_2_before_the_server_is_asked) {
  for (const std::int64_t replicas : {0L, -1L, 33L}) {
    const auto ran = run(ScaleCommand{"shop", replicas, false, false});
    EXPECT_EQ(ran.code, 2);
    EXPECT_THAT(ran.err, HasSubstr("1 to 32 microVMs; 'atlasflow stop shop' stops it"));
  }
  EXPECT_THAT(control_.calls(), IsEmpty());
}

TEST_F(LifeVerbs, a_scale_that_another_one_overtakes_is_1) {
  control_.make_live("abcdefg2");
  on("scale", "abcdefg2", [](pb::Event& e) { e.mutable_scale_requested()->set_replicas(5); });
  const auto ran = run(ScaleCommand{"shop", 2, true, false});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("shop was scaled to 5 in the meantime"));
}

// ---- the rest ----

TEST_F(LifeVerbs, a_notify_secret_comes_from_a_file_and_is_not_shown) {
  auto ran = run(ProjectNotifySecretCommand{"shop", "-", false}, "hush hush\n");
  EXPECT_EQ(ran.code, 0) << ran.err;
  EXPECT_THAT(ran.out, Not(HasSubstr("hush")));
  ASSERT_EQ(control_.asked<commands::SetNotifySecret>().size(), 1U);
  EXPECT_EQ(control_.asked<commands::SetNotifySecret>()[0].secret, "hush hush");
  ran = run(ProjectNotifySecretCommand{"shop", "-", false}, "\n");
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("the notify secret in - is empty"));
}

TEST_F(LifeVerbs, logs_of_instances_and_release_commands_are_asked_for) {
  const auto first = control_.start_vm("abcdefg2", 0);
  const auto second = control_.start_vm("abcdefg2", 1);
  write_log(first + ".run.log", "first\n");
  write_log(second + ".run.log", "second\n");
  LogsCommand logs;
  logs.subject = "shop";
  EXPECT_EQ(run(logs).out, "first\n");
  logs.instance = 1;
  EXPECT_EQ(run(logs).out, "second\n");
  LogsCommand release;
  release.subject = "abcdefg2";
  release.release = true;
  const auto ran = run(release);
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("no release log"));
}

TEST_F(LifeVerbs, a_log_as_json_is_one_object_a_line_without_terminal_escapes) {
  const auto build = control_.start_build("abcdefg2");
  write_log(build + ".build.log", "\x1b[1mSTEP 1\x1b[0m\n10%\r100%\n\xff\nhalf");
  LogsCommand logs;
  logs.subject = "abcdefg2";
  logs.build = true;
  logs.json = true;
  const auto ran = run(logs);
  EXPECT_EQ(ran.code, 0) << ran.err;
  std::vector<std::string> lines;
  std::istringstream text(ran.out);
  for (std::string line; std::getline(text, line);)
    lines.push_back(json::parse(line)["line"].get<std::string>());
  EXPECT_THAT(lines, ElementsAre("STEP 1", "100%", testing::_, "half")) << ran.out;
  logs.json = false;
  EXPECT_THAT(run(logs).out, StartsWith("\x1b[1mSTEP 1\x1b[0m\n")) << "a terminal's colours stay";
}

// The build ends with the server and is begun anew, in a log of its own.
TEST_F(LifeVerbs, a_build_log_that_is_followed_goes_on_after_a_restart_of_the_server) {
  const auto first = control_.start_build("abcdefg2");
  write_log(first + ".build.log", "STEP 1\n");
  LogsCommand logs;
  logs.subject = "abcdefg2";
  logs.build = true;
  logs.follow = true;
  start();
  std::ostringstream out;
  std::ostringstream err;
  int code = -1;
  std::thread reader([&] {
    std::istringstream in;
    ApiClient api(config_.socket);
    code = cli::run(logs, api, Terminal{in, out, err});
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(600));
  stop();
  tell("abcdefg2",
       [](pb::Event& event) { event.mutable_build_abandoned()->set_reason("restart"); });
  const auto second = control_.start_build("abcdefg2");
  write_log(second + ".build.log", "STEP 1 again\nSTEP 2\n");
  start();
  std::this_thread::sleep_for(std::chrono::milliseconds(1000));
  write_log(second + ".build.log", "STEP 3\n");
  tell("abcdefg2", [](pb::Event& event) {
    event.mutable_image_pushed()->set_reference("registry/shop@sha256:00");
  });
  reader.join();
  EXPECT_EQ(code, 0) << err.str();
  EXPECT_EQ(out.str(), "STEP 1\nSTEP 1 again\nSTEP 2\nSTEP 3\n");
  EXPECT_THAT(err.str(), HasSubstr("the log goes on when it is back"));
}

TEST_F(LifeVerbs, a_followed_log_of_a_server_that_is_not_there_is_told_at_once) {
  LogsCommand logs;
  logs.subject = "shop";
  logs.follow = true;
  std::istringstream in;
  std::ostringstream out;
  std::ostringstream err;
  ApiClient api(folder_.path() / "none.sock");
  EXPECT_EQ(cli::run(logs, api, Terminal{in, out, err}), 1);
  EXPECT_THAT(err.str(), HasSubstr("no server answers"));
}

TEST_F(LifeVerbs, the_list_of_deployments_tells_environment_and_origin) {
  control_.add_preview("abcdefg4", "shop", "docs");
  const auto ran = run(DeploymentsCommand{"shop"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("ENVIRONMENT"), HasSubstr("MADE BY"),
                             HasSubstr("preview/docs"), HasSubstr("production")));
}

TEST_F(LifeVerbs, the_status_names_what_is_quarantined_and_why) {
  pb::Event violated;
  violated.mutable_invariant_violated()->set_stream("deployment/abcdefg2");
  violated.mutable_invariant_violated()->set_reason("its actor died again and again");
  control_.append(node_stream(), {violated});
  EXPECT_THAT(run(StatusCommand{}).out,
              HasSubstr("\nquarantined: deployment abcdefg2 of shop: its actor died again and "
                        "again\n"));
  const auto status = json::parse(run(StatusCommand{true}).out);
  EXPECT_EQ(status["quarantined"][0]["stream"], "deployment/abcdefg2");
}

TEST_F(LifeVerbs, the_status_tells_apps_from_what_is_under_way) {
  control_.make_live("abcdefg2");
  control_.add_deployment("abcdefg3", "shop");
  const auto ran = run(StatusCommand{});
  EXPECT_EQ(ran.code, 0);
  const auto apps = ran.out.find("\nAPP ");
  const auto under_way = ran.out.find("\nPROJECT ");
  ASSERT_NE(apps, std::string::npos) << ran.out;
  ASSERT_NE(under_way, std::string::npos) << ran.out;
  EXPECT_THAT(ran.out.substr(apps, under_way - apps),
              AllOf(HasSubstr("abcdefg2"), HasSubstr("1/1"), Not(HasSubstr("abcdefg3"))));
  EXPECT_THAT(ran.out.substr(under_way), AllOf(HasSubstr("abcdefg3"), HasSubstr("queued")));
}

}  // namespace
}  // namespace atlasflow::cli
